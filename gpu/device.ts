/**
 * The WebGPU device. Products, quantisation and factorisations run on the GPU; small exact SVDs, which it does badly, run
 * on the CPU, in their place in the order of the work.
 *
 * Reached only by a dynamic import, and touches no GPU before it is opened.
 *
 * @module
 */

import { type AdapterOptions, openGpuAdapter } from "./adapter.ts";
import { GpuContext } from "./context.ts";
import type { PartialDevice } from "../src/device/device.ts";
import { gemmOperations } from "./kernels/gemm/gemm.ts";
import { gemmQuantOperations } from "./kernels/gemm/quantized.ts";
import { int8Operations } from "./kernels/gemm/int8.ts";
import { quantOperations } from "./kernels/quant/quant.ts";
import { columnOperations } from "./kernels/elementwise/columns.ts";
import { qrOperations } from "./kernels/linalg/qr.ts";
import { svdOperations } from "./kernels/linalg/svd.ts";
import { triangularOperations } from "./kernels/linalg/triangular.ts";
import { WebGpuMemory } from "./buffers.ts";
import { rowOperations } from "./kernels/elementwise/rows.ts";
import { normOperations } from "./kernels/norm/norm.ts";
import { ropeOperations } from "./kernels/attention/rope.ts";
import { activationOperations } from "./kernels/elementwise/activation.ts";
import { lossOperations } from "./kernels/norm/cross_entropy.ts";
import { optimizerOperations } from "./kernels/elementwise/adamw.ts";
import { scoreOperations } from "./kernels/attention/scores.ts";
import { attentionOperations } from "./kernels/attention/attention.ts";
import { bind, checked } from "../src/device/operations.ts";

/** A device on WebGPU. */
export interface WebGpuDevice extends PartialDevice {
  /** Context that runs its kernels. */
  readonly context: GpuContext;
  /** True for a software adapter: a CPU does the work. */
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
  const context = new GpuContext(await openGpuAdapter(options));
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
    ops: checked(bind(memory, {
      ...gemmOperations,
      ...gemmQuantOperations,
      ...int8Operations,
      ...quantOperations,
      ...columnOperations,
      ...qrOperations,
      ...svdOperations,
      ...triangularOperations,
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
    write: (buffer, data, at) => memory.write(buffer, data, at),
    read: (buffer, at, bytes) => memory.read(buffer, at, bytes),
    [Symbol.dispose]: () => context[Symbol.dispose](),
  };
}
