/**
 * Marks (size, time, hash) of a model's files, to recognise the same files later.
 *
 * @module
 */

import {
  fileChange,
  fileSource,
  joinPath,
  kindOf,
  listFolder,
} from "../files/deno.ts";
import { digest } from "../files/digest.ts";
import { isObject } from "../files/json.ts";
import { splitPath } from "../files/paths.ts";

/** A file of weights as it was. */
export interface FileMark {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Time of the last change, in milliseconds since 1970: a copy has another one. */
  readonly modified: number;
  /** SHA-256 of its beginning, middle and end. */
  readonly sample: string;
}

const WEIGHTS = /\.(safetensors|gguf|bin|pt|pth)$/;

/** Bytes of each of the three samples. */
const SAMPLE = 1 << 16;

/** Marks of the files of weights at `path`, a folder or one file; none for files not on this machine. */
export async function fileMarks(path: string): Promise<FileMark[]> {
  const kind = path.startsWith("hf:") ? undefined : await kindOf(path);
  if (kind === "file") return [await markOf(path)];
  if (kind !== "folder") return [];
  const marks: FileMark[] = [];
  for (const { name, isFile } of await listFolder(path)) {
    if (isFile && WEIGHTS.test(name)) {
      marks.push(await markOf(joinPath(path, name)));
    }
  }
  return marks;
}

async function markOf(path: string): Promise<FileMark> {
  const { size, modified } = (await fileChange(path))!;
  await using source = await fileSource(path);
  const length = Math.min(SAMPLE, size);
  const parts = [];
  for (const at of [0, Math.floor((size - length) / 2), size - length]) {
    parts.push(await source.read(at, length));
  }
  return {
    name: splitPath(path).name,
    size,
    modified,
    sample: await digest(...parts),
  };
}

/** Marks as a file holds them. */
export function readMarks(value: unknown): FileMark[] {
  return (Array.isArray(value) ? value : []).filter((mark) =>
    isObject(mark) && typeof mark.name === "string"
  ) as unknown as FileMark[];
}

/**
 * Differences of files from their former marks, in words; undefined where there are none. A file alone may have another
 * name; `times`: true if a file that was written since counts as another.
 */
export function markDifference(
  before: readonly FileMark[],
  now: readonly FileMark[],
  { times = false } = {},
): string | undefined {
  const alone = before.length === 1 && now.length === 1;
  for (const old of before) {
    const mark = alone ? now[0] : now.find(({ name }) => name === old.name);
    if (!mark) return `${old.name} is gone`;
    if (mark.size !== old.size) {
      return `${mark.name} had ${old.size} bytes, has ${mark.size}`;
    }
    if (mark.sample !== old.sample) return `${mark.name} holds other values`;
    if (times && mark.modified !== old.modified) {
      return `${mark.name} was written at ${
        new Date(mark.modified).toISOString()
      }`;
    }
  }
  const more = now.find(({ name }) =>
    !alone && !before.some((old) => old.name === name)
  );
  return more && `${more.name} is new`;
}
