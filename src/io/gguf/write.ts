/**
 * Writing GGUF files (version 3, little-endian) as a stream.
 *
 * Metadata and the table of tensors are declared first, so the header can be written at once and the tensors then go
 * through in chunks, in the order of the table.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import type { ByteSink } from "../files/bytes.ts";
import { quoted } from "../files/errors.ts";
import { ggufTypeNamed } from "../ggml/types.ts";

/** Types of metadata values that are written. */
export type GgufValueType = "u32" | "i32" | "f32" | "bool" | "string";

/** Numbers of the types in the format. */
const VALUE_TYPES: Readonly<Record<GgufValueType, number>> = {
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
};
const ARRAY = 9;

const encoder = new TextEncoder();

/** Little-endian bytes, put together. */
class Bytes {
  readonly #parts: Uint8Array[] = [];
  length = 0;

  add(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    this.length += bytes.length;
    return this;
  }

  u32(value: number): this {
    return this.add(new Uint8Array(Uint32Array.of(value).buffer));
  }

  u64(value: number): this {
    return this.add(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  string(text: string): this {
    const bytes = encoder.encode(text);
    return this.u64(bytes.length).add(bytes);
  }

  scalar(type: GgufValueType, value: number | boolean | string): this {
    switch (type) {
      case "string":
        return this.string(String(value));
      case "bool":
        return this.add(Uint8Array.of(value ? 1 : 0));
      case "f32":
        return this.add(
          new Uint8Array(Float32Array.of(Number(value)).buffer),
        );
      default:
        return this.u32(Number(value));
    }
  }

  whole(size = this.length): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(size);
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

/**
 * A metadata pair as it stands in a file; a list becomes an array of the type.
 *
 * @throws {RangeError} If a whole number does not fit its type.
 */
export function ggufPair(
  key: string,
  type: GgufValueType,
  value:
    | number
    | boolean
    | string
    | readonly (number | boolean | string)[]
    | Float32Array
    | Int32Array,
): Uint8Array<ArrayBuffer> {
  const list = typeof value === "object" ? Array.from(value) : [value];
  const [least, most] = type === "u32"
    ? [0, 2 ** 32 - 1]
    : [-(2 ** 31), 2 ** 31 - 1];
  if (type === "u32" || type === "i32") {
    for (const n of list) {
      if (!(Number.isInteger(n) && Number(n) >= least && Number(n) <= most)) {
        throw new ValueError(
          `Cannot write metadata ${quoted(key)}: wanted ${type}, got ${n}`,
        );
      }
    }
  }
  const out = new Bytes().string(key);
  if (typeof value !== "object") {
    return out.u32(VALUE_TYPES[type]).scalar(type, value).whole();
  }
  out.u32(ARRAY).u32(VALUE_TYPES[type]).u64(list.length);
  for (const item of list) out.scalar(type, item);
  return out.whole();
}

/** A tensor to be written. */
export interface GgufEntry {
  /** As in the file: `blk.0.attn_q.weight`. */
  readonly name: string;
  /** As ggml names it: `Q4_1`. */
  readonly type: string;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
}

/** A declared tensor and its size. */
export interface PlacedGgufEntry extends GgufEntry {
  /** Size in bytes. */
  readonly bytes: number;
  /** Offset of its first byte in the file. */
  readonly offset: number;
}

/** Everything about a file but the tensors' bytes. */
export interface GgufLayout {
  /** Metadata and table: the first bytes of the file, up to the first tensor. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** Tensors in the order of the file. */
  readonly entries: readonly PlacedGgufEntry[];
  /** Size of the whole file. */
  readonly size: number;
}

/**
 * Lays out a file with the tensors `entries`, in the order given.
 *
 * @param pairs Metadata pairs as {@linkcode ggufPair} makes them.
 * @param alignment Alignment of every offset; a pair `general.alignment` has to say so unless it is 32.
 * @throws {TypeError} If a name occurs twice or a shape is none of its type.
 */
export function ggufHeader(
  pairs: readonly Uint8Array[],
  entries: readonly GgufEntry[],
  alignment = 32,
): GgufLayout {
  const align = (n: number) => Math.ceil(n / alignment) * alignment;
  const seen = new Set<string>();
  const head = new Bytes().add(encoder.encode("GGUF")).u32(3)
    .u64(entries.length).u64(pairs.length);
  for (const pair of pairs) head.add(pair);
  let end = 0;
  const placed = entries.map((entry) => {
    const { name, shape } = entry;
    const type = ggufTypeNamed(entry.type);
    const values = shape.reduce((a, b) => a * b, 1);
    if (seen.has(name)) {
      throw new KindError(
        `Cannot declare tensor ${quoted(name)}: the name is declared already`,
      );
    }
    seen.add(name);
    if (
      !Number.isSafeInteger(values) || shape.length < 1 || shape.length > 4 ||
      shape.some((n) => !(Number.isInteger(n) && n > 0)) ||
      shape.at(-1)! % type.block !== 0
    ) {
      throw new KindError(
        `Cannot declare tensor ${quoted(name)}: [${
          shape.join(", ")
        }] is no shape of type ${type.name}`,
      );
    }
    head.string(name).u32(shape.length);
    for (const n of shape.toReversed()) head.u64(n);
    head.u32(type.id).u64(end);
    const bytes = values / type.block * type.bytes;
    const offset = end;
    end = align(end + bytes);
    return { ...entry, bytes, offset };
  });
  const start = align(head.length);
  return {
    header: head.whole(start),
    entries: placed.map((e) => ({ ...e, offset: start + e.offset })),
    size: start + end,
  };
}

/** Takes the tensors of a laid-out file in chunks, in the order of the file. */
export class GgufWriter {
  readonly #sink: ByteSink;
  readonly #layout: GgufLayout;
  #next = 0;
  #taken = 0;

  private constructor(sink: ByteSink, layout: GgufLayout) {
    this.#sink = sink;
    this.#layout = layout;
  }

  /** Begins a file in an empty sink. */
  static async open(sink: ByteSink, layout: GgufLayout): Promise<GgufWriter> {
    await sink.write(layout.header);
    return new GgufWriter(sink, layout);
  }

  /**
   * Takes the next bytes of tensor `name`.
   *
   * @throws {TypeError} If it is not its turn or it has fewer bytes.
   */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const entry = this.#layout.entries[this.#next];
    if (entry?.name !== name) {
      throw new KindError(
        `Cannot write tensor ${quoted(name)}: it is the turn of ${
          quoted(entry?.name ?? "none")
        }`,
      );
    }
    this.#taken += bytes.byteLength;
    if (this.#taken > entry.bytes) {
      throw new KindError(
        `Cannot write tensor ${
          quoted(name)
        }: it has ${entry.bytes} bytes, got ${this.#taken}`,
      );
    }
    await this.#sink.write(bytes);
    if (this.#taken < entry.bytes) return;
    this.#next++;
    this.#taken = 0;
    const end = this.#layout.entries[this.#next]?.offset ?? this.#layout.size;
    await this.#sink.write(new Uint8Array(end - this.#sink.size));
  }

  /**
   * Checks that every tensor came whole, and closes the sink.
   *
   * @throws {TypeError} That names the first which did not.
   */
  async close(): Promise<void> {
    const entry = this.#layout.entries[this.#next];
    if (entry !== undefined) {
      throw new KindError(
        `Cannot finish ${quoted(this.#sink.name)}: tensor ${
          quoted(entry.name)
        } is not whole, it has ${entry.bytes} bytes, got ${this.#taken}`,
      );
    }
    await this.#sink.close();
  }
}
