/**
 * Plain tensors by name, as files hold them, and the index of files that were split.
 *
 * @module
 */

import { Problems, quoted } from "../files/errors.ts";
import { readFile } from "../files/files.ts";
import type { FileSet } from "../files/files.ts";
import { isObject, MOST_TABLE, parseJsonObject } from "../files/json.ts";
import type { TensorReader } from "./tensor_reader.ts";

/** Readers of plain tensors, and their sources. */
export interface TensorStore extends AsyncDisposable {
  /** Tensors of types that loqa does not read, with their types, where they were taken in. */
  readonly unread?: readonly string[];
  /** In file order. */
  readonly tensors: ReadonlyMap<string, TensorReader>;
  /** String metadata of the file or files. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** File of each tensor, by an index of either kind of checkpoint. */
export async function readIndex(
  files: FileSet,
  indexName: string,
): Promise<Map<string, string>> {
  const where = `${files.name}/${indexName}`;
  const index = parseJsonObject(await readFile(files, indexName), where, {
    most: MOST_TABLE,
  });
  const problems = new Problems(`read the index ${quoted(where)}`);
  const weights = index.weight_map;
  if (!isObject(weights)) {
    problems.add("it has no object weight_map");
    throw problems.error();
  }
  const map = new Map<string, string>();
  const checked = new Set<string>();
  for (const [tensor, file] of Object.entries(weights)) {
    if (typeof file !== "string") {
      problems.add(`tensor ${quoted(tensor)} has no file name`);
      continue;
    }
    map.set(tensor, file);
    if (checked.has(file)) continue;
    checked.add(file);
    if (!/^[^/\\:\0]+$/.test(file) || file.startsWith(".")) {
      problems.add(`${quoted(file)} is not the name of a file beside it`);
    } else if (!files.names.includes(file)) {
      problems.add(`the file ${quoted(file)} is missing`);
    }
  }
  problems.throwIfAny();
  return map;
}
