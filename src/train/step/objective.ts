/**
 * Training objective of each kind of model, as a loss on a tape.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { selectRows } from "../../autograd/elementwise.ts";
import {
  crossEntropy,
  headLoss,
  spanLoss,
  squaredError,
} from "../../autograd/loss.ts";
import type { LinearWeight } from "../../autograd/linear_weight.ts";
import type { Tape, Tensor } from "../../autograd/tape.ts";
import type { DeviceBuffer, Mat } from "../../device/buffer.ts";
import type {
  CausalModel,
  EncoderModel,
  Model,
  Seq2SeqModel,
  TokenBatch,
} from "../../models/model.ts";
import { rightBounds } from "../../models/parts/token_input.ts";
import {
  type AnyBatch,
  type Batch,
  type ClassBatch,
  lossCount,
  type PairBatch,
  type SpanBatch,
  type TokenRows,
} from "../../data/example.ts";

/** Sequences with the answers that count. */
export interface LabelledBatch extends TokenBatch {
  /** `batch * time`: the token itself where the model is to predict it, negative where not; as in transformers, position `t` is predicted from those before it. */
  readonly labels: ArrayLike<number>;
}

/** A batch as a model takes it. */
export type TaskBatch = LabelledBatch | ClassBatch | SpanBatch | PairBatch;

/** Losses of the rows of a batch that have an answer. */
export interface RowLosses {
  /** `f32 [count]`. */
  readonly losses: DeviceBuffer;
  readonly count: number;
  /** Class logits of each row, where there are classes. */
  readonly scores?: Mat;
}

/** Rows as a model's input: lengths are given only where there is padding. */
function tokensOf(
  { rows, cols, tokens, lengths }: TokenRows,
  typeIds?: ArrayLike<number>,
): TokenBatch {
  return {
    ids: tokens,
    batch: rows,
    time: cols,
    bounds: rightBounds(lengths, cols),
    ...(typeIds && { typeIds }),
  };
}

/** A batch as a causal LM takes it. */
export function labelled(batch: Batch): LabelledBatch {
  return { ...tokensOf(batch), labels: batch.labels };
}

/** A batch as its model takes it. */
export function taskBatch(batch: AnyBatch): TaskBatch {
  switch (batch.kind) {
    case "class":
    case "span":
    case "pair":
      return batch;
    default:
      return labelled(batch);
  }
}

/** Divisor of the summed loss of a batch: predicted tokens, or sequences. */
export function predicted(batch: AnyBatch): number {
  switch (batch.kind) {
    case "class":
    case "span":
      return batch.rows;
    case "pair":
      return batch.labels.reduce((n, label) => label < 0 ? n : n + 1, 0);
    default: {
      const { rows, cols, labels } = batch;
      let count = 0;
      for (let row = 0; row < rows; row++) {
        count += lossCount(labels.subarray(row * cols, (row + 1) * cols));
      }
      return count;
    }
  }
}

/** Rows of hidden states that have a token to predict, and its label. */
interface Targets {
  /** Rows of the hidden states. */
  readonly rows: Uint32Array;
  /** Label (next token id) of each. */
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

/** Options of {@linkcode lossOf}. */
export interface ObjectiveOptions {
  /** Factor of the summed losses in the loss of the step. */
  readonly weight: number;
  /** Activation (gradient) checkpointing: recompute blocks in the backward pass. */
  readonly checkpointing?: boolean;
}

/**
 * Runs a model on a batch; the gradient of `weight` times the summed losses is found on the way where the tape records.
 * Undefined where no row has an answer.
 *
 * @throws {TypeError} If the batch is of another kind than the model.
 */
export function lossOf(
  tape: Tape,
  model: Model,
  { batch, ...options }: ObjectiveOptions & { batch: TaskBatch },
): RowLosses | undefined {
  const kind = "kind" in batch ? batch.kind : "tokens";
  if (model.kind === "causal" && !("kind" in batch)) {
    return tokenLosses(tape, model, { batch, ...options });
  }
  if (model.kind === "encoder" && "kind" in batch) {
    if (batch.kind === "class") {
      return classLosses(tape, model, { batch, ...options });
    }
    if (batch.kind === "span") {
      return spanLosses(tape, model, { batch, ...options });
    }
  }
  if (
    model.kind === "seq2seq" && "kind" in batch && batch.kind === "pair"
  ) {
    return pairLosses(tape, model, { batch, ...options });
  }
  throw new KindError(
    `Cannot train: the examples are of the kind "${kind}", the model is of the kind "${model.kind}"`,
  );
}

function tokenLosses(
  tape: Tape,
  model: CausalModel,
  { batch, weight, checkpointing }: ObjectiveOptions & { batch: LabelledBatch },
): RowLosses | undefined {
  const targets = targetsOf(batch);
  if (targets.rows.length === 0) return undefined;
  const hidden = model.forward(tape, batch, { checkpointing });
  return headLosses(tape, hidden, { head: model.head, targets, weight });
}

/** Losses of the rows of `hidden` that have a token to predict. */
function headLosses(
  tape: Tape,
  hidden: Tensor,
  { targets: { rows, labels }, ...how }: {
    head: LinearWeight;
    bias?: Mat;
    targets: Targets;
    weight: number;
  },
): RowLosses {
  const count = rows.length;
  const losses = tape.alloc(count * 4);
  const picked = count === hidden.value.rows
    ? hidden
    : selectRows(tape, hidden, { ids: tape.upload(rows), count });
  headLoss(tape, picked, { ...how, labels, losses });
  return { losses, count };
}

function classLosses(
  tape: Tape,
  model: EncoderModel,
  { batch, weight, checkpointing }: ObjectiveOptions & { batch: ClassBatch },
): RowLosses {
  const tokens = tokensOf(batch, batch.typeIds);
  const scores = model.logits(tape, tokens, { checkpointing });
  const losses = tape.alloc(batch.rows * 4);
  if (scores.value.cols === 1) {
    squaredError(tape, scores, { targets: batch.answers, losses, weight });
    return { losses, count: batch.rows };
  }
  const labels = Int32Array.from(batch.answers);
  crossEntropy(tape, scores, { labels, losses, weight });
  return { losses, count: batch.rows, scores: scores.value };
}

function spanLosses(
  tape: Tape,
  model: EncoderModel,
  { batch, weight, checkpointing }: ObjectiveOptions & { batch: SpanBatch },
): RowLosses {
  const tokens = tokensOf(batch, batch.typeIds);
  const scores = model.logits(tape, tokens, { checkpointing });
  const losses = tape.alloc(batch.rows * 4);
  const { starts, ends } = batch;
  spanLoss(tape, scores, { starts, ends, losses, weight });
  return { losses, count: batch.rows };
}

function pairLosses(
  tape: Tape,
  model: Seq2SeqModel,
  { batch, weight, checkpointing }: ObjectiveOptions & { batch: PairBatch },
): RowLosses | undefined {
  const source = tokensOf(batch.source);
  const target = tokensOf(batch.target);
  const rows: number[] = [];
  batch.labels.forEach((label, i) => {
    if (label >= 0) rows.push(i);
  });
  if (rows.length === 0) return undefined;
  const encoded = model.encode(tape, source, { checkpointing });
  const hidden = model.decode(tape, target, { encoded, source, checkpointing });
  return headLosses(tape, hidden, {
    head: model.head,
    bias: model.headBias?.value,
    targets: {
      rows: Uint32Array.from(rows),
      labels: Int32Array.from(rows, (i) => batch.labels[i]),
    },
    weight,
  });
}
