/**
 * Stores of plain tensors: one safetensors file, or several under an index.
 *
 * @module
 */

import { FormatError, KindError } from "../../errors.ts";
import { Problems, quoted } from "../files/errors.ts";
import type { FileSet } from "../files/files.ts";
import { SourcePool } from "../files/pool.ts";
import { openSafetensors } from "./read.ts";
import type { SafetensorsFile } from "./read.ts";
import { readIndex, type TensorStore } from "../checkpoint/store.ts";
import { plainReader, unreadReader } from "../checkpoint/tensor_reader.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";

/** Options of opening a store. */
export interface StoreOptions {
  /** True if tensors of types that loqa does not read are listed, to be described; refused without it. */
  readonly unread?: boolean;
}

/**
 * Opens one safetensors file of a set, or the parts of one that was cut.
 *
 * @throws {SyntaxError} If one is malformed, or two hold a tensor of the same name.
 * @throws {TypeError} If a tensor has an element type that loqa does not read.
 */
export async function openSafetensorsFile(
  files: FileSet,
  name: string | readonly string[],
  options?: StoreOptions,
): Promise<TensorStore> {
  const names = typeof name === "string" ? [name] : name;
  return await openAll(files, names, { ...options });
}

/**
 * Opens the safetensors files that the index `indexName` of a set lists, and checks that they hold what it says.
 *
 * @throws {SyntaxError} If the index or a file is malformed, a file or tensor is missing, or a file name is a path.
 */
export async function openSafetensorsIndex(
  files: FileSet,
  indexName: string,
  options?: StoreOptions,
): Promise<TensorStore> {
  const map = await readIndex(files, indexName);
  const names = [...new Set(map.values())].sort();
  return await openAll(files, names, { ...options, map });
}

/** The error of tensors whose types are not read. */
export function unreadError(
  where: string,
  unread: readonly string[],
): TypeError {
  return new KindError(
    `Cannot read ${quoted(where)}: loqa does not read the types of ${
      unread.slice(0, 5).join(", ")
    }${unread.length > 5 ? ` and ${unread.length - 5} more` : ""}`,
  );
}

async function openAll(
  files: FileSet,
  names: readonly string[],
  { map, unread: takeUnread = false }: StoreOptions & {
    map?: ReadonlyMap<string, string>;
  },
): Promise<TensorStore> {
  await using opened = new AsyncDisposableStack();
  const pool = opened.use(new SourcePool(files));
  const parts = new Map<string, SafetensorsFile>();
  for (const name of names) {
    parts.set(name, await openSafetensors(await pool.open(name)));
  }
  const missing = new Problems(`read ${quoted(files.name)} as safetensors`);
  for (const [tensor, name] of map ?? []) {
    if (!parts.get(name)!.tensors.has(tensor)) {
      missing.add(`tensor ${quoted(tensor)} is not in ${quoted(name)}`);
    }
  }
  missing.throwIfAny();
  const tensors = new Map<string, TensorReader>();
  const metadata = new Map<string, string>();
  const unread: string[] = [];
  for (const [name, part] of parts) {
    for (const [key, value] of part.metadata) metadata.set(key, value);
    for (const tensor of part.tensors.values()) {
      if (map !== undefined && map.get(tensor.name) !== name) continue;
      if (tensors.has(tensor.name)) {
        throw new FormatError(
          `Cannot read ${quoted(files.name)} as safetensors: tensor ${
            quoted(tensor.name)
          } is in ${quoted(name)} and in another part`,
        );
      }
      const { dtype } = tensor;
      if (dtype === undefined) {
        unread.push(`${quoted(tensor.name)} (${tensor.type})`);
        tensors.set(
          tensor.name,
          unreadReader({ ...tensor, encoding: tensor.type }),
        );
        continue;
      }
      tensors.set(
        tensor.name,
        plainReader(
          { ...tensor, dtype },
          (from, to) => part.read(tensor.name, from, to),
        ),
      );
    }
  }
  if (unread.length > 0 && !takeUnread) throw unreadError(files.name, unread);
  const owned = opened.move();
  return {
    tensors,
    metadata,
    ...(unread.length > 0 && { unread }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
