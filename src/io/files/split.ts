/**
 * Models in several files (shards), recognised by their names: `NAME-00001-of-00003.gguf`, the same with `.safetensors`
 * and `.bin`.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { quoted } from "./errors.ts";

/** Number and total of a shard, by its name. */
export interface Part {
  /** Name of part `number` of the same model. */
  readonly sibling: (number: number) => string;
  /** From 1. */
  readonly number: number;
  /** Number of shards. */
  readonly of: number;
}

const NAME = /^(.*)-(\d{5})-of-(\d{5})(\.[a-z]+)$/;

/** More parts than any model is cut into: a name is not believed to ask for more. */
const MOST = 9999;

/** The shard that a file name describes; undefined for one that is no shard. */
export function partOf(name: string): Part | undefined {
  const [, stem, number, of, ending] = NAME.exec(name) ?? [];
  if (stem === undefined) return undefined;
  const part = {
    number: Number(number),
    of: Number(of),
    sibling: (n: number) =>
      `${stem}-${`${n}`.padStart(5, "0")}-of-${of}${ending}`,
  };
  return part.of > 1 && part.of <= MOST && part.number >= 1 &&
      part.number <= part.of
    ? part
    : undefined;
}

/** Names of all parts of the model that the file `name` is a part of, in order; itself if it is none. */
export function partNames(name: string): string[] {
  const part = partOf(name);
  return part
    ? Array.from({ length: part.of }, (_, i) => part.sibling(i + 1))
    : [name];
}

/**
 * The error of parts without the others.
 *
 * @param present Numbers of those that are there.
 * @param missing The missing ones: names, or a pattern of them.
 */
export function partError(
  where: string,
  { of, present }: { of: number; present: readonly number[] },
  missing: string,
): TypeError {
  return new KindError(
    `Cannot open ${quoted(where)}: it is part${present.length > 1 ? "s" : ""} ${
      present.join(", ")
    } of ${of} of a split model, and ${missing}; put all parts beside it`,
  );
}
