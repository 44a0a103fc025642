/**
 * Rotary positions on the WASM device. The kernel: `wasm/assembly/attention/rope.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { WasmMemory } from "../buffers.ts";
import { GRAIN, matWords, wantIds } from "./words.ts";

function rope(memory: WasmMemory, args: OperationArgs<"rope">): void {
  const { x, out, positions, cos, sin, headDim, inverse = false } = args;
  wantIds(memory, "rope: positions", {
    at: positions,
    count: x.rows,
    limit: cos.rows,
  });
  memory.kernels.run("rope", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols / headDim,
    headDim / 2,
    ...matWords(memory, x),
    ...matWords(memory, out),
    memory.address(positions),
    ...matWords(memory, cos),
    ...matWords(memory, sin),
    inverse ? 1 : 0,
  ]);
}

/** These operations, in a memory of the device. */
export const ropeOperations = {
  rope,
} satisfies MemoryOperations<WasmMemory>;
