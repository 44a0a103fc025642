/**
 * Exact SVD on the WebGPU device.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import { onCpu } from "../../on_cpu.ts";
import type { WebGpuMemory } from "../../buffers.ts";

/** On the CPU: its rotations are in f64, and one depends on the other. */
function svd(
  memory: WebGpuMemory,
  args: OperationArgs<"svd">,
): void {
  onCpu(memory, {
    args,
    reads: ["a"],
    writes: ["u", "s", "vt"],
    run: (ops, { a, u, s, vt }) => ops.svd({ a, u, s, vt }),
  });
}

/** These operations, in a memory of the device. */
export const svdOperations = {
  svd,
} satisfies MemoryOperations<WebGpuMemory>;
