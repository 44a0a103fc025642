/**
 * The part of the device contract that transformers need: norms, rotary positions, attention, losses, the optimiser.
 *
 * Activations are matrices `[m, n]` with one row a token; a batch of `B` sequences of `T` tokens is `m = B * T` rows,
 * sequence by sequence. Each operation's backward stands beside it and takes what the forward left behind. An output
 * may not alias an input unless its line says so. Sums run in an order that does not depend on the number of threads.
 *
 * Shapes are checked by `src/device/contract/check_network.ts`, once for all devices. What lies in buffers (ids, positions,
 * labels, bounds) is not looked at: that it is in range is the caller's part. Scalars reach a kernel as f32: what is
 * made of them (`1 - beta`, `1 - lr * decay`) is made in f64 and rounded once.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "../buffer.ts";

/** Shape and mask of an attention; see {@linkcode NetworkOperations.attention}. */
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
  /** Whether query `i` sees keys `j <= past + i` only. */
  readonly causal: boolean;
  /** Keys before the first query (a cache); 0 without. */
  readonly past: number;
  /** Where not 0: query `i` sees keys `j > past + i - window` only (Mistral's sliding window). */
  readonly window: number;
  /**
   * Where given: `u32 [batch, 2]`, the keys `[from, to)` of each sequence that are no padding, `to` at most `capacity`.
   * Keys outside are not seen; a query that sees none has an output of zeros. What `k` and `v` hold in rows outside
   * the bounds or from `keys` on enters nothing, not even a NaN.
   */
  readonly bounds?: DeviceBuffer;
}

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

/** Functions between the layers of a feed-forward part: `gelu` with the error function, or with a hyperbolic tangent. */
export const ACTIVATIONS = ["gelu", "gelu_tanh", "relu", "tanh"] as const;

/** Name of an activation. */
export type Activation = typeof ACTIVATIONS[number];

/** Shape and place of the two relative terms of DeBERTa's scores; see {@linkcode NetworkOperations.relativeScores}. */
export interface RelativeShape {
  /** Tokens of a sequence. */
  readonly time: number;
  /** `u32 [2 time - 1]`: which relative position `i - j` is, at `i - j + time - 1`. It never falls. */
  readonly index: DeviceBuffer;
  /** Factor of both terms. */
  readonly alpha: number;
}

/** Operations of transformers. `m` tokens, `n` features, `v` words of a vocabulary. */
export interface NetworkOperations {
  /** `out[m, n] = alpha * x + beta * y`; without `y` (and `beta`), `alpha * x`. `out` may be `x` or `y`. Defaults of the factors: 1. */
  combine(
    args: { x: Mat; y?: Mat; out: Mat; alpha?: number; beta?: number },
  ): void;

  /** `out[m, n] = x[m, n] + row[n]`; `out` may be `x`. */
  addRow(args: { x: Mat; row: DeviceBuffer; out: Mat }): void;

  /**
   * `out[j] = Σ_i x[i, j] + beta * out[j]` with `out: f32 [n]`, or `Σ_i x[i, j]²` with `square`; `beta` is 0 or 1 (0), with
   * 0 `out` is only written.
   */
  columnSums(
    args: { x: Mat; out: DeviceBuffer; beta?: 0 | 1; square?: boolean },
  ): void;

  /**
   * `out[i, g] = Σ_j x[i, j]` over the columns of group `g`, `[g * group, (g + 1) * group)`: `x[m, n]`,
   * `out[m, ceil(n / group)]`; the last group may be short. `group` is a whole number of at least 1. (The pooled input of
   * QA-LoRA, Xu et al., 2309.14717, algorithm 1.)
   */
  poolColumns(args: { x: Mat; group: number; out: Mat }): void;

  /**
   * `out[i, j] = x[i, floor(j / group)] + add[i, j]`: `x[m, ceil(n / group)]`, `out[m, n]`, the backward of
   * {@linkcode poolColumns}; `add` may be `out`.
   */
  spreadColumns(args: { x: Mat; group: number; out: Mat; add?: Mat }): void;

  /** `out[i, :] = table[ids[i], :]` with `ids: u32 [m]`, each below `table.rows`. */
  gatherRows(args: { table: Mat; ids: DeviceBuffer; out: Mat }): void;

  /** `table[ids[i], :] += x[i, :]` in the order of `i`, `ids: u32 [m]`: the backward of {@linkcode gatherRows}. */
  scatterRows(args: { x: Mat; ids: DeviceBuffer; table: Mat }): void;

  /**
   * `out[i, :] = x[i, :] * inverse[i] * weight`, `inverse[i] = 1 / sqrt(mean(x[i, :]²) + epsilon)`; `weight: f32 [n]`,
   * `inverse: f32 [m]` is an output for the backward. (Zhang and Sennrich, 1910.07467.)
   */
  rmsNorm(
    args: {
      x: Mat;
      weight: DeviceBuffer;
      epsilon: number;
      out: Mat;
      inverse: DeviceBuffer;
    },
  ): void;

  /**
   * `dx[i, :] = inverse[i] * (g - x[i, :] * inverse[i]² * mean(g * x[i, :])) + add[i, :]` with `g = dy[i, :] * weight`;
   * `add` (the gradient that went around the norm) may be `dx`. `dweight: f32 [n]`, where given, grows by
   * `Σ_i dy[i, :] * x[i, :] * inverse[i]`.
   */
  rmsNormBackward(
    args: {
      dy: Mat;
      x: Mat;
      weight: DeviceBuffer;
      inverse: DeviceBuffer;
      dx: Mat;
      add?: Mat;
      dweight?: DeviceBuffer;
    },
  ): void;

  /**
   * `out[i, :] = (x[i, :] - mean[i]) * inverse[i] * weight + bias`, `inverse[i] = 1 / sqrt(variance + epsilon)` with the
   * variance over all `n`; `weight, bias: f32 [n]`; `mean, inverse: f32 [m]` are outputs for the backward.
   * (Ba et al., 1607.06450.)
   */
  layerNorm(
    args: {
      x: Mat;
      weight: DeviceBuffer;
      bias: DeviceBuffer;
      epsilon: number;
      out: Mat;
      mean: DeviceBuffer;
      inverse: DeviceBuffer;
    },
  ): void;

  /**
   * `dx[i, :] = inverse[i] * (g - mean(g) - y * mean(g * y)) + add[i, :]` with `g = dy[i, :] * weight` and
   * `y = (x[i, :] - mean[i]) * inverse[i]`; `add` may be `dx`. `dweight, dbias: f32 [n]`, where given, grow by
   * `Σ_i dy[i, :] * y` and `Σ_i dy[i, :]`.
   */
  layerNormBackward(
    args: {
      dy: Mat;
      x: Mat;
      weight: DeviceBuffer;
      mean: DeviceBuffer;
      inverse: DeviceBuffer;
      dx: Mat;
      add?: Mat;
      dweight?: DeviceBuffer;
      dbias?: DeviceBuffer;
    },
  ): void;

  /** `out[m, n] = f(x)` with the function `kind`. `out` may be `x`. (GELU: Hendrycks and Gimpel, 1606.08415.) */
  activate(args: { x: Mat; out: Mat; kind: Activation }): void;

  /** `dx[m, n] = dy * f'(x)`, where `x` went into {@linkcode activate}. `dx` may be `dy`. */
  activateBackward(args: { dy: Mat; x: Mat; dx: Mat; kind: Activation }): void;

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
   * is zeros. What `x` holds outside the bounds enters nothing. `out` may be `x`.
   */
  maskedSoftmax(
    args: { x: Mat; out: Mat; rows: number; bounds?: DeviceBuffer },
  ): void;

  /** `dx[i, :] = y * (dy - Σ_j dy * y)`, where `y` came out of {@linkcode maskedSoftmax}. `dx` may be `dy`. */
  maskedSoftmaxBackward(args: { dy: Mat; y: Mat; dx: Mat }): void;

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

  /** `out[m, n] = gate / (1 + exp(-gate)) * up` (Shazeer, 2002.05202). `out` may be `gate` or `up`. */
  swiglu(args: { gate: Mat; up: Mat; out: Mat }): void;

  /** Gradients of {@linkcode swiglu}; `dgate` may be `gate`, and `dup` may be `up` or `dy`. */
  swigluBackward(
    args: { dy: Mat; gate: Mat; up: Mat; dgate: Mat; dup: Mat },
  ): void;

  /**
   * Softmax attention of each sequence and head: `q[B * time, heads * headDim]`, `k, v[B * capacity, kvHeads * headDim]`,
   * `out` as `q`. `logSumExp: f32 [B, heads, time]`, where given, is an output for the backward (-infinity where a query
   * sees no key). No matrix of scores is kept (Dao et al., 2205.14135).
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

  /**
   * `out[m, n] = x * factor` where kept, else 0: element `(i, j)`, number `e = i * n + j`, is kept if
   * `hash(seed, e) >= threshold`, with `hash`, `threshold` and `factor = 1 / (1 - rate)` as in `dropout.ts`, the same bits
   * on every device. The backward is the same call on the gradient. `seed` is a u32, `0 <= rate < 1`. `out` may be `x`.
   */
  dropout(args: { x: Mat; out: Mat; rate: number; seed: number }): void;

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

/** Every operation of this part of the contract. */
export const NETWORK_OPERATIONS = [
  "combine",
  "addRow",
  "columnSums",
  "poolColumns",
  "spreadColumns",
  "gatherRows",
  "scatterRows",
  "rmsNorm",
  "rmsNormBackward",
  "layerNorm",
  "layerNormBackward",
  "activate",
  "activateBackward",
  "relativeScores",
  "relativeScoresBackward",
  "maskedSoftmax",
  "maskedSoftmaxBackward",
  "rope",
  "swiglu",
  "swigluBackward",
  "attention",
  "attentionBackward",
  "crossEntropy",
  "dropout",
  "clipScale",
  "adamw",
] as const satisfies readonly (keyof NetworkOperations)[];
