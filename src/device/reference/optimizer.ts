/**
 * Gradient clipping and AdamW on the reference device.
 *
 * @module
 */

import type { OptimizerOperations } from "../contract/optimizer.ts";
import type { OperationArgs } from "../operations.ts";
import { f32, load, store } from "./memory.ts";

function clipScale(args: OperationArgs<"clipScale">): void {
  let sum = 0;
  for (const x of f32(args.squares).subarray(0, args.count)) sum += x;
  const norm = Math.sqrt(sum);
  const out = f32(args.out);
  out[0] = Math.min(1, args.most / (norm + 1e-6));
  out[1] = norm;
}

function adamw(args: OperationArgs<"adamw">): void {
  const { step } = args;
  const scale = args.scale ? f32(args.scale)[0] : 1;
  const param = load(args.param);
  const mean = load(args.mean);
  const square = load(args.square);
  load(args.grad).forEach((grad, e) => {
    const g = grad * scale;
    mean[e] = step.beta1 * mean[e] + (1 - step.beta1) * g;
    square[e] = step.beta2 * square[e] + (1 - step.beta2) * g * g;
    param[e] = param[e] * (1 - step.learningRate * step.weightDecay) -
      step.learningRate / step.bias1 * mean[e] /
        (Math.sqrt(square[e]) / Math.sqrt(step.bias2) + step.epsilon);
  });
  store(args.param, param);
  store(args.mean, mean);
  store(args.square, square);
}

/** These operations on the reference device. */
export const optimizerOperations: OptimizerOperations = {
  clipScale,
  adamw,
};
