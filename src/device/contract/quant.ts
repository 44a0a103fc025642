/**
 * Quantising, decoding, and the rounding of scales: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";
import type { QuantMat, ScaleRule } from "../quant_mat.ts";
import {
  type CallArgs,
  type Checks,
  want,
  wantBytes,
  wantQuant,
} from "./want.ts";

/** Quantising, decoding, and the rounding of scales. */
export interface QuantOperations {
  /**
   * `q = quantise(w[m, n])`, codes packed. `weight`: `[n]` f32, for `mse` only.
   *
   * Codebook: `x = w * (1 / scale)` in f32 (a reciprocal, then a product), then the thresholds. Affine:
   * `code = clamp(roundHalfEven((w - bias) * (1 / scale)))` in f32. A scale of magnitude below 1e-38 counts as 1e-38
   * in the reciprocal (as in bitsandbytes), so that a block of scale 0 takes `x = 0`. No fused or relaxed arithmetic, so that codes are the same on every device (for `mse` up to near ties of the search).
   */
  quantize(args: {
    w: Mat;
    q: QuantMat;
    scale: ScaleRule;
    weight?: DeviceBuffer;
  }): void;

  /** `out[m, n] = dequantise(q)`, or `from - dequantise(q)` where `from[m, n]` is given; `from` may be `out`. */
  dequantize(args: { q: QuantMat; out: Mat; from?: Mat }): void;

  /** `out[i] = Σ_j x[i, j]²`, one f32 a row in a buffer of `[m]`, each accumulated in a fixed order (f64 where the device has it). */
  rowSquares(args: { x: Mat; out: DeviceBuffer }): void;

  /** `out[m, n] = x[m, n] * diag(by)` with `by: [n]` f32; `out` may be `x`. */
  scaleColumns(args: { x: Mat; by: DeviceBuffer; out: Mat }): void;

  /**
   * `out[m, n] = x[m, n]` rounded to the nearest value that f16 has, ties to even; beyond its range infinity. `out` may
   * be `x`. For scales and biases that are stored in 16 bits, so that computations use the stored values.
   */
  roundHalf(args: { x: Mat; out: Mat }): void;
}

type Args<K extends keyof QuantOperations> = CallArgs<QuantOperations, K>;

/** Checks a quantisation. */
export function checkQuantize({ w, q, scale, weight }: Args<"quantize">): void {
  want("quantize: w", w, q.rows, q.cols);
  wantQuant("quantize", q);
  const affine = q.spec.levels === null;
  if (
    affine ? scale === "std" : scale === "minmax" || scale === "clip"
  ) {
    throw new KindError(
      `Cannot run quantize: scale "${scale}" does not fit ${
        affine ? "an affine format" : "a codebook"
      }`,
    );
  }
  if (weight) {
    if (scale !== "mse") {
      throw new KindError(
        `Cannot run quantize: weights need scale "mse", got "${scale}"`,
      );
    }
    wantBytes("quantize: weight", weight, q.cols * 4);
  }
}

/** Checks a dequantisation. */
export function checkDequantize({ q, out, from }: Args<"dequantize">): void {
  want("dequantize: out", out, q.rows, q.cols);
  if (from) want("dequantize: from", from, q.rows, q.cols);
  wantQuant("dequantize", q);
}

/** Checks a sum of squares. */
export function checkRowSquares({ x, out }: Args<"rowSquares">): void {
  wantBytes("rowSquares: out", out, x.rows * 4);
}

/** Checks a column scaling. */
export function checkScaleColumns({ x, by, out }: Args<"scaleColumns">): void {
  want("scaleColumns: out", out, x.rows, x.cols);
  wantBytes("scaleColumns: by", by, x.cols * 4);
}

/** Checks a rounding to f16. */
export function checkRoundHalf({ x, out }: Args<"roundHalf">): void {
  want("roundHalf: out", out, x.rows, x.cols);
}

/** The check of each. */
export const quantChecks: Checks<QuantOperations> = {
  quantize: checkQuantize,
  dequantize: checkDequantize,
  rowSquares: checkRowSquares,
  scaleColumns: checkScaleColumns,
  roundHalf: checkRoundHalf,
};
