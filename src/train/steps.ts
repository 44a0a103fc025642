/**
 * Numbers of steps, batches and epochs of a training.
 *
 * @module
 */

import { ValueError } from "../errors.ts";

/** Inputs of {@linkcode planSteps}. */
export interface StepOptions {
  /** Examples of an epoch. */
  readonly examples: number;
  /** Examples of a batch. */
  readonly batch: number;
  /** Gradient accumulation steps: batches of a step (1). */
  readonly accumulation?: number;
  /** Steps in all; one of `steps` and `epochs` is given. */
  readonly steps?: number;
  /** Epochs in all, a fraction if need be. */
  readonly epochs?: number;
}

/** Result of {@linkcode planSteps}. */
export interface StepPlan {
  /** Number of optimizer steps. */
  readonly steps: number;
  /** Optimizer steps of an epoch. */
  readonly stepsPerEpoch: number;
  /** Batches of an epoch, the last one short where it does not come out even. */
  readonly batchesPerEpoch: number;
  /** Epochs that the steps take, the last one perhaps in part. */
  readonly epochs: number;
}

/**
 * Counts as transformers' Trainer does: an epoch's last batch may be short and its last step may have fewer
 * batches, so `stepsPerEpoch = ceil(ceil(examples / batch) / accumulation)`; a fraction of an epoch is rounded up to
 * whole steps.
 *
 * @throws {RangeError} If a number is out of range, or not just one of `steps` and `epochs` is given.
 */
export function planSteps(
  { examples, batch, accumulation = 1, steps, epochs }: StepOptions,
): StepPlan {
  const whole = { examples, batch, accumulation, steps: steps ?? 1 };
  for (const [what, n] of Object.entries(whole)) {
    if (Number.isSafeInteger(n) && n >= 1) continue;
    throw new ValueError(
      `Cannot plan steps: wanted ${what} a whole number from 1 on, got ${n}`,
    );
  }
  if ((steps === undefined) === (epochs === undefined)) {
    throw new ValueError(
      `Cannot plan steps: wanted one of steps and epochs, got ${
        steps === undefined ? "neither" : "both"
      }`,
    );
  }
  if (epochs !== undefined && !(epochs > 0 && Number.isFinite(epochs))) {
    throw new ValueError(`Cannot plan steps: wanted epochs > 0, got ${epochs}`);
  }
  const batchesPerEpoch = Math.ceil(examples / batch);
  const stepsPerEpoch = Math.ceil(batchesPerEpoch / accumulation);
  const all = steps ?? Math.ceil(epochs! * stepsPerEpoch);
  return {
    steps: all,
    stepsPerEpoch,
    batchesPerEpoch,
    epochs: Math.ceil(all / stepsPerEpoch),
  };
}
