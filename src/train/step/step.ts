/**
 * One step of training: gradients of a batch, or its loss alone.
 *
 * @module
 */

import { Tape } from "../../autograd/tape.ts";
import type { DeviceBuffer } from "../../device/buffer.ts";
import { mat } from "../../device/buffer.ts";
import { readF32 } from "../../device/device.ts";
import type { Model } from "../../models/model.ts";
import { lossOf, type RowLosses, type TaskBatch } from "./objective.ts";

/** Options of {@linkcode accumulateGradients}. */
export interface GradientOptions {
  /** Factor of the summed loss: 1 over the number of predictions in the step. */
  readonly weight: number;
  /** Seed of dropout. */
  readonly seed: number;
  /** Activation (gradient) checkpointing: recompute blocks in the backward pass. */
  readonly checkpointing?: boolean;
  /** Output: summed loss of the batch, `f32`, at this element; not yet weighted. */
  readonly loss: { readonly buffer: DeviceBuffer; readonly at: number };
}

/**
 * Adds the gradients of a batch to the trainable parameters. Nothing is read back.
 *
 * @throws {TypeError} If the batch is of another kind than the model.
 */
export function accumulateGradients(
  model: Model,
  batch: TaskBatch,
  { weight, seed, checkpointing, loss }: GradientOptions,
): void {
  const { device } = model;
  using tape = new Tape(device, { recording: true, seed });
  const found = lossOf(tape, model, { batch, weight, checkpointing });
  if (!found) {
    device.write(loss.buffer, new Float32Array(1), loss.at * 4);
    return;
  }
  sumInto(tape, found, loss);
  tape.backward();
}

/** Loss and accuracy of a batch. */
export interface BatchLoss {
  readonly sum: number;
  /** Rows that have a loss. */
  readonly count: number;
  /** The loss of each. */
  readonly losses: Float32Array;
  /** Rows whose class has the highest logit, where there are classes. */
  readonly right?: number;
}

/** Summed loss of a batch, and the number of rows with one, without gradients. One wait. */
export async function batchLoss(
  model: Model,
  batch: TaskBatch,
): Promise<BatchLoss> {
  using tape = new Tape(model.device);
  const found = lossOf(tape, model, { batch, weight: 1 });
  if (!found) return { sum: 0, count: 0, losses: new Float32Array(0) };
  const { count, scores } = found;
  const [losses, values] = await Promise.all([
    readF32(model.device, found.losses, 0, count),
    scores && readF32(
      model.device,
      scores.buffer,
      scores.offset,
      scores.rows * scores.cols,
    ),
  ]);
  let sum = 0;
  for (const x of losses) sum += x;
  return {
    ...{ sum, count, losses },
    ...(values && "kind" in batch && batch.kind === "class" &&
      { right: rightOf(values, batch.answers) }),
  };
}

/** Number of correct predictions: rows whose highest logit is the label's. */
function rightOf(scores: Float32Array, answers: Float32Array): number {
  const classes = scores.length / answers.length;
  let right = 0;
  for (const [row, answer] of answers.entries()) {
    const own = scores.subarray(row * classes, (row + 1) * classes);
    if (own.indexOf(Math.max(...own)) === answer) right++;
  }
  return right;
}

function sumInto(
  tape: Tape,
  { losses, count }: RowLosses,
  loss: GradientOptions["loss"],
): void {
  const { ops } = tape.device;
  const sum = tape.alloc(4);
  ops.columnSums({ x: mat(losses, count, 1), out: sum });
  ops.combine({
    x: mat(sum, 1, 1),
    out: mat(loss.buffer, 1, 1, loss.at),
  });
  tape.free(sum);
}
