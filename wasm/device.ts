/**
 * The WASM device: SIMD kernels on the CPU, on as many threads as the platform lends.
 *
 * Everything is done when a call returns; only `read` has the form of a promise. Products and factorisations use fused
 * multiply-adds and carry a tolerance; quantisation does not, and gives the codes of the reference device. Results do
 * not depend on the number of threads, bit for bit.
 *
 * @module
 */

import { ValueError } from "../src/errors.ts";
import { openKernels } from "./runtime/loader.ts";
import type { DeviceBuffer } from "../src/device/buffer.ts";
import type { PartialDevice } from "../src/device/device.ts";
import { gemmOperations } from "./ops/gemm.ts";
import { gemmQuantOperations } from "./ops/gemm_quant.ts";
import { int8Operations } from "./ops/int8.ts";
import { quantOperations } from "./ops/quant.ts";
import { columnOperations } from "./ops/columns.ts";
import { linalgOperations } from "./ops/linalg.ts";
import { svdOperations } from "./ops/svd.ts";
import { WasmMemory } from "./buffers.ts";
import { rowOperations } from "./ops/rows.ts";
import { normOperations } from "./ops/norm.ts";
import { ropeOperations } from "./ops/rope.ts";
import { activationOperations } from "./ops/activation.ts";
import { lossOperations } from "./ops/loss.ts";
import { optimizerOperations } from "./ops/optimizer.ts";
import { scoreOperations } from "./ops/scores.ts";
import { attentionOperations } from "./ops/attention.ts";
import { bind, checked } from "../src/device/operations.ts";

/** Options of {@linkcode openWasmDevice}. */
export interface WasmDeviceOptions {
  /** Threads, the calling one included; as many as the machine has cores without it. */
  readonly threads?: number;
  /** Uses relaxed SIMD where the platform has it and rounds as it should (default); false is for tests. */
  readonly relaxed?: boolean;
}

/**
 * Opens a WASM device. It has fewer threads than asked for where the platform has no shared memory or no workers; that
 * is not an error. With several threads it must be disposed: until then its workers keep a Deno process alive.
 *
 * @throws {RangeError} If `threads` is not a whole number of at least 1.
 * @throws {WebAssembly.CompileError} If the platform lacks WebAssembly's SIMD.
 */
export async function openWasmDevice(
  { threads, relaxed }: WasmDeviceOptions = {},
): Promise<PartialDevice> {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new ValueError(
      `Cannot open the wasm device: threads must be a whole number >= 1, got ${threads}`,
    );
  }
  const kernels = await openKernels({ threads, relaxed });
  const memory = new WasmMemory(kernels);
  return {
    name: "wasm",
    description: `wasm (${
      kernels.relaxed ? "SIMD with fused multiply-add" : "plain SIMD"
    }, ${kernels.threads} ${kernels.threads === 1 ? "thread" : "threads"})`,
    threads: kernels.threads,
    memory,
    ops: checked(bind(memory, {
      ...gemmOperations,
      ...gemmQuantOperations,
      ...int8Operations,
      ...quantOperations,
      ...columnOperations,
      ...linalgOperations,
      ...svdOperations,
      ...attentionOperations,
      ...rowOperations,
      ...normOperations,
      ...ropeOperations,
      ...activationOperations,
      ...lossOperations,
      ...optimizerOperations,
      ...scoreOperations,
    })),
    alloc: (bytes) => memory.alloc(bytes),
    write(buffer: DeviceBuffer, data: ArrayBufferView, at = 0): void {
      const address = memory.range(buffer, at, data.byteLength);
      kernels.u8.set(
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        address,
      );
    },
    // deno-lint-ignore require-await -- a promise by contract: errors reject
    async read(
      buffer: DeviceBuffer,
      at = 0,
      bytes = buffer.bytes - at,
    ): Promise<Uint8Array<ArrayBuffer>> {
      const address = memory.range(buffer, at, bytes);
      const out = new Uint8Array(bytes);
      out.set(kernels.u8.subarray(address, address + bytes));
      return out;
    },
    [Symbol.dispose](): void {
      memory.disposed = true;
      kernels[Symbol.dispose]();
    },
  };
}
