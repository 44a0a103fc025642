/**
 * Memory of the reference device: one `ArrayBuffer` a buffer, and matrices as dense f64 arrays.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";

/** Counts allocated bytes. */
export class Memory {
  /** Bytes now allocated. */
  bytes = 0;
  /** The most there were. */
  peakBytes = 0;
  #gone = false;

  /** True if the device was disposed of. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Notes that the device is disposed of: no buffer of it can be used any more. */
  end(): void {
    this.#gone = true;
  }

  /** Counts `bytes` more, or fewer. */
  add(bytes: number): void {
    this.bytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
  }
}

/** A buffer of the reference device. */
export class Buffer implements DeviceBuffer {
  readonly bytes: number;
  #data: ArrayBuffer | null;
  #memory: Memory;

  /** Takes `bytes` of ordinary memory and counts them in `memory`. */
  constructor(bytes: number, memory: Memory) {
    this.bytes = bytes;
    this.#data = new ArrayBuffer(Math.ceil(bytes / 4) * 4);
    // Values not written yet read as NaN, so that nobody comes to rely on zeros.
    new Uint8Array(this.#data).fill(0xff);
    this.#memory = memory;
    memory.add(bytes);
  }

  /** The values. @throws {TypeError} If the buffer or its device was disposed of. */
  get data(): ArrayBuffer {
    if (this.#data === null) {
      throw new KindError("Cannot use a buffer: it was freed");
    }
    if (this.#memory.gone) {
      throw new KindError("Cannot use a buffer: its device was disposed");
    }
    return this.#data;
  }

  [Symbol.dispose](): void {
    if (this.#data === null) return;
    this.#data = null;
    this.#memory.add(-this.bytes);
  }
}

/** `buffer` as one of this device. @throws {TypeError} If it is another's. */
export function own(buffer: DeviceBuffer): Buffer {
  if (!(buffer instanceof Buffer)) {
    throw new KindError("Cannot use a buffer: it belongs to another device");
  }
  return buffer;
}

/** The f32 values of a buffer, in place. */
export function f32(buffer: DeviceBuffer): Float32Array {
  return new Float32Array(own(buffer).data);
}

/** The i32 values of a buffer, in place. */
export function i32(buffer: DeviceBuffer): Int32Array {
  return new Int32Array(own(buffer).data);
}

/** The u32 values of a buffer, in place. */
export function u32(buffer: DeviceBuffer): Uint32Array {
  return new Uint32Array(own(buffer).data);
}

/** The bytes of a buffer, in place. */
export function u8(buffer: DeviceBuffer): Uint8Array {
  return new Uint8Array(own(buffer).data);
}

/** A dense f64 copy of `x`, row-major, or of its transpose. */
export function load(x: Mat, transpose = false): Float64Array {
  const data = f32(x.buffer);
  const out = new Float64Array(x.rows * x.cols);
  const [down, right] = transpose ? [1, x.rows] : [x.cols, 1];
  for (let i = 0; i < x.rows; i++) {
    for (let j = 0; j < x.cols; j++) {
      out[i * down + j * right] = data[x.offset + i * x.stride + j];
    }
  }
  return out;
}

/** Rounds dense row-major values into `x`. */
export function store(x: Mat, values: ArrayLike<number>): void {
  const data = f32(x.buffer);
  for (let i = 0; i < x.rows; i++) {
    for (let j = 0; j < x.cols; j++) {
      data[x.offset + i * x.stride + j] = values[i * x.cols + j];
    }
  }
}
