/**
 * Rotary positions, attention, and the parts of DeBERTa's: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";
import {
  type CallArgs,
  type Checks,
  want,
  wantBytes,
  wantSame,
  wantWhole,
} from "./want.ts";

/** Shape and mask of an attention; see {@linkcode AttentionOperations.attention}. */
export interface AttentionShape {
  /** Sequences. */
  readonly batch: number;
  /** Queries of each sequence. */
  readonly time: number;
  /** Keys of each sequence that are looked at. */
  readonly keys: number;
  /** Rows of `k` and `v` from the start of a sequence to that of the next, at least `keys`. */
  readonly capacity: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads, a divisor of `heads`: query head `h` reads head `floor(h * kvHeads / heads)`. */
  readonly kvHeads: number;
  /** Features of a head. */
  readonly headDim: number;
  /** Factor of the scores, usually `1 / sqrt(headDim)`. */
  readonly scale: number;
  /** True if query `i` sees keys `j <= past + i` only. */
  readonly causal: boolean;
  /** Keys before the first query (a cache); 0 without. */
  readonly past: number;
  /** Where not 0: query `i` sees keys `j > past + i - window` only (Mistral's sliding window). */
  readonly window: number;
  /**
   * Where given: `u32 [batch, 2]`, the keys `[from, to)` of each sequence that are no padding, `to` at most `capacity`.
   * Keys outside are masked; a query that sees none has an output of zeros. Rows of `k` and `v` outside the bounds or from
   * `keys` on enter nothing, not even a NaN.
   */
  readonly bounds?: DeviceBuffer;
}

/** Shape and place of the two relative terms of DeBERTa's scores; see {@linkcode AttentionOperations.relativeScores}. */
export interface RelativeShape {
  /** Tokens of a sequence. */
  readonly time: number;
  /** `u32 [2 time - 1]`: the relative position of `i - j`, at `i - j + time - 1`. It never falls. */
  readonly index: DeviceBuffer;
  /** Factor of both terms. */
  readonly alpha: number;
}

/** Rotary positions, attention, and the parts of DeBERTa's. */
export interface AttentionOperations {
  /**
   * Rotates each head of `x[m, heads * headDim]`: features `c` and `c + headDim / 2` are a pair, turned by the angle whose
   * cosine and sine are row `positions[i]` of the tables `cos, sin: f32 [rows, headDim / 2]`; `positions: u32 [m]`.
   * `inverse` turns back, which is the backward. `out` may be `x`. (Su et al., 2104.09864, in the order of the
   * Hugging Face checkpoints.)
   */
  rope(
    args: {
      x: Mat;
      out: Mat;
      positions: DeviceBuffer;
      cos: Mat;
      sin: Mat;
      headDim: number;
      inverse?: boolean;
    },
  ): void;

  /**
   * Softmax attention of each sequence and head: `q[B * time, heads * headDim]`, `k, v[B * capacity, kvHeads * headDim]`,
   * `out` as `q`. `logSumExp: f32 [B, heads, time]`, where given, is an output for the backward (-infinity where a query
   * sees no key). No matrix of scores is stored (Dao et al., 2205.14135).
   */
  attention(
    args: {
      q: Mat;
      k: Mat;
      v: Mat;
      out: Mat;
      shape: AttentionShape;
      logSumExp?: DeviceBuffer;
    },
  ): void;

  /** Gradients of {@linkcode attention}, all three written anew. `past` is 0. Rows of `dk`, `dv` that no query sees become zero. */
  attentionBackward(
    args: {
      dy: Mat;
      q: Mat;
      k: Mat;
      v: Mat;
      out: Mat;
      logSumExp: DeviceBuffer;
      shape: AttentionShape;
      dq: Mat;
      dk: Mat;
      dv: Mat;
    },
  ): void;

  /**
   * DeBERTa's content-to-position and position-to-content terms (He et al., 2006.03654, equation 4): for each of
   * `scores.rows / time` heads of sequences `r`, `scores[r time + i, j] += alpha * (c2p[r time + i, p] + p2c[r time + j, p])`
   * with `p = index[i - j + time - 1]`, which is below `c2p.cols`; `scores[_, time]`, `c2p` and `p2c` have its rows.
   * A term that is not given is left out.
   */
  relativeScores(
    args: { scores: Mat; c2p?: Mat; p2c?: Mat; shape: RelativeShape },
  ): void;

  /** Gradients of {@linkcode relativeScores}, those asked for, written anew; that of the scores is `dscores` itself. */
  relativeScoresBackward(
    args: { dscores: Mat; dc2p?: Mat; dp2c?: Mat; shape: RelativeShape },
  ): void;

  /**
   * `out[i, :] = softmax(x[i, :])` over the columns `[from, to)` of the row's sequence, 0 elsewhere; each sequence has
   * `rows` rows. `bounds: u32 [x.rows / rows, 2]`, `to` at most `n`; all columns without it. Where `from = to`, the row
   * is zeros. Values of `x` outside the bounds enter nothing. `out` may be `x`.
   */
  maskedSoftmax(
    args: { x: Mat; out: Mat; rows: number; bounds?: DeviceBuffer },
  ): void;

  /** `dx[i, :] = y * (dy - Σ_j dy * y)`, where `y` came out of {@linkcode maskedSoftmax}. `dx` may be `dy`. */
  maskedSoftmaxBackward(args: { dy: Mat; y: Mat; dx: Mat }): void;
}

type Args<K extends keyof AttentionOperations> = CallArgs<
  AttentionOperations,
  K
>;

function wantAttention(
  op: string,
  shape: AttentionShape,
  mats: { queries: Record<string, Mat>; keys: Record<string, Mat> },
): void {
  const { batch, time, keys, capacity, heads, kvHeads, headDim } = shape;
  for (const [name, size] of Object.entries({ batch, time, keys, capacity })) {
    wantWhole(`${op}: ${name}`, size);
  }
  for (const [name, size] of Object.entries({ heads, kvHeads, headDim })) {
    wantWhole(`${op}: ${name}`, size, { low: 1 });
  }
  wantWhole(`${op}: past`, shape.past);
  wantWhole(`${op}: window`, shape.window);
  if (heads % kvHeads !== 0) {
    throw new KindError(
      `Cannot run ${op}: kvHeads must divide the ${heads} heads, got ${kvHeads}`,
    );
  }
  if (keys > capacity) {
    throw new KindError(
      `Cannot run ${op}: keys must be at most the capacity ${capacity}, got ${keys}`,
    );
  }
  for (const [name, x] of Object.entries(mats.queries)) {
    want(`${op}: ${name}`, x, batch * time, heads * headDim);
  }
  for (const [name, x] of Object.entries(mats.keys)) {
    want(`${op}: ${name}`, x, batch * capacity, kvHeads * headDim);
  }
  if (shape.bounds) wantBytes(`${op}: bounds`, shape.bounds, batch * 8);
}

function wantRelative(
  op: string,
  scores: Mat,
  { terms, shape: { time, index } }: {
    terms: readonly (readonly [string, Mat | undefined])[];
    shape: RelativeShape;
  },
): void {
  wantWhole(`${op}: time`, time, { low: 1 });
  want(`${op}: scores`, scores, scores.rows, time);
  if (scores.rows % time !== 0) {
    throw new KindError(
      `Cannot run ${op}: scores must have a multiple of ${time} rows, got ${scores.rows}`,
    );
  }
  wantBytes(`${op}: index`, index, (2 * time - 1) * 4);
  const cols = terms.find(([, x]) => x)?.[1]?.cols ?? 0;
  for (const [name, x] of terms) {
    if (x) want(`${op}: ${name}`, x, scores.rows, cols);
  }
}

/** Checks a rotation. */
export function checkRope(
  { x, out, positions, cos, sin, headDim }: Args<"rope">,
): void {
  wantSame("rope", x, { out });
  wantBytes("rope: positions", positions, x.rows * 4);
  if (!(headDim > 0) || headDim % 2 !== 0 || x.cols % headDim !== 0) {
    throw new KindError(
      `Cannot run rope: headDim must be even and divide the ${x.cols} columns, got ${headDim}`,
    );
  }
  want("rope: cos", cos, cos.rows, headDim / 2);
  want("rope: sin", sin, cos.rows, headDim / 2);
}

/** Checks an attention. */
export function checkAttention(
  { q, k, v, out, shape, logSumExp }: Args<"attention">,
): void {
  wantAttention("attention", shape, { queries: { q, out }, keys: { k, v } });
  if (logSumExp) {
    const { batch, heads, time } = shape;
    wantBytes("attention: logSumExp", logSumExp, batch * heads * time * 4);
  }
}

/** Checks the backward of an attention. */
export function checkAttentionBackward(
  { dy, q, k, v, out, logSumExp, shape, dq, dk, dv }: Args<
    "attentionBackward"
  >,
): void {
  const op = "attentionBackward";
  wantAttention(op, shape, {
    queries: { dy, q, out, dq },
    keys: { k, v, dk, dv },
  });
  const { batch, heads, time } = shape;
  wantBytes(`${op}: logSumExp`, logSumExp, batch * heads * time * 4);
  if (shape.past !== 0) {
    throw new ValueError(`Cannot run ${op}: past must be 0, got ${shape.past}`);
  }
}

/** Checks the relative terms of scores. */
export function checkRelativeScores(
  { scores, c2p, p2c, shape }: Args<"relativeScores">,
): void {
  const terms = [["c2p", c2p], ["p2c", p2c]] as const;
  wantRelative("relativeScores", scores, { terms, shape });
}

/** Checks their backward. */
export function checkRelativeScoresBackward(
  { dscores, dc2p, dp2c, shape }: Args<"relativeScoresBackward">,
): void {
  const terms = [["dc2p", dc2p], ["dp2c", dp2c]] as const;
  wantRelative("relativeScoresBackward", dscores, { terms, shape });
}

/** Checks a softmax. */
export function checkMaskedSoftmax(
  { x, out, rows, bounds }: Args<"maskedSoftmax">,
): void {
  wantSame("maskedSoftmax", x, { out });
  wantWhole("maskedSoftmax: rows", rows, { low: 1 });
  if (x.rows % rows !== 0) {
    throw new KindError(
      `Cannot run maskedSoftmax: x must have a multiple of ${rows} rows, got ${x.rows}`,
    );
  }
  if (bounds) {
    wantBytes("maskedSoftmax: bounds", bounds, x.rows / rows * 8);
  }
}

/** Checks the backward of a softmax. */
export function checkMaskedSoftmaxBackward(
  { dy, y, dx }: Args<"maskedSoftmaxBackward">,
): void {
  wantSame("maskedSoftmaxBackward", y, { dy, dx });
}

/** The check of each. */
export const attentionChecks: Checks<AttentionOperations> = {
  rope: checkRope,
  attention: checkAttention,
  attentionBackward: checkAttentionBackward,
  relativeScores: checkRelativeScores,
  relativeScoresBackward: checkRelativeScoresBackward,
  maskedSoftmax: checkMaskedSoftmax,
  maskedSoftmaxBackward: checkMaskedSoftmaxBackward,
};
