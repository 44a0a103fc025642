/**
 * One step of training a causal language model.
 *
 * @module
 */

import { headLoss } from "../autograd/loss.ts";
import { selectRows } from "../autograd/elementwise.ts";
import { Tape } from "../autograd/tape.ts";
import type { DeviceBuffer } from "../device/device.ts";
import { mat, readF32 } from "../device/device.ts";
import type { CausalModel, TokenBatch } from "../models/model.ts";

/** Sequences with the answers that count. */
export interface LabelledBatch extends TokenBatch {
  /** `batch * time`: the token itself where the model is to predict it, negative where not; as in transformers, position `t` is predicted from those before it. */
  readonly labels: ArrayLike<number>;
}

/** What a row of the head predicts: where there is something to predict. */
interface Targets {
  /** Rows of the hidden states. */
  readonly rows: Uint32Array;
  /** The token that follows each. */
  readonly labels: Int32Array;
}

/** The rows of a batch that have a token to predict, and that token. */
export function targetsOf({ labels, batch, time }: LabelledBatch): Targets {
  const rows: number[] = [];
  const next: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t + 1 < time; t++) {
      const label = labels[b * time + t + 1];
      if (label < 0) continue;
      rows.push(b * time + t);
      next.push(label);
    }
  }
  return { rows: Uint32Array.from(rows), labels: Int32Array.from(next) };
}

/** Options of {@linkcode accumulateGradients}. */
export interface GradientOptions {
  /** Factor of the summed loss: 1 over the number of predicted tokens of the step. */
  readonly weight: number;
  /** Seed of dropout. */
  readonly seed: number;
  /** Whether blocks are computed again going backwards. */
  readonly checkpointing?: boolean;
  /** Where the summed loss of the batch goes, `f32`, at this element; not yet weighed. */
  readonly loss: { readonly buffer: DeviceBuffer; readonly at: number };
}

/** Adds the gradients of a batch to the parameters that are trained. Nothing is read back. */
export function accumulateGradients(
  model: CausalModel,
  batch: LabelledBatch,
  { weight, seed, checkpointing, loss }: GradientOptions,
): void {
  const { device } = model;
  const { rows, labels } = targetsOf(batch);
  using tape = new Tape(device, { recording: true, seed });
  const hidden = model.forward(tape, batch, { checkpointing });
  const losses = tape.alloc(Math.max(1, rows.length) * 4);
  if (rows.length === 0) {
    device.write(loss.buffer, new Float32Array(1), loss.at * 4);
    return;
  }
  const picked = rows.length === batch.batch * batch.time
    ? hidden
    : selectRows(tape, hidden, {
      ids: tape.upload(rows),
      count: rows.length,
    });
  headLoss(tape, picked, { head: model.head, labels, losses, weight });
  sumInto(tape, { losses, count: rows.length, loss });
  tape.backward();
}

/** Summed loss and number of predicted tokens of a batch, without gradients. One readback. */
export async function batchLoss(
  model: CausalModel,
  batch: LabelledBatch,
): Promise<{ sum: number; count: number; losses: Float32Array }> {
  const { device } = model;
  const { rows, labels } = targetsOf(batch);
  if (rows.length === 0) {
    return { sum: 0, count: 0, losses: new Float32Array(0) };
  }
  using tape = new Tape(device);
  const hidden = model.forward(tape, batch);
  const losses = tape.alloc(rows.length * 4);
  const picked = selectRows(tape, hidden, {
    ids: tape.upload(rows),
    count: rows.length,
  });
  headLoss(tape, picked, { head: model.head, labels, losses, weight: 1 });
  const values = await readF32(device, losses, 0, rows.length);
  let sum = 0;
  for (const x of values) sum += x;
  return { sum, count: rows.length, losses: values };
}

function sumInto(
  tape: Tape,
  { losses, count, loss }: {
    losses: DeviceBuffer;
    count: number;
    loss: GradientOptions["loss"];
  },
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
