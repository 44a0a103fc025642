/**
 * Buffers of the WASM device, and how its operations reach them.
 *
 * @module
 */

import { KindError, ValueError } from "../src/errors.ts";
import type { Kernels } from "./runtime/loader.ts";
import { MAX_PARTS, TABLES } from "./runtime/loader.ts";
import type { DeviceBuffer, Mat } from "../src/device/buffer.ts";
import type { QuantSpec } from "../src/device/quant_mat.ts";

/** Memory of a {@linkcode WasmMemory}. */
class WasmBuffer implements DeviceBuffer {
  readonly bytes: number;
  readonly memory: WasmMemory;
  #address: number | null;

  constructor(bytes: number, memory: WasmMemory) {
    this.memory = memory;
    this.bytes = bytes;
    this.#address = memory.kernels.alloc(bytes);
    memory.count(bytes);
  }

  get address(): number {
    if (this.#address === null) {
      throw new KindError("Cannot use a buffer: it was freed");
    }
    if (this.memory.disposed) {
      throw new KindError("Cannot use a buffer: its device was disposed");
    }
    return this.#address;
  }

  [Symbol.dispose](): void {
    if (this.#address === null) return;
    if (!this.memory.disposed) this.memory.kernels.free(this.#address);
    this.memory.count(-this.bytes);
    this.#address = null;
  }
}

/** The memory of one device. */
export class WasmMemory {
  /** Kernels over the memory. */
  readonly kernels: Kernels;
  /** Bytes now in buffers. */
  bytes = 0;
  /** The most there were. */
  peakBytes = 0;
  /** True after the device and its buffers were disposed of. */
  disposed = false;

  /** Buffers in the memory of `kernels`. */
  constructor(kernels: Kernels) {
    this.kernels = kernels;
  }

  /** A buffer of `bytes`. @throws {RangeError} If they do not fit. */
  alloc(bytes: number): DeviceBuffer {
    return new WasmBuffer(bytes, this);
  }

  /** Notes that buffers grew by `bytes`. */
  count(bytes: number): void {
    this.bytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
  }

  /** Address of a buffer. @throws {TypeError} If it is freed or another device's. */
  address(buffer: DeviceBuffer): number {
    if (!(buffer instanceof WasmBuffer) || buffer.memory !== this) {
      throw new KindError("Cannot use a buffer: it belongs to another device");
    }
    return buffer.address;
  }

  /** Address of a matrix's first element. */
  origin(x: Mat): number {
    return this.address(x.buffer) + x.offset * 4;
  }

  /** Address of bytes `at` to `at + bytes` of a buffer. @throws {RangeError} If it has not so many. */
  range(buffer: DeviceBuffer, at: number, bytes: number): number {
    if (!(at >= 0) || !(bytes >= 0) || at + bytes > buffer.bytes) {
      throw new ValueError(
        `Cannot reach bytes ${at} to ${
          at + bytes
        } of a buffer: it holds ${buffer.bytes}`,
      );
    }
    return this.address(buffer) + at;
  }

  /**
   * Parts for a job of `work` units where one thread manages `grain` in about 30 µs: waking a second one for less
   * costs more than it saves. Several parts a thread, so that one that the system runs late takes fewer.
   */
  parts(work: number, grain: number): number {
    const { threads } = this.kernels;
    return threads === 1 || work < 2 * grain
      ? 1
      : Math.min(4 * threads, MAX_PARTS, Math.floor(work / grain));
  }

  /** Scratch memory with `bytes` for each thread. */
  scratch(bytes: number): number {
    return this.kernels.scratch(this.kernels.threads * bytes);
  }
}

/**
 * Puts the levels and thresholds of a codebook where a job finds them, sixteen each, the latter padded with infinity;
 * addresses 0 for an affine format.
 */
export function putFormat(
  kernels: Kernels,
  spec: QuantSpec,
): readonly [levels: number, thresholds: number] {
  if (spec.levels === null || spec.thresholds === null) return [0, 0];
  const [levels, thresholds] = [TABLES, TABLES + 64];
  const { f32 } = kernels;
  f32.set(spec.levels, levels / 4);
  f32.fill(Infinity, thresholds / 4, thresholds / 4 + 16);
  f32.set(spec.thresholds, thresholds / 4);
  return [levels, thresholds];
}

/** Puts the byte planes of a format's levels, at most sixteen, where a job finds them; returns their address. */
export function putPlanes(kernels: Kernels, spec: QuantSpec): number {
  if (spec.bits > 4) return TABLES;
  const levels = spec.levels ??
    Float32Array.from({ length: 1 << spec.bits }, (_, code) => code);
  const bytes = new Uint8Array(levels.buffer, levels.byteOffset);
  const { u8 } = kernels;
  for (let i = 0; i < levels.length * 4; i++) {
    u8[TABLES + (i % 4) * 16 + (i >> 2)] = bytes[i];
  }
  return TABLES;
}
