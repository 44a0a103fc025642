/**
 * Buffers of the WebGPU device, and the order of its work.
 *
 * Nearly all work is recorded at once. An operation that the CPU does (a small SVD) has to wait for its input, though;
 * later calls wait in line behind it, so that everything happens in the order of the calls and no
 * operation but `read` is a promise.
 *
 * @module
 */

import { KindError, ValueError } from "../src/errors.ts";
import type { GpuContext, Span } from "./context.ts";
import type { DeviceBuffer, Mat } from "../src/device/buffer.ts";
import { DeviceMemoryError } from "../src/device/errors.ts";

/** Bindings begin at multiples of this many bytes. */
const ALIGNMENT = 256;

class WebGpuBuffer implements DeviceBuffer {
  readonly bytes: number;
  gpu: GPUBuffer | undefined;
  readonly #release: (buffer: WebGpuBuffer) => void;

  constructor(
    bytes: number,
    gpu: GPUBuffer,
    release: (buffer: WebGpuBuffer) => void,
  ) {
    this.bytes = bytes;
    this.gpu = gpu;
    this.#release = release;
  }

  [Symbol.dispose](): void {
    if (this.gpu) this.#release(this);
  }
}

/** Values as a kernel takes them: a span to bind, and where in it they begin, in elements. */
export interface BoundVector {
  readonly span: Span;
  readonly first: number;
}

/** A matrix likewise, with the elements from a row to the next. */
export interface BoundMat extends BoundVector {
  readonly stride: number;
}

/** Several matrices of one shape, with the elements from one to the next. */
export interface BoundBatch extends BoundMat {
  readonly step: number;
}

/** Memory of one WebGPU device. */
export class WebGpuMemory {
  readonly context: GpuContext;
  #bytes = 0;
  #peakBytes = 0;
  /** The line behind an operation that waits; undefined when nothing does. */
  #line: Promise<void> | undefined;
  #failure: unknown;

  constructor(context: GpuContext) {
    this.context = context;
  }

  /** Bytes of the buffers that are in use. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The most {@linkcode bytes} there were. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Does `work` in the order of the calls: at once, unless something waits. */
  enqueue(work: () => void | Promise<void>): void {
    if (this.#line) {
      this.#append(this.#line.then(work));
      return;
    }
    const waiting = work();
    if (waiting) this.#append(waiting);
  }

  /** As the contract says. */
  alloc(bytes: number): DeviceBuffer {
    const { context } = this;
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new ValueError(
        `Cannot allocate ${bytes} bytes: wanted a whole number >= 0`,
      );
    }
    if (bytes > context.mostBytes) {
      throw new DeviceMemoryError(
        `Cannot allocate ${bytes} bytes on ${context.description}: its buffers hold at most ${context.mostBytes}`,
      );
    }
    const buffer = new WebGpuBuffer(
      bytes,
      context.take(Math.max(bytes, 4)),
      (self) => {
        this.#bytes -= self.bytes;
        const gpu = self.gpu!;
        self.gpu = undefined;
        this.enqueue(() => context.release(gpu));
      },
    );
    this.#bytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
    return buffer;
  }

  /**
   * The GPU's own buffer. Ask for it when an operation is called, not when its turn comes: a buffer may be disposed of
   * between the two, and stays whole until then.
   */
  gpu(buffer: DeviceBuffer): GPUBuffer {
    if (!(buffer instanceof WebGpuBuffer)) {
      throw new KindError(
        "Cannot use a buffer: it belongs to another device than webgpu",
      );
    }
    if (!buffer.gpu) {
      throw new KindError("Cannot use a buffer: it was disposed");
    }
    return buffer.gpu;
  }

  /** The whole of a buffer, as a binding of whole words. @throws {DeviceMemoryError} If one binding cannot reach it. */
  whole(buffer: DeviceBuffer): Span {
    return this.part(buffer, 0, Math.max(buffer.bytes, 4)).span;
  }

  /** Bytes `[at, at + bytes)` of a buffer as a binding, and where in the binding they begin, in bytes. */
  part(
    buffer: DeviceBuffer,
    at: number,
    bytes: number,
  ): { span: Span; first: number } {
    const gpu = this.gpu(buffer);
    const begin = at - at % ALIGNMENT;
    const size = Math.ceil((at + bytes) / 4) * 4 - begin;
    if (size > this.context.mostBound) {
      throw new DeviceMemoryError(
        `Cannot bind ${size} bytes on ${this.context.description}: one binding reaches ${this.context.mostBound}`,
      );
    }
    return {
      span: { buffer: gpu, at: begin, bytes: Math.max(size, 4) },
      first: at - begin,
    };
  }

  /** Bytes from the first to the last value of a matrix. */
  extent({ rows, cols, stride }: Mat): number {
    return rows === 0 || cols === 0 ? 0 : ((rows - 1) * stride + cols) * 4;
  }

  /** A matrix as a binding. @throws {DeviceMemoryError} If one binding cannot reach it: see {@linkcode extent}. */
  bind(x: Mat): BoundMat {
    const { span, first } = this.part(
      x.buffer,
      x.offset * 4,
      Math.max(this.extent(x), 4),
    );
    return { span, first: first >> 2, stride: x.stride };
  }

  /** Elements `[at, at + count)` of a vector as a binding. */
  vector(
    x: DeviceBuffer,
    { at = 0, count }: { at?: number; count: number },
  ): BoundVector {
    const { span, first } = this.part(x, at * 4, count * 4);
    return { span, first: first / 4 };
  }

  /** As the contract says. */
  write(buffer: DeviceBuffer, data: ArrayBufferView, at = 0): void {
    const { context } = this;
    const gpu = this.gpu(buffer);
    this.#checkRange(buffer, at, data.byteLength);
    const bytes = new Uint8Array(
      data.buffer,
      data.byteOffset,
      data.byteLength,
    );
    if (bytes.length === 0) return;
    const own = this.#line ? bytes.slice() : bytes;
    this.enqueue(() => {
      // WebGPU writes whole words; the rest of a word at either end is read first.
      const end = at + own.length;
      const from = at - at % 4;
      const to = Math.ceil(end / 4) * 4;
      if (from === at && to === end) {
        context.write(gpu, at, own);
        return;
      }
      const wide = to - from;
      if (from === at && end === buffer.bytes) {
        const padded = new Uint8Array(wide);
        padded.set(own);
        context.write(gpu, from, padded);
        return;
      }
      const copy = own.slice();
      return context.read(gpu, from, wide).then((words) => {
        words.set(copy, at - from);
        context.write(gpu, from, words);
      });
    });
  }

  /** As the contract says. */
  async read(
    buffer: DeviceBuffer,
    at = 0,
    bytes: number = buffer.bytes - at,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const gpu = this.gpu(buffer);
    this.#checkRange(buffer, at, bytes);
    let result: Promise<Uint8Array<ArrayBuffer>> | undefined;
    this.enqueue(() => {
      const from = at - at % 4;
      const to = Math.ceil((at + bytes) / 4) * 4;
      // Reads that follow each other share one wait: the line does not stop for this one.
      result = this.context.read(gpu, from, to - from).then((words) =>
        words.length === bytes ? words : words.slice(at - from).subarray(
          0,
          bytes,
        ).slice()
      );
      result.catch(() => {});
    });
    await this.#line;
    if (this.#failure !== undefined) {
      const failure = this.#failure;
      this.#failure = undefined;
      throw failure;
    }
    return await result!;
  }

  #append(waiting: Promise<void>): void {
    const line: Promise<void> = waiting.catch((error) => {
      this.#failure ??= error;
    }).then(() => {
      if (this.#line === line) this.#line = undefined;
    });
    this.#line = line;
  }

  #checkRange(buffer: DeviceBuffer, at: number, bytes: number): void {
    if (!(at >= 0 && bytes >= 0 && at + bytes <= buffer.bytes)) {
      throw new ValueError(
        `Cannot reach bytes ${at} to ${
          at + bytes
        } of a buffer of ${buffer.bytes}`,
      );
    }
  }
}
