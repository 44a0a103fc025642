/**
 * Tied embeddings: token embeddings that a model has once and uses in several places.
 *
 * `tie_word_embeddings` of a config is of the model before training: where a file holds a head beside the embedding and
 * their values differ, transformers ties nothing, and neither does anybody here. Checkpoints are settled when they are
 * opened, so that their config is true: tied means one embedding and no copies.
 *
 * @module
 */

import { DECODERS } from "../../families/decoders.ts";
import { release } from "../../tensor/release.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { JsonObject } from "../files/json.ts";
import { overlaid } from "./overlay.ts";
import { rowSize } from "./tensor_reader.ts";

/** The places of a model that may share one table, by names of tensors. */
export interface SharedTables {
  /** The table itself: `model.embed_tokens.weight`, `model.shared.weight`. */
  readonly table: string;
  /** Its other uses, the head last: tensors that a tied checkpoint lacks. */
  readonly copies: readonly string[];
}

/** Key of a config. */
const TIED = "tie_word_embeddings";

const HEAD = "lm_head.weight";

/** Tables of tokens outside the layers of a model that writes. */
const TABLE = /^(?!.*\.\d+\.)(?:.*\.)?(?:embed_tokens|wte)\.weight$/;

/** Values that are compared at a time. */
const CHUNK = 2 ** 20;

/** True if a config says that a model's head is its embedding; of an encoder-decoder and some decoders that is the default. */
export function saysTied(config: JsonObject): boolean {
  const { [TIED]: tied, model_type: type } = config;
  const both = config["is_encoder_decoder"];
  const family = DECODERS.find((decoder) => decoder.type === type);
  return typeof tied === "boolean"
    ? tied
    : both === true || type === "bart" || family?.defaults?.[TIED] === true;
}

/** The tables that a checkpoint shares or could share; undefined where it has none of a model that writes. */
export function sharedTables(
  { tensors }: Pick<Checkpoint, "tensors">,
): SharedTables | undefined {
  for (const prefix of ["model.", ""]) {
    const table = `${prefix}shared.weight`;
    if (!tensors.has(table)) continue;
    const sides = ["encoder", "decoder"].map((side) =>
      `${prefix}${side}.embed_tokens.weight`
    );
    return { table, copies: [...sides, HEAD] };
  }
  const [table, ...more] = [...tensors.keys()].filter((n) => TABLE.test(n));
  return table === undefined || more.length > 0
    ? undefined
    : { table, copies: [HEAD] };
}

/**
 * The checkpoint with a config that fits its tensors: tied, without the copies that older files carry along, or not tied,
 * with all embeddings that it then needs. It takes the checkpoint over.
 */
export async function settledTies(checkpoint: Checkpoint): Promise<Checkpoint> {
  const { tensors, config } = checkpoint;
  if (!saysTied(config)) return checkpoint;
  const shared = sharedTables(checkpoint);
  if (!shared) return withTable(checkpoint);
  const here = shared.copies.filter((name) => tensors.has(name));
  const same: string[] = [];
  for (const name of here) {
    if (await holdSame(checkpoint, shared.table, name)) same.push(name);
  }
  if (here.length > same.length) return untied(checkpoint);
  return same.length === 0
    ? checkpoint
    : overlaid(checkpoint, { without: new Set(same) });
}

/** A checkpoint with the head of a tied pair and not the embedding, which then is the same. */
function withTable(checkpoint: Checkpoint): Checkpoint {
  const { tensors } = checkpoint;
  if (!tensors.has(HEAD) || !tensors.has("model.norm.weight")) {
    return checkpoint;
  }
  const table = "model.embed_tokens.weight";
  return overlaid(checkpoint, {
    rename: (name) => name === HEAD ? table : name,
  });
}

/** The checkpoint with a tensor of its own for every place of its shared table, and a config that says so. */
export function untied(checkpoint: Checkpoint): Checkpoint {
  const shared = sharedTables(checkpoint);
  if (!shared || !saysTied(checkpoint.config)) return checkpoint;
  const lacking = shared.copies.filter((n) => !checkpoint.tensors.has(n));
  return overlaid(checkpoint, {
    copies: new Map(lacking.map((name) => [name, shared.table])),
    config: { [TIED]: false },
  });
}

/** True if two tensors have the same values. */
async function holdSame(
  checkpoint: Checkpoint,
  ...names: readonly [string, string]
): Promise<boolean> {
  const [a, b] = names.map((name) => checkpoint.tensors.get(name)!);
  if (a.shape.join() !== b.shape.join()) return false;
  const [rows] = a.shape;
  const step = Math.max(1, Math.floor(CHUNK / rowSize(a.shape)));
  for (let from = 0; from < rows; from += step) {
    const to = Math.min(rows, from + step);
    // Bytes where they are of one type; whole numbers cannot be had as floats.
    const [x, y] = await Promise.all(
      [a, b].map(({ name }) =>
        a.dtype === b.dtype
          ? checkpoint.readRaw(name, from, to)
          : checkpoint.readF32(name, from, to)
      ),
    );
    const same = x.every((value: number, i: number) => value === y[i]);
    release(x, y);
    if (!same) return false;
  }
  return true;
}
