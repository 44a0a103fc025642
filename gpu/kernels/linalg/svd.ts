/**
 * Factorisations of the WebGPU device.
 *
 * @module
 */

import { checkSvd } from "../../../src/device/contract/check.ts";
import type { Operations } from "../../../src/device/operations.ts";
import { onCpu } from "../../on_cpu.ts";
import type { WebGpuMemory } from "../../buffers.ts";

export { qr } from "./qr.ts";
export { cholesky, solveRight } from "./triangular.ts";

/** As the contract says, on the CPU: its rotations are in f64, and one depends on the other. */
export function svd(
  memory: WebGpuMemory,
  args: Parameters<Operations["svd"]>[0],
): void {
  checkSvd(args);
  onCpu(memory, {
    args,
    reads: ["a"],
    writes: ["u", "s", "vt"],
    run: (ops, { a, u, s, vt }) => ops.svd({ a, u, s, vt }),
  });
}
