/**
 * Reading safetensors files.
 *
 * A file is the length of a header (u64), the header (JSON: name → dtype, shape, byte range) and the tensors' bytes,
 * packed without gaps in the order of their ranges. The header is checked in full before anything is read: what it
 * declares must tile the rest of the file exactly, as the format's own library demands.
 *
 * @module
 */

import { FormatError, KindError, ValueError } from "../../errors.ts";
import { DTYPE_BYTES } from "../../tensor/dtype.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { ByteSource } from "../files/bytes.ts";
import { Problems, quoted } from "../files/errors.ts";
import { isObject, parseJsonObject } from "../files/json.ts";

/** Longest header accepted, as the format's own library has it. */
const MAX_HEADER = 100_000_000;

/** Bytes of an element of each type the format knows, by its name there. */
const WIDTHS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(
    Object.entries(DTYPE_BYTES).map(([k, v]) => [k.toUpperCase(), v]),
  ),
  U16: 2,
  U64: 8,
  F8_E4M3: 1,
  F8_E5M2: 1,
};

/** One tensor of a safetensors file. */
export interface SafetensorsTensor {
  /** Key in the header. */
  readonly name: string;
  /** Element type as the format names it: `F32`. */
  readonly type: string;
  /** The same as loqa names it; undefined for types that it has no use for (`U16`, `F8_E4M3`). */
  readonly dtype: DType | undefined;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Offset of its first byte in the file. */
  readonly offset: number;
  /** Its size in bytes. */
  readonly bytes: number;
}

/** An open safetensors file. */
export interface SafetensorsFile {
  /** Its name in errors. */
  readonly name: string;
  /** The header's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Tensors in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
  /**
   * Stored bytes of rows `from` up to `to` (default: all) of the first dimension; a scalar is one row.
   *
   * @throws {TypeError} If there is no such tensor.
   * @throws {RangeError} If the rows are not in it.
   */
  read(
    name: string,
    from?: number,
    to?: number,
  ): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * Reads and checks the header of a safetensors file. `source` stays the caller's to dispose of.
 *
 * @throws {SyntaxError} If the file is no safetensors file or lies about its tensors; all mismatches in one error.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { bytesSource, openSafetensors } from "@loqa/loqa";
 *
 * const bytes = await Deno.readFile("examples/model/model.safetensors");
 * await using source = bytesSource(bytes, "model.safetensors");
 * const { tensors } = await openSafetensors(source);
 * assert.equal(tensors.get("model.norm.weight")?.dtype, "bf16");
 * ```
 */
export async function openSafetensors(
  source: ByteSource,
): Promise<SafetensorsFile> {
  const { name, size } = source;
  const bad = (reason: string) =>
    new FormatError(`Cannot read ${quoted(name)} as safetensors: ${reason}`);
  if (size < 8) throw bad(`wanted at least 8 bytes, got ${size}`);
  const head = new DataView((await source.read(0, 8)).buffer);
  const length = head.getBigUint64(0, true);
  if (length > MAX_HEADER || Number(length) > size - 8) {
    throw bad(
      `its header claims ${length} bytes of a file of ${size} (at most ${MAX_HEADER})`,
    );
  }
  const start = 8 + Number(length);
  const bytes = await source.read(8, Number(length));
  if (bytes[0] !== 0x7b) throw bad(`its header does not begin with "{"`);
  const header = parseJsonObject(bytes, `${name} (header)`, {
    most: MAX_HEADER,
  });

  const problems = new Problems(`read ${quoted(name)} as safetensors`);
  const metadata = new Map<string, string>();
  const list: SafetensorsTensor[] = [];
  for (const [key, value] of Object.entries(header)) {
    if (key === "__metadata__") {
      readMetadata(value, metadata, problems);
      continue;
    }
    const tensor = readEntry(key, value, { start, problems });
    if (tensor) list.push(tensor);
  }
  list.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  checkTiling(list, { start, size, problems });
  problems.throwIfAny();

  const tensors = new Map(list.map((tensor) => [tensor.name, tensor]));
  return {
    name,
    metadata,
    tensors,
    async read(key, from, to) {
      const tensor = tensors.get(key);
      if (tensor === undefined) {
        throw new KindError(
          `Cannot read tensor ${quoted(key)}: ${quoted(name)} has none`,
        );
      }
      const rows = rowRange(tensor, from, to);
      return await source.read(tensor.offset + rows.offset, rows.bytes);
    },
  };
}

function readMetadata(
  value: unknown,
  metadata: Map<string, string>,
  problems: Problems,
): void {
  if (!isObject(value)) {
    return problems.add("__metadata__ is no object of strings");
  }
  for (const [key, text] of Object.entries(value)) {
    if (typeof text === "string") metadata.set(key, text);
    else problems.add(`__metadata__ has no string for ${quoted(key)}`);
  }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 &&
    !Object.is(value, -0);
}

/** One checked entry of the header; undefined, with the problems noted, if it is wrong in itself. */
function readEntry(
  name: string,
  value: unknown,
  { start, problems }: { start: number; problems: Problems },
): SafetensorsTensor | undefined {
  const bad = (reason: string): undefined =>
    problems.add(`tensor ${quoted(name)}: ${reason}`) as undefined;
  if (!isObject(value)) return bad("its entry is no object");
  const { dtype: type, shape, data_offsets: range } = value;
  if (typeof type !== "string" || !Object.hasOwn(WIDTHS, type)) {
    return bad(`unknown dtype ${quoted(String(type))}`);
  }
  if (!Array.isArray(shape) || shape.length > 64 || !shape.every(isSize)) {
    return bad("its shape is no list of sizes");
  }
  if (!Array.isArray(range) || range.length !== 2 || !range.every(isSize)) {
    return bad("data_offsets are no two offsets");
  }
  const [from, to] = range as [number, number];
  if (from > to) return bad(`its bytes ${from}..${to} end before they begin`);
  const bytes = shape.reduce((a: number, b: number) => a * b, WIDTHS[type]);
  if (bytes !== to - from) {
    return bad(
      `${type} [${shape.join(", ")}] needs ${bytes} bytes, its range has ${
        to - from
      }`,
    );
  }
  const lower = type.toLowerCase();
  const dtype = Object.hasOwn(DTYPE_BYTES, lower) ? lower as DType : undefined;
  return { name, type, dtype, shape, offset: start + from, bytes };
}

/** Notes overlaps, gaps and a file that ends too early, of tensors sorted by their offsets. */
function checkTiling(
  list: readonly SafetensorsTensor[],
  { start, size, problems }: {
    start: number;
    size: number;
    problems: Problems;
  },
): void {
  // Where an entry is already known to be wrong, the gap it leaves says nothing new.
  if (!problems.none) return;
  let end = start;
  let before = "the header";
  for (const tensor of list) {
    if (tensor.offset !== end) {
      problems.add(
        `tensor ${quoted(tensor.name)} begins ${
          tensor.offset < end ? "inside" : "after a gap behind"
        } ${before}`,
      );
    }
    end = Math.max(end, tensor.offset + tensor.bytes);
    before = `tensor ${quoted(tensor.name)}`;
  }
  const beyond = list.filter(({ offset, bytes }) => offset + bytes > size);
  if (beyond.length > 0) {
    // One fact of a download that broke off, not one for each tensor.
    const more = beyond.length > 1 ? ` and ${beyond.length - 1} more` : "";
    problems.add(
      `tensor ${quoted(beyond[0].name)}${more} leave the file, which holds ` +
        `${size} of ${end} bytes: it was cut short, get it again`,
    );
  } else if (end !== size) {
    problems.add(`${size - end} bytes behind ${before} belong to no tensor`);
  }
}

/**
 * Byte range of rows `from` up to `to` of a plain tensor.
 *
 * @throws {RangeError} If the rows are not in it.
 */
export function rowRange(
  tensor: {
    readonly name: string;
    readonly shape: readonly number[];
    readonly bytes: number;
  },
  from = 0,
  to?: number,
): { offset: number; bytes: number; rows: number } {
  const rows = tensor.shape[0] ?? 1;
  to ??= rows;
  if (
    !Number.isInteger(from) || !Number.isInteger(to) || from < 0 ||
    to < from || to > rows
  ) {
    throw new ValueError(
      `Cannot read rows ${from} to ${to} of ${
        quoted(tensor.name)
      }: it has ${rows}`,
    );
  }
  const stride = rows === 0 ? 0 : tensor.bytes / rows;
  return {
    offset: from * stride,
    bytes: (to - from) * stride,
    rows: to - from,
  };
}
