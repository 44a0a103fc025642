/**
 * Gradient clipping and AdamW on the WASM device. The kernel: `wasm/assembly/elementwise/optimizer.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { WasmMemory } from "../buffers.ts";
import { GRAIN, isEmpty, pieces, place } from "../words.ts";

/** So few values that they are summed here. */
function clipScale(memory: WasmMemory, args: OperationArgs<"clipScale">): void {
  const { squares, count, most, out } = args;
  const values = memory.kernels.f32;
  const start = memory.address(squares) / 4;
  let sum = 0;
  for (let i = start; i < start + count; i++) sum += values[i];
  const norm = Math.sqrt(sum);
  values[memory.address(out) / 4] = Math.min(1, most / (norm + 1e-6));
  values[memory.address(out) / 4 + 1] = norm;
}

function adamw(memory: WasmMemory, args: OperationArgs<"adamw">): void {
  const { param, grad, mean, square, scale, step } = args;
  if (isEmpty(param)) return;
  const { beta1, beta2, learningRate, epsilon } = step;
  memory.kernels.run("adamw", memory.parts(param.rows * param.cols, GRAIN), {
    ...pieces([param, grad, mean, square]),
    param: place(memory, param),
    grad: place(memory, grad),
    mean: place(memory, mean),
    square: place(memory, square),
    scale: scale ? memory.address(scale) : 0,
    ...{ beta1, rest1: 1 - beta1, beta2, rest2: 1 - beta2 },
    keep: 1 - learningRate * step.weightDecay,
    rate: learningRate / step.bias1,
    root: 1 / Math.sqrt(step.bias2),
    epsilon,
  });
}

/** These operations, in a memory of the device. */
export const optimizerOperations = {
  clipScale,
  adamw,
} satisfies MemoryOperations<WasmMemory>;
