/**
 * Writing safetensors files as a stream.
 *
 * All names, types and shapes are declared first, so the header can be written at once and the tensors then go
 * through in chunks. Offsets in the file are multiples of eight, which every reader can view without a
 * copy: tensors whose size is no multiple of eight (rare and small) are put behind the others, widest type first.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import { DTYPE_BYTES } from "../../tensor/dtype.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { ByteSink } from "../files/bytes.ts";
import { quoted } from "../files/errors.ts";

/** A tensor to be written. */
export interface SafetensorsEntry {
  /** Key in the header. */
  readonly name: string;
  /** Element type. */
  readonly dtype: DType;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
}

/** A declared tensor and its place. */
export interface PlacedEntry extends SafetensorsEntry {
  /** Size in bytes. */
  readonly bytes: number;
  /** Offset of its first byte in the file. */
  readonly offset: number;
}

/** Everything about a file but the tensors' bytes. */
export interface SafetensorsLayout {
  /** Length and JSON of the header: the first bytes of the file. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** Tensors in the order of the file. */
  readonly entries: readonly PlacedEntry[];
  /** Size of the whole file. */
  readonly size: number;
}

/**
 * Lays out a file with the tensors `entries`, in the order given but for odd sizes, which go behind.
 *
 * The header is padded with spaces to a multiple of eight, as the format's own library does.
 *
 * @param metadata Strings for `__metadata__`; `{ format: "pt" }`, without which transformers refuses a file.
 * @throws {TypeError} If a name occurs twice or is reserved, or a shape is none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import {
 *   bytesSource,
 *   memorySink,
 *   openSafetensors,
 *   safetensorsHeader,
 *   SafetensorsWriter,
 * } from "@loqa/loqa";
 *
 * const layout = safetensorsHeader([{ name: "x", dtype: "f32", shape: [2] }]);
 * const sink = memorySink("x.safetensors");
 * const writer = await SafetensorsWriter.open(sink, layout);
 * await writer.write("x", new Uint8Array(8));
 * await writer.close();
 * const { tensors } = await openSafetensors(bytesSource(sink.bytes(), "x"));
 * assert.deepEqual(tensors.get("x")?.shape, [2]);
 * ```
 */
export function safetensorsHeader(
  entries: readonly SafetensorsEntry[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): SafetensorsLayout {
  const seen = new Set<string>();
  const sized = entries.map((entry) => {
    const { name, dtype, shape } = entry;
    if (seen.has(name) || name === "__metadata__") {
      throw new KindError(
        `Cannot declare tensor ${quoted(name)}: the name is ${
          seen.has(name) ? "declared already" : "reserved"
        }`,
      );
    }
    seen.add(name);
    const bytes = shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]);
    if (
      !Number.isSafeInteger(bytes) ||
      !shape.every((n) => Number.isInteger(n) && n >= 0)
    ) {
      throw new KindError(
        `Cannot declare tensor ${quoted(name)}: [${
          shape.join(", ")
        }] is no shape`,
      );
    }
    return { name, dtype, shape, bytes };
  });
  const even = sized.filter(({ bytes }) => bytes % 8 === 0);
  const odd = sized.filter(({ bytes }) => bytes % 8 !== 0)
    .sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
  let end = 0;
  const ranges = [...even, ...odd].map((entry) => {
    const from = end;
    end += entry.bytes;
    return { entry, from, to: end };
  });
  const json = JSON.stringify({
    ...(Object.keys(metadata).length === 0 ? {} : { __metadata__: metadata }),
    // A computed "__proto__" would be lost by plain assignment; fromEntries defines it.
    ...Object.fromEntries(
      ranges.map(({ entry, from, to }) => [entry.name, {
        dtype: entry.dtype.toUpperCase(),
        shape: entry.shape,
        data_offsets: [from, to],
      }]),
    ),
  });
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, 8);
  return {
    header,
    entries: ranges.map(({ entry, from }) => ({
      ...entry,
      offset: header.length + from,
    })),
    size: header.length + end,
  };
}

/** Takes the tensors of a laid-out file in chunks and writes them in the order of the file. */
export class SafetensorsWriter {
  readonly #sink: ByteSink;
  readonly #layout: SafetensorsLayout;
  readonly #index: ReadonlyMap<string, number>;
  /** Bytes taken of each tensor. */
  readonly #taken: number[];
  /** Tensors with an odd size, buffered until those before them are written. */
  readonly #kept = new Map<number, Uint8Array<ArrayBuffer>>();
  #next = 0;

  private constructor(sink: ByteSink, layout: SafetensorsLayout) {
    this.#sink = sink;
    this.#layout = layout;
    this.#index = new Map(layout.entries.map(({ name }, i) => [name, i]));
    this.#taken = layout.entries.map(() => 0);
  }

  /**
   * Begins a file, or continues one: a `sink` that holds bytes already (see `resumeAt` of `fileSink`) must hold the header
   * and whole tensors. {@linkcode SafetensorsWriter.has} says which tensors are written.
   *
   * @throws {RangeError} If the sink ends in the middle of a tensor.
   */
  static async open(
    sink: ByteSink,
    layout: SafetensorsLayout,
  ): Promise<SafetensorsWriter> {
    const writer = new SafetensorsWriter(sink, layout);
    if (sink.size === 0) await sink.write(layout.header);
    else {
      const { entries } = layout;
      let end = layout.header.length;
      while (end < sink.size && writer.#next < entries.length) {
        const { bytes } = entries[writer.#next];
        writer.#taken[writer.#next++] = bytes;
        end += bytes;
      }
      if (end !== sink.size) {
        throw new ValueError(
          `Cannot go on with ${
            quoted(sink.name)
          }: byte ${sink.size} is not the end of a tensor`,
        );
      }
    }
    await writer.#flush();
    return writer;
  }

  /** True if the file has a tensor `name`. */
  declares(name: string): boolean {
    return this.#index.has(name);
  }

  /** True if tensor `name` has an odd size and so may stay in memory until the end of the file. */
  isLate(name: string): boolean {
    return this.#layout.entries[this.#find(name)].bytes % 8 !== 0;
  }

  /** True if all bytes of tensor `name` were written. */
  has(name: string): boolean {
    const i = this.#find(name);
    return this.#taken[i] === this.#layout.entries[i].bytes;
  }

  /**
   * Takes the next bytes of tensor `name`. Tensors come in the order of the layout, those of odd size at any time.
   *
   * @throws {TypeError} If it is not declared, not its turn, or already whole.
   */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const i = this.#find(name);
    const entry = this.#layout.entries[i];
    const at = this.#taken[i];
    if (at + bytes.byteLength > entry.bytes) {
      throw new KindError(
        `Cannot write tensor ${
          quoted(name)
        }: it has ${entry.bytes} bytes, got ${at + bytes.byteLength}`,
      );
    }
    if (i === this.#next) {
      await this.#sink.write(bytes);
      this.#taken[i] += bytes.byteLength;
      if (this.#taken[i] === entry.bytes) {
        this.#next++;
        await this.#flush();
      }
      return;
    }
    if (entry.bytes % 8 === 0) {
      throw new KindError(
        `Cannot write tensor ${quoted(name)}: it is the turn of ${
          quoted(this.#layout.entries[this.#next]?.name ?? "none")
        }`,
      );
    }
    let kept = this.#kept.get(i);
    if (kept === undefined) {
      this.#kept.set(i, kept = new Uint8Array(entry.bytes));
    }
    kept.set(bytes, at);
    this.#taken[i] += bytes.byteLength;
  }

  /** Writes the tensors that are due: empty and buffered ones. */
  async #flush(): Promise<void> {
    const { entries } = this.#layout;
    for (; this.#next < entries.length; this.#next++) {
      const { bytes } = entries[this.#next];
      if (bytes === 0) continue;
      const kept = this.#kept.get(this.#next);
      if (kept === undefined) return;
      await this.#sink.write(kept.subarray(0, this.#taken[this.#next]));
      this.#kept.delete(this.#next);
      if (this.#taken[this.#next] < bytes) return;
    }
  }

  /**
   * Checks that every tensor came whole, and closes the sink.
   *
   * @throws {TypeError} That names the tensors which did not.
   */
  async close(): Promise<void> {
    const missing = this.#layout.entries.filter(({ name }) => !this.has(name));
    if (missing.length > 0) {
      const names = missing.slice(0, 5).map(({ name }) => quoted(name));
      throw new KindError(
        `Cannot finish ${
          quoted(this.#sink.name)
        }: ${missing.length} of ${this.#layout.entries.length} tensors are not whole: ${
          names.join(", ")
        }${missing.length > 5 ? ", ..." : ""}`,
      );
    }
    await this.#sink.close();
  }

  #find(name: string): number {
    const i = this.#index.get(name);
    if (i === undefined) {
      throw new KindError(
        `Cannot write tensor ${quoted(name)}: it is not declared`,
      );
    }
    return i;
  }
}
