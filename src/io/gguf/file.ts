/**
 * Reading GGUF files (versions 2 and 3, little-endian): metadata, tensor table, ranged reads of rows.
 *
 * Names and row order are those of the file here; `checkpoint.ts` turns them into a Hugging Face checkpoint.
 *
 * @module
 */

import { FormatError, KindError, ValueError } from "../../errors.ts";
import type { ByteSource } from "../files/bytes.ts";
import { Problems, quoted } from "../files/errors.ts";
import { ggufType } from "../ggml/types.ts";
import type { GgufType } from "../ggml/types.ts";
import { Cursor, EndOfBytes } from "./cursor.ts";
import type { GgufValue } from "./cursor.ts";

/** One tensor of a GGUF file. */
export interface GgufTensor {
  /** As in the file: `blk.0.attn_q.weight`. */
  readonly name: string;
  /** Element type. */
  readonly type: GgufType;
  /** Sizes, outermost first (the file has them innermost first). */
  readonly shape: readonly number[];
  /** Offset of its first byte in the file. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly bytes: number;
}

/** An open GGUF file. */
export interface GgufFile {
  /** Its name in errors. */
  readonly name: string;
  /** Version of the format, 2 or 3. */
  readonly version: number;
  /** Values by key. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Tensors in the order of the file's table. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Stored bytes of rows `from` up to `to`; a row is the first dimension's, a vector is cut at whole blocks only. */
  readRows(
    tensor: GgufTensor,
    from: number,
    to: number,
  ): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Stored bytes of the metadata pair `key`, key and type included, so that it can be copied into another file.
   *
   * @throws {TypeError} If there is none.
   */
  readPair(key: string): Promise<Uint8Array<ArrayBuffer>>;
}

/** Bytes of a file that are read first; doubled until the tables fit. */
const FIRST_READ = 4 << 20;

/** Dimensions of a tensor at most, as ggml has it. */
const MAX_DIMS = 4;

/** Metadata pairs and tensors at most: a hundred times those of the largest models. */
const MAX_PAIRS = 1 << 16;
const MAX_TENSORS = 1 << 20;

/** Options of {@linkcode openGguf}. */
export interface GgufFileOptions {
  /**
   * Lists also tensors whose type has a number that ggml had not yet given when the table of types was written, with
   * the bytes up to the next tensor; their rows cannot be read (default: false, they are refused).
   */
  readonly unread?: boolean;
}

/**
 * Reads and checks the tables of a GGUF file. `source` stays the caller's to dispose of.
 *
 * @throws {SyntaxError} If the file is no GGUF file or its tables lie; all mismatches of tensors in one error.
 */
export async function openGguf(
  source: ByteSource,
  { unread = false }: GgufFileOptions = {},
): Promise<GgufFile> {
  const { name, size } = source;
  for (
    let want = Math.min(size, FIRST_READ);;
    want = Math.min(size, 2 * want)
  ) {
    const bytes = await source.read(0, want);
    try {
      const { pairs, ...tables } = readTables(
        new Cursor(bytes, size, name),
        { name, size, unread },
      );
      return {
        name,
        ...tables,
        async readPair(key) {
          const range = pairs.get(key);
          if (range === undefined) {
            throw new KindError(
              `Cannot read metadata ${quoted(key)}: ${quoted(name)} has none`,
            );
          }
          return await source.read(range.from, range.to - range.from);
        },
        async readRows(tensor, from, to) {
          const { offset, bytes: length } = rowBytes(tensor, from, to);
          return await source.read(tensor.offset + offset, length);
        },
      };
    } catch (error) {
      if (!(error instanceof EndOfBytes)) throw error;
      if (want === size) {
        throw new FormatError(
          `Cannot read ${
            quoted(name)
          } as GGUF: it ends inside ${error.message}`,
        );
      }
    }
  }
}

interface Tables {
  version: number;
  metadata: Map<string, GgufValue>;
  tensors: Map<string, GgufTensor>;
  /** Byte range of each metadata pair. */
  pairs: Map<string, { from: number; to: number }>;
}

function readTables(
  cursor: Cursor,
  { name, size, unread }: { name: string; size: number; unread: boolean },
): Tables {
  const bad = (reason: string) =>
    new FormatError(`Cannot read ${quoted(name)} as GGUF: ${reason}`);
  if (size < 24) throw bad(`wanted at least 24 bytes, got ${size}`);
  if (cursor.u32("magic") !== 0x46554747) {
    throw bad(`it does not begin with "GGUF"`);
  }
  const version = cursor.u32("version");
  if (version !== 2 && version !== 3) {
    throw bad(
      (version & 0xffff) === 0
        ? "it is big-endian"
        : `wanted version 2 or 3, got ${version}`,
    );
  }
  // The smallest entries: an empty key with a byte, an empty name without dimensions.
  const tensorCount = cursor.count(24, "tensor count");
  const pairCount = cursor.count(13, "metadata count");
  if (pairCount > MAX_PAIRS || tensorCount > MAX_TENSORS) {
    throw bad(
      `wanted at most ${MAX_PAIRS} metadata pairs and ${MAX_TENSORS} tensors, got ${pairCount} and ${tensorCount}`,
    );
  }
  const metadata = new Map<string, GgufValue>();
  const pairs = new Map<string, { from: number; to: number }>();
  for (let i = 0; i < pairCount; i++) {
    const from = cursor.at;
    const key = cursor.string(`metadata key ${i}`);
    if (metadata.has(key)) {
      throw bad(`the metadata key ${quoted(key)} occurs twice`);
    }
    metadata.set(key, cursor.value(`metadata ${quoted(key)}`));
    pairs.set(key, { from, to: cursor.at });
  }
  const alignment = metadata.get("general.alignment") ?? 32;
  if (
    typeof alignment !== "number" || alignment < 1 || alignment > 1 << 20 ||
    !Number.isInteger(Math.log2(alignment))
  ) {
    throw bad(`general.alignment is ${alignment}, no power of two`);
  }
  const problems = new Problems(`read ${quoted(name)} as GGUF`);
  const list: GgufTensor[] = [];
  const seen = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const tensor = readTensor(cursor, i, { problems, unread });
    if (tensor === undefined) continue;
    if (seen.has(tensor.name)) {
      problems.add(`tensor ${quoted(tensor.name)} occurs twice`);
    }
    seen.add(tensor.name);
    list.push(tensor);
  }
  const start = Math.ceil(cursor.at / alignment) * alignment;
  const placed = list.map((t) => ({ ...t, offset: t.offset + start }));
  sizeUnread(placed, size);
  checkPlaces(placed, { size, start, alignment, problems });
  problems.throwIfAny();
  return {
    version,
    metadata,
    pairs,
    tensors: new Map(placed.map((tensor) => [tensor.name, tensor])),
  };
}

/** One row of the tensor table, its offset still relative; undefined, with the problem noted, if it is wrong. */
function readTensor(
  cursor: Cursor,
  index: number,
  { problems, unread }: { problems: Problems; unread: boolean },
): GgufTensor | undefined {
  const name = cursor.string(`name of tensor ${index}`);
  const where = `tensor ${quoted(name)}`;
  const dims = cursor.u32(`${where}`);
  if (dims > MAX_DIMS) {
    // Its contents have no known length, so nothing after it can be listed.
    problems.add(`${where} has ${dims} dimensions, at most ${MAX_DIMS}`);
    throw problems.error();
  }
  const shape: number[] = [];
  for (let i = 0; i < dims; i++) shape.unshift(cursor.u64(`shape of ${where}`));
  const id = cursor.u32(`type of ${where}`);
  const offset = cursor.u64(`offset of ${where}`);
  const type = ggufType(id) ?? (unread ? unknownType(id) : undefined);
  if (type === undefined) {
    return problems.add(`${where} has the unknown type ${id}`) as undefined;
  }
  const values = shape.reduce((a, b) => a * b, 1);
  const inner = shape.at(-1) ?? 1;
  if (!Number.isSafeInteger(values) || inner % type.block !== 0) {
    return problems.add(
      `${where}: [${shape.join(", ")}] is no shape of type ${type.name}`,
    ) as undefined;
  }
  return {
    name,
    type,
    shape,
    offset,
    bytes: values / type.block * type.bytes,
  };
}

/** A type of which only the number is known, and so not the size. */
function unknownType(id: number): GgufType {
  return { id, name: `unknown ${id}`, block: 1, bytes: 0 };
}

/** Gives tensors of unknown types the bytes up to the next tensor, or the file's end. */
function sizeUnread(
  tensors: { type: GgufType; offset: number; bytes: number }[],
  size: number,
): void {
  let [at, end] = [size, size];
  for (const tensor of tensors.toSorted((a, b) => b.offset - a.offset)) {
    if (tensor.offset !== at) [at, end] = [tensor.offset, Math.min(at, size)];
    if (tensor.type.bytes === 0) tensor.bytes = Math.max(0, end - at);
  }
}

function checkPlaces(
  tensors: readonly GgufTensor[],
  { size, start, alignment, problems }: {
    size: number;
    start: number;
    alignment: number;
    problems: Problems;
  },
): void {
  for (const { name, offset, bytes } of tensors) {
    if (offset % alignment !== 0 || offset + bytes > size) {
      problems.add(
        `tensor ${
          quoted(name)
        }: ${bytes} bytes at ${offset} are not aligned or leave the file, which holds ${size}`,
      );
    }
  }
  const sorted = [...tensors].sort((a, b) => a.offset - b.offset);
  let end = start;
  for (const { name, offset, bytes } of sorted) {
    if (bytes > 0 && offset < end) {
      problems.add(`tensor ${quoted(name)} overlaps another`);
    }
    end = Math.max(end, offset + bytes);
  }
}

/**
 * Byte range of rows `from` up to `to` of a tensor.
 *
 * @throws {RangeError} If the rows are not in it or, for a vector, cut a block.
 */
export function rowBytes(
  tensor: GgufTensor,
  from: number,
  to: number,
): { offset: number; bytes: number } {
  const rows = tensor.shape[0] ?? 1;
  const unit = rows === 0 ? 0 : tensor.bytes / rows;
  const offset = from * unit;
  const bytes = (to - from) * unit;
  if (
    !Number.isInteger(from) || !Number.isInteger(to) || from < 0 ||
    to < from || to > rows || offset % tensor.type.bytes !== 0 ||
    bytes % tensor.type.bytes !== 0
  ) {
    throw new ValueError(
      `Cannot read rows ${from} to ${to} of ${
        quoted(tensor.name)
      }: it has ${rows} (${tensor.type.name}, blocks of ${tensor.type.block})`,
    );
  }
  return { offset, bytes };
}
