/**
 * The device contract: buffers in, buffers out.
 *
 * A device is a place where matrices live and a table of operations on them. `reference` is plain
 * TypeScript that accumulates in f64 and is the oracle; `wasm` and `webgpu` pass the same
 * conformance table, `tests/conformance`.
 *
 * Not in this layer: it knows no number format by name, no LoftQ and no model; it does
 * not broadcast, promote or allocate results. Work is enqueued in the order of the calls, and only
 * {@linkcode Device.read} waits for it: on a GPU one wait costs about 11 ms whatever its size, so
 * no algorithm may read inside a loop that it can do without.
 *
 * @module
 */

import type { DeviceBuffer } from "./buffer.ts";
import type { Operations } from "./operations.ts";

/** Name of a device. */
export type DeviceName = "reference" | "wasm" | "webgpu";

/** A device as its own folder exports it: with the operations that it has, the others missing. */
export interface PartialDevice extends Disposable {
  /** Name of the device. */
  readonly name: DeviceName;
  /** One line for a person: threads, SIMD, adapter. */
  readonly description: string;
  /** Threads that work on one operation. */
  readonly threads: number;
  /** Operations that it has. */
  readonly ops: Partial<Operations>;

  /** Bytes now allocated in buffers, and the most there were since the device opened. */
  readonly memory: { readonly bytes: number; readonly peakBytes: number };

  /** Uninitialised memory. @throws {RangeError} If the device cannot give `bytes`. */
  alloc(bytes: number): DeviceBuffer;

  /** Copies `data` into `buffer` from byte `at` (0) on, in the order of the calls. */
  write(buffer: DeviceBuffer, data: ArrayBufferView, at?: number): void;

  /** Waits for the work so far and copies `bytes` (all) from byte `at` (0) on into new ordinary memory. */
  read(
    buffer: DeviceBuffer,
    at?: number,
    bytes?: number,
  ): Promise<Uint8Array<ArrayBuffer>>;
}

/** A device with every operation of the contract; see `openDevice`. */
export interface Device extends PartialDevice {
  /** All operations. */
  readonly ops: Operations;
}

/** Reads `count` f32 values from element `at` on (by default the whole buffer). */
export async function readF32(
  device: PartialDevice,
  buffer: DeviceBuffer,
  at = 0,
  count: number = Math.floor(buffer.bytes / 4) - at,
): Promise<Float32Array<ArrayBuffer>> {
  return new Float32Array(
    (await device.read(buffer, at * 4, count * 4)).buffer,
  );
}
