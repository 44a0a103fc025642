/**
 * Factorisations of the WebGPU device.
 *
 * @module
 */

import type { OperationArgs } from "../../../src/device/operations.ts";
import { onCpu } from "../../on_cpu.ts";
import type { WebGpuMemory } from "../../buffers.ts";

export { qr } from "./qr.ts";
export { cholesky, solveRight } from "./triangular.ts";

/** As the contract says, on the CPU: its rotations are in f64, and one depends on the other. */
export function svd(
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
