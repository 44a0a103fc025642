/**
 * Gradient clipping and the optimiser's step: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";
import {
  type CallArgs,
  type Checks,
  wantBytes,
  wantSame,
  wantWhole,
} from "./want.ts";

/** Constants of one AdamW step, the `t`-th (from 1). */
export interface AdamwStep {
  /** Step size `lr` at this step. */
  readonly learningRate: number;
  /** Decay of the mean. */
  readonly beta1: number;
  /** Decay of the mean square. */
  readonly beta2: number;
  /** Added to the root of the mean square. */
  readonly epsilon: number;
  /** Decay of the parameter, `lr * weightDecay` a step. */
  readonly weightDecay: number;
  /** `1 - beta1^t`. */
  readonly bias1: number;
  /** `1 - beta2^t`. */
  readonly bias2: number;
}

/** Gradient clipping and the optimiser's step. */
export interface OptimizerOperations {
  /**
   * `out[0] = min(1, most / (norm + 1e-6))`, `out[1] = norm = sqrt(Σ squares)`, with `squares: f32 [count]`, `out: f32 [2]`:
   * the factor of gradient clipping, without a readback. `most > 0`.
   */
  clipScale(
    args: {
      squares: DeviceBuffer;
      count: number;
      most: number;
      out: DeviceBuffer;
    },
  ): void;

  /**
   * One step of AdamW on `param[m, n]` (Loshchilov and Hutter, 1711.05101), as PyTorch defines it: `param *= 1 - lr * decay`,
   * `g = grad * scale[0]` (where given), `mean = beta1 * mean + (1 - beta1) * g`, `square = beta2 * square + (1 - beta2) * g²`,
   * `param -= lr / bias1 * mean / (sqrt(square) / sqrt(bias2) + epsilon)`.
   */
  adamw(
    args: {
      param: Mat;
      grad: Mat;
      mean: Mat;
      square: Mat;
      scale?: DeviceBuffer;
      step: AdamwStep;
    },
  ): void;
}

type Args<K extends keyof OptimizerOperations> = CallArgs<
  OptimizerOperations,
  K
>;

/** Checks the factor of a clipping. */
export function checkClipScale(
  { squares, count, most, out }: Args<"clipScale">,
): void {
  wantWhole("clipScale: count", count);
  wantBytes("clipScale: squares", squares, count * 4);
  wantBytes("clipScale: out", out, 8);
  if (!(most > 0)) {
    throw new ValueError(
      `Cannot run clipScale: most must be above 0, got ${most}`,
    );
  }
}

/** Checks a step of the optimiser. */
export function checkAdamw(
  { param, grad, mean, square, scale }: Args<"adamw">,
): void {
  wantSame("adamw", param, { grad, mean, square });
  if (scale) wantBytes("adamw: scale", scale, 4);
}

/** The check of each. */
export const optimizerChecks: Checks<OptimizerOperations> = {
  clipScale: checkClipScale,
  adamw: checkAdamw,
};
