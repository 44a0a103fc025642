/**
 * Losses: cross-entropy of a causal LM fused with its head, of classes, of spans, and squared error.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import type { LinearWeight } from "./linear_weight.ts";
import { accumulateParameter, type Tape, type Tensor } from "./tape.ts";

/** Chunk of logits in bytes. */
const LOGIT_BYTES = 16 * 2 ** 20;

/** Rows of logits that are computed at a time, for a vocabulary of `words`. */
export function lossRows(words: number): number {
  return Math.max(1, Math.floor(LOGIT_BYTES / (4 * words)));
}

/**
 * Cross-entropy of `hidden[m, n] Wᵀ` against `labels: i32 [m]` (negative: left out), each row's into `losses: f32 [m]`.
 *
 * The loss of the step is `weight` times their sum. The gradient is found on the way, chunk by chunk of rows: neither all
 * logits nor a second copy of them are ever held. Backward: hands it to `hidden`.
 */
export function headLoss(
  tape: Tape,
  hidden: Tensor,
  { head, bias, labels, losses, weight, chunk = lossRows(head.rows) }: {
    head: LinearWeight;
    /** `[1, words]`, added to the logits. */
    bias?: Mat;
    labels: Int32Array;
    losses: DeviceBuffer;
    weight: number;
    /** Rows of logits at a time. */
    chunk?: number;
  },
): void {
  const { device } = tape;
  const { ops } = device;
  const { rows, cols } = hidden.value;
  const wants = hidden.needsGradient || head.parameter !== undefined;
  const most = Math.min(rows, chunk);
  const logits = tape.matrix(most, head.rows);
  const part = tape.alloc(most * 4);
  let gradient: Mat | undefined;
  if (hidden.needsGradient) gradient = tape.matrix(rows, cols);
  for (let from = 0; from < rows; from += most) {
    const count = Math.min(most, rows - from);
    const x = rowsOf(hidden.value, from, count);
    const y = mat(logits.buffer, count, head.rows);
    const answers = tape.upload(labels.subarray(from, from + count));
    head.forward(device, x, { y });
    if (bias) {
      // Every row begins where the first does.
      ops.combine({ x: y, y: { ...bias, rows: count, stride: 0 }, out: y });
    }
    ops.crossEntropy({
      logits: y,
      labels: answers,
      losses: part,
      gradient: wants && tape.recording ? weight : undefined,
    });
    ops.combine({
      x: mat(part, 1, count),
      out: mat(losses, 1, count, from),
    });
    if (gradient) {
      head.backward(device, y, { dx: rowsOf(gradient, from, count) });
    }
    if (head.parameter && tape.recording) {
      accumulateParameter(
        head.parameter,
        (c, add) =>
          ops.gemm({
            a: y,
            b: x,
            c,
            transA: true,
            ...(add && { beta: 1, add }),
          }),
      );
    }
    tape.free(answers);
  }
  tape.free(logits.buffer, part);
  if (gradient) tape.moveGradient(hidden, gradient);
}

/**
 * Cross-entropy of each row of `logits[m, n]` against `labels: i32 [m]` (negative: left out), into `losses: f32 [m]`.
 *
 * The loss of the step is `weight` times their sum; its gradient is handed to `logits`.
 */
export function crossEntropy(
  tape: Tape,
  logits: Tensor,
  { labels, losses, weight }: {
    labels: Int32Array;
    losses: DeviceBuffer;
    weight: number;
  },
): void {
  const { ops } = tape.device;
  const { rows, cols } = logits.value;
  const gradient = tape.matrix(rows, cols);
  const answers = tape.upload(labels);
  ops.combine({ x: logits.value, out: gradient });
  ops.crossEntropy({
    logits: gradient,
    labels: answers,
    losses,
    gradient: logits.needsGradient ? weight : undefined,
  });
  if (logits.needsGradient) tape.moveGradient(logits, gradient);
  else tape.free(gradient.buffer);
  tape.free(answers);
}

/**
 * The mean of two cross-entropies of each sequence, over its positions: `scores[2, batch * time]` against the first and the
 * last position of an answer, into `losses: f32 [batch]`.
 *
 * The loss of the step is `weight` times their sum; its gradient is handed to `scores`.
 */
export function spanLoss(
  tape: Tape,
  scores: Tensor,
  { starts, ends, losses, weight }: {
    starts: Int32Array;
    ends: Int32Array;
    losses: DeviceBuffer;
    weight: number;
  },
): void {
  const { ops } = tape.device;
  const { rows, cols } = scores.value;
  const batch = starts.length;
  const gradient = tape.matrix(rows, cols);
  ops.combine({ x: scores.value, out: gradient });
  const parts = [starts, ends].map((labels, i) => {
    const answers = tape.upload(labels);
    const part = tape.alloc(batch * 4);
    ops.crossEntropy({
      logits: mat(gradient.buffer, batch, cols / batch, i * cols),
      labels: answers,
      losses: part,
      gradient: scores.needsGradient ? weight / 2 : undefined,
    });
    tape.free(answers);
    return mat(part, 1, batch);
  });
  const [x, y] = parts;
  ops.combine({ x, y, out: mat(losses, 1, batch), alpha: 0.5, beta: 0.5 });
  tape.free(x.buffer, y.buffer);
  if (scores.needsGradient) tape.moveGradient(scores, gradient);
  else tape.free(gradient.buffer);
}

/**
 * `losses[i] = (values[i] - targets[i])²` of a column `values[m, 1]`.
 *
 * The loss of the step is `weight` times their sum; its gradient is handed to `values`.
 */
export function squaredError(
  tape: Tape,
  values: Tensor,
  { targets, losses, weight }: {
    targets: Float32Array;
    losses: DeviceBuffer;
    weight: number;
  },
): void {
  const { ops } = tape.device;
  const { rows } = values.value;
  const wanted = mat(tape.upload(targets), rows, 1);
  const off = tape.matrix(rows, 1);
  ops.combine({ x: values.value, y: wanted, out: off, beta: -1 });
  ops.rowSquares({ x: off, out: losses });
  tape.free(wanted.buffer);
  if (!values.needsGradient) {
    tape.free(off.buffer);
    return;
  }
  ops.combine({ x: off, out: off, alpha: 2 * weight });
  tape.moveGradient(values, off);
}

/** Rows `[from, from + count)` of a matrix. */
export function rowsOf(x: Mat, from: number, count: number): Mat {
  return mat(x.buffer, count, x.cols, x.offset + from * x.stride, x.stride);
}
