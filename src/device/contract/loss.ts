/**
 * The loss: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "../buffer.ts";
import { type CallArgs, type Checks, wantBytes } from "./want.ts";

/** The loss. */
export interface LossOperations {
  /**
   * `losses[i] = logSumExp(logits[i, :]) - logits[i, labels[i]]`, `losses: f32 [m]`, `labels: i32 [m]`; a negative label is
   * left out: its loss is 0. With `gradient`, the logits are overwritten by `gradient * (softmax - onehot)`, zeros
   * in rows that are left out.
   */
  crossEntropy(
    args: {
      logits: Mat;
      labels: DeviceBuffer;
      losses: DeviceBuffer;
      gradient?: number;
    },
  ): void;
}

type Args<K extends keyof LossOperations> = CallArgs<LossOperations, K>;

/** Checks a loss. */
export function checkCrossEntropy(
  { logits, labels, losses }: Args<"crossEntropy">,
): void {
  wantBytes("crossEntropy: labels", labels, logits.rows * 4);
  wantBytes("crossEntropy: losses", losses, logits.rows * 4);
}

/** The check of each. */
export const lossChecks: Checks<LossOperations> = {
  crossEntropy: checkCrossEntropy,
};
