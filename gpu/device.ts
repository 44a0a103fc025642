/**
 * The WebGPU device. Products, quantisation and factorisations run on the GPU; what it does badly (small exact SVDs)
 * runs on the CPU, in its place in the order of the work.
 *
 * Reached only by a dynamic import, and touches no GPU before it is opened.
 *
 * @module
 */

import { type AdapterOptions, openAdapter } from "./adapter.ts";
import { GpuContext } from "./context.ts";
import type { PartialDevice } from "../src/device/device.ts";
import {
  gemm,
  roundHalf,
  rowSquares,
  scaleColumns,
} from "./kernels/gemm/gemm.ts";
import { gemmQuantized } from "./kernels/gemm/quantized.ts";
import { gemmInt8 } from "./kernels/gemm/int8.ts";
import { cholesky, qr, solveRight, svd } from "./kernels/linalg/svd.ts";
import { WebGpuMemory } from "./buffers.ts";
import { networkOperations } from "./kernels/network.ts";
import { dequantize, quantize } from "./kernels/quant/quant.ts";

/** A device on WebGPU. */
export interface WebGpuDevice extends PartialDevice {
  /** What runs its kernels. */
  readonly context: GpuContext;
  /** Whether a CPU does the GPU's work. */
  readonly software: boolean;
}

/**
 * Opens the WebGPU device.
 *
 * @throws {DeviceFaultError} If there is no WebGPU or no adapter.
 */
export async function openWebGpuDevice(
  options: AdapterOptions = {},
): Promise<WebGpuDevice> {
  const context = new GpuContext(await openAdapter(options));
  const memory = new WebGpuMemory(context);
  return {
    name: "webgpu",
    description: `webgpu (${context.description}${
      context.software ? ", software" : ""
    })`,
    threads: 1,
    software: context.software,
    context,
    memory,
    ops: {
      gemm: (args) => gemm(memory, args),
      quantize: (args) => quantize(memory, args),
      dequantize: (args) => dequantize(memory, args),
      gemmQuantized: (args) => gemmQuantized(memory, args),
      gemmInt8: (args) => gemmInt8(memory, args),
      rowSquares: (args) => rowSquares(memory, args),
      scaleColumns: (args) => scaleColumns(memory, args),
      roundHalf: (args) => roundHalf(memory, args),
      qr: (args) => qr(memory, args),
      cholesky: (args) => cholesky(memory, args),
      solveRight: (args) => solveRight(memory, args),
      svd: (args) => svd(memory, args),
      ...networkOperations(memory),
    },
    alloc: (bytes) => memory.alloc(bytes),
    write: (buffer, data, at) => memory.write(buffer, data, at),
    read: (buffer, at, bytes) => memory.read(buffer, at, bytes),
    [Symbol.dispose]: () => context[Symbol.dispose](),
  };
}
