/**
 * One step of training: gradients of a batch, or its loss alone.
 *
 * @module
 */

import { Tape } from "../autograd/tape.ts";
import type { DeviceBuffer } from "../device/device.ts";
import { mat, readF32 } from "../device/device.ts";
import type { Model } from "../models/model.ts";
import { lossOf, type RowLosses, type TaskBatch } from "./objective.ts";

/** Options of {@linkcode accumulateGradients}. */
export interface GradientOptions {
  /** Factor of the summed loss: 1 over what is predicted in the step. */
  readonly weight: number;
  /** Seed of dropout. */
  readonly seed: number;
  /** Whether blocks are computed again going backwards. */
  readonly checkpointing?: boolean;
  /** Where the summed loss of the batch goes, `f32`, at this element; not yet weighed. */
  readonly loss: { readonly buffer: DeviceBuffer; readonly at: number };
}

/**
 * Adds the gradients of a batch to the parameters that are trained. Nothing is read back.
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

/** Summed loss of a batch, and how many rows have one, without gradients. One readback. */
export async function batchLoss(
  model: Model,
  batch: TaskBatch,
): Promise<{ sum: number; count: number; losses: Float32Array }> {
  using tape = new Tape(model.device);
  const found = lossOf(tape, model, { batch, weight: 1 });
  if (!found) return { sum: 0, count: 0, losses: new Float32Array(0) };
  const { count } = found;
  const losses = await readF32(model.device, found.losses, 0, count);
  let sum = 0;
  for (const x of losses) sum += x;
  return { sum, count, losses };
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
