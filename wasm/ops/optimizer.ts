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
import { f32 } from "../runtime/loader.ts";
import { GRAIN, isEmpty, matWords, pieceWords } from "./words.ts";

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
  const mats = [param, grad, mean, square];
  memory.kernels.run("adamw", memory.parts(param.rows * param.cols, GRAIN), [
    ...pieceWords(mats),
    ...mats.flatMap((x) => matWords(memory, x)),
    scale ? memory.address(scale) : 0,
    f32(step.beta1),
    f32(1 - step.beta1),
    f32(step.beta2),
    f32(1 - step.beta2),
    f32(1 - step.learningRate * step.weightDecay),
    f32(step.learningRate / step.bias1),
    f32(1 / Math.sqrt(step.bias2)),
    f32(step.epsilon),
  ]);
}

/** These operations, in a memory of the device. */
export const optimizerOperations = {
  clipScale,
  adamw,
} satisfies MemoryOperations<WasmMemory>;
