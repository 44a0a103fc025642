/**
 * Disentangled attention (He et al., 2006.03654): content-to-content, content-to-position and position-to-content scores.
 *
 * @module
 */

import { type DeviceBuffer, type Mat, mat } from "../device/buffer.ts";
import type { GemmBatch } from "../device/contract/gemm.ts";
import { moveOrFree } from "./elementwise.ts";
import { rowsOf } from "./loss.ts";
import type { Tape, Tensor } from "./tape.ts";

/** Inputs of {@linkcode relativeAttention}. */
export interface RelativeInputs {
  /** Queries, keys and values, `[batch * time, heads * headDim]`. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** Keys of the relative positions, `[positions, heads * headDim]`: content-to-position attention. */
  readonly posKey?: Tensor;
  /** Queries of the relative positions: position-to-content attention. */
  readonly posQuery?: Tensor;
}

/** Shape and mask of a disentangled attention. */
export interface RelativeAttentionShape {
  readonly batch: number;
  readonly time: number;
  readonly heads: number;
  readonly headDim: number;
  /** Attention scale: factor of all terms of the scores. */
  readonly scale: number;
  /** `u32 [2 time - 1]`: the row of the relative positions for `i - j`, at `i - j + time - 1`. */
  readonly index: DeviceBuffer;
  /** Attention mask `u32 [batch, 2]`: keys `[from, to)` that are no padding; all without it. */
  readonly bounds?: DeviceBuffer;
}

/**
 * `out = softmax(scale * (q kᵀ + (q posKeyᵀ)[i, p] + (k posQueryᵀ)[j, p])) v`, `p = index[i - j]`, for each sequence and
 * head; `out[batch * time, heads * headDim]`.
 *
 * The scores of all heads are saved for the backward pass: encoders' sequences are short.
 */
export function relativeAttention(
  tape: Tape,
  inputs: RelativeInputs,
  shape: RelativeAttentionShape,
): Tensor {
  const { ops } = tape.device;
  const { q, k, v, posKey, posQuery } = inputs;
  const { batch, time, heads, headDim, scale, index, bounds } = shape;
  const rows = batch * heads * time;
  const positions = (posKey ?? posQuery)?.value.rows ?? 0;
  const heading = headsOf(shape);
  const relative = { time, index, alpha: scale };
  const out = tape.output(q.value.rows, q.value.cols, [
    ...[q, k, v, posKey, posQuery],
  ]);
  const weights = tape.matrix(rows, time);
  /** `x posᵀ` of every head, for one of the terms. */
  const term = (x: Tensor, pos: Tensor | undefined): Mat | undefined => {
    if (!pos) return undefined;
    const made = tape.matrix(rows, positions);
    for (let b = 0; b < batch; b++) {
      ops.gemm({
        a: heading.tokens(x.value, b),
        b: heading.first(pos.value),
        c: heading.own(made, b),
        transB: true,
        batch: heading.batch(headDim, headDim, time * positions),
      });
    }
    return made;
  };
  for (let b = 0; b < batch; b++) {
    ops.gemm({
      a: heading.tokens(q.value, b),
      b: heading.tokens(k.value, b),
      c: heading.own(weights, b),
      transB: true,
      alpha: scale,
      batch: heading.batch(headDim, headDim, time * time),
    });
  }
  const c2p = term(q, posKey);
  const p2c = term(k, posQuery);
  ops.relativeScores({ scores: weights, c2p, p2c, shape: relative });
  for (const made of [c2p, p2c]) if (made) tape.free(made.buffer);
  const softmax = { rows: heads * time, bounds };
  ops.maskedSoftmax({ x: weights, out: weights, ...softmax });
  for (let b = 0; b < batch; b++) {
    ops.gemm({
      a: heading.own(weights, b),
      b: heading.tokens(v.value, b),
      c: heading.tokens(out.value, b),
      batch: heading.batch(time * time, headDim, headDim),
    });
  }
  tape.record(
    out,
    (dy) => backward(tape, dy, { inputs, shape, weights }),
    { saved: [weights.buffer] },
  );
  return out;
}

function backward(
  tape: Tape,
  dy: Mat,
  { inputs, shape, weights }: {
    inputs: RelativeInputs;
    shape: RelativeAttentionShape;
    weights: Mat;
  },
): void {
  const { ops } = tape.device;
  const { q, k, v, posKey, posQuery } = inputs;
  const { batch, time, headDim, scale, index } = shape;
  const heading = headsOf(shape);
  const like = ({ value }: Tensor): Mat => tape.matrix(value.rows, value.cols);
  const [dq, dk, dv] = [like(q), like(k), like(v)];
  const scores = tape.matrix(weights.rows, time);
  const square = time * time;
  for (let b = 0; b < batch; b++) {
    ops.gemm({
      a: heading.own(weights, b),
      b: heading.tokens(dy, b),
      c: heading.tokens(dv, b),
      transA: true,
      batch: heading.batch(square, headDim, headDim),
    });
    ops.gemm({
      a: heading.tokens(dy, b),
      b: heading.tokens(v.value, b),
      c: heading.own(scores, b),
      transB: true,
      batch: heading.batch(headDim, headDim, square),
    });
  }
  ops.maskedSoftmaxBackward({ dy: scores, y: weights, dx: scores });
  for (let b = 0; b < batch; b++) {
    for (const [x, dx, transA] of [[k, dq, false], [q, dk, true]] as const) {
      ops.gemm({
        a: heading.own(scores, b),
        b: heading.tokens(x.value, b),
        c: heading.tokens(dx, b),
        transA,
        alpha: scale,
        batch: heading.batch(square, headDim, headDim),
      });
    }
  }
  const term = (pos: Tensor | undefined) =>
    pos && tape.matrix(weights.rows, pos.value.rows);
  const dc2p = term(posKey);
  const dp2c = term(posQuery);
  ops.relativeScoresBackward({
    ...{ dscores: scores, dc2p, dp2c },
    shape: { time, index, alpha: scale },
  });
  for (
    const { made, pos, x, dx } of [
      { made: dc2p, pos: posKey, x: q, dx: dq },
      { made: dp2c, pos: posQuery, x: k, dx: dk },
    ]
  ) {
    if (!made || !pos) continue;
    const size = time * made.cols;
    for (let b = 0; b < batch; b++) {
      const c = heading.tokens(dx, b);
      ops.gemm({
        ...{ a: heading.own(made, b), b: heading.first(pos.value), c },
        ...{ beta: 1, add: c },
        batch: heading.batch(size, headDim, headDim),
      });
    }
    tape.accumulate(pos, (into, plus) => {
      for (let b = 0; b < batch; b++) {
        const c = heading.first(into);
        ops.gemm({
          ...{ a: heading.own(made, b), b: heading.tokens(x.value, b), c },
          transA: true,
          ...((plus || b > 0) && { beta: 1, add: c }),
          batch: heading.batch(size, headDim, headDim),
        });
      }
    });
    tape.free(made.buffer);
  }
  tape.free(scores.buffer);
  moveOrFree(tape, q, dq);
  moveOrFree(tape, k, dk);
  moveOrFree(tape, v, dv);
}

/** Offsets of a sequence's heads in matrices of tokens, of positions, and in matrices with rows of their own. */
function headsOf({ heads, time, headDim }: RelativeAttentionShape) {
  return {
    /** The first head of the tokens of sequence `b`. */
    tokens: (x: Mat, b: number): Mat => ({
      ...rowsOf(x, b * time, time),
      cols: headDim,
    }),
    /** The first head of a matrix of positions. */
    first: (x: Mat): Mat => mat(x.buffer, x.rows, headDim, x.offset, x.stride),
    /** The rows of the first head of sequence `b` in a matrix with rows for each head. */
    own: (x: Mat, b: number): Mat => rowsOf(x, b * heads * time, time),
    /** One product a head. */
    batch: (a: number, b: number, c: number): GemmBatch => ({
      count: heads,
      a,
      b,
      c,
    }),
  };
}
