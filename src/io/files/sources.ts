/**
 * Byte sources and sinks that need no file system: memory, blobs.
 *
 * Files are in `deno.ts`, HTTP in `../hub/http.ts`.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { ByteSink, ByteSource } from "./bytes.ts";
import { quoted } from "./errors.ts";

/**
 * Refuses a range that leaves a source.
 *
 * @throws {RangeError} If it does, or is no range at all.
 */
export function checkRange(
  source: { readonly name: string; readonly size: number },
  offset: number,
  length: number,
): void {
  if (
    !Number.isSafeInteger(offset) || !Number.isSafeInteger(length) ||
    offset < 0 || length < 0 || offset + length > source.size
  ) {
    throw new ValueError(
      `Cannot read ${length} bytes at ${offset} of ${
        quoted(source.name)
      }: it holds ${source.size}`,
    );
  }
}

/**
 * A source over `bytes` in memory, which are not copied until read.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { bytesSource } from "@loqa/loqa";
 *
 * await using source = bytesSource(Uint8Array.of(1, 2, 3), "three bytes");
 * assert.deepEqual(await source.read(1, 2), Uint8Array.of(2, 3));
 * ```
 */
export function bytesSource(bytes: Uint8Array, name: string): ByteSource {
  const source = {
    name,
    size: bytes.byteLength,
    read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
      try {
        checkRange(source, offset, length);
      } catch (error) {
        return Promise.reject(error);
      }
      const out = new Uint8Array(length);
      out.set(bytes.subarray(offset, offset + length));
      return Promise.resolve(out);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return source;
}

/**
 * A source over a `Blob` or a browser's `File`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { blobSource } from "@loqa/loqa";
 *
 * await using source = blobSource(new Blob(["loqa"]), "a.txt"); // a File of a page too
 * assert.deepEqual(await source.read(1, 2), new TextEncoder().encode("oq"));
 * ```
 */
export function blobSource(blob: Blob, name: string): ByteSource {
  const source = {
    name,
    size: blob.size,
    async read(
      offset: number,
      length: number,
    ): Promise<Uint8Array<ArrayBuffer>> {
      checkRange(source, offset, length);
      const part = blob.slice(offset, offset + length);
      return new Uint8Array(await part.arrayBuffer());
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return source;
}

/** `length` bytes of `source` from `offset` on, as a source of its own; disposing of it leaves `source` open. */
export function sliceSource(
  source: ByteSource,
  { offset, length, name }: { offset: number; length: number; name: string },
): ByteSource {
  checkRange(source, offset, length);
  const slice = {
    name,
    size: length,
    async read(at: number, count: number): Promise<Uint8Array<ArrayBuffer>> {
      checkRange(slice, at, count);
      return await source.read(offset + at, count);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return slice;
}

/** A sink into memory. */
export interface MemorySink extends ByteSink {
  /** The bytes, once closed. @throws {RangeError} Before {@linkcode ByteSink.close}. */
  bytes(): Uint8Array<ArrayBuffer>;
}

/**
 * A sink into memory, which grows as needed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { memorySink } from "@loqa/loqa";
 *
 * await using sink = memorySink("a file in memory");
 * await sink.write(Uint8Array.of(1, 2));
 * await sink.close();
 * assert.deepEqual(sink.bytes(), Uint8Array.of(1, 2));
 * ```
 */
export function memorySink(name: string): MemorySink {
  let buffer = new Uint8Array(1024);
  let size = 0;
  let closed = false;
  return {
    name,
    get size() {
      return size;
    },
    write(bytes) {
      if (closed) {
        return Promise.reject(
          new ValueError(`Cannot write to ${quoted(name)}: it is closed`),
        );
      }
      if (size + bytes.byteLength > buffer.length) {
        const grown = new Uint8Array(
          Math.max(buffer.length * 2, size + bytes.byteLength),
        );
        grown.set(buffer.subarray(0, size));
        buffer = grown;
      }
      buffer.set(bytes, size);
      size += bytes.byteLength;
      return Promise.resolve();
    },
    sync: () => Promise.resolve(),
    close() {
      closed = true;
      return Promise.resolve();
    },
    bytes() {
      if (!closed) {
        throw new ValueError(`Cannot take ${quoted(name)}: it is not closed`);
      }
      return buffer.slice(0, size);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
