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
import { GRAIN, place, wantIds } from "../words.ts";

function rope(memory: WasmMemory, args: OperationArgs<"rope">): void {
  const { x, out, positions, cos, sin, headDim, inverse = false } = args;
  wantIds(memory, "rope: positions", {
    at: positions,
    count: x.rows,
    limit: cos.rows,
  });
  memory.kernels.run("rope", memory.parts(x.rows * x.cols, GRAIN), {
    rows: x.rows,
    heads: x.cols / headDim,
    half: headDim / 2,
    x: place(memory, x),
    out: place(memory, out),
    positions: memory.address(positions),
    cos: place(memory, cos),
    sin: place(memory, sin),
    inverse: inverse ? 1 : 0,
  });
}

/** These operations, in a memory of the device. */
export const ropeOperations = {
  rope,
} satisfies MemoryOperations<WasmMemory>;
