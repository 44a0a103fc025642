/**
 * Every operation of the contract.
 *
 * @module
 */

import type { DeviceBuffer, Mat } from "./buffer.ts";
import type { NetworkOperations } from "./contract/network.ts";
import type { QuantMat, ScaleRule } from "./quant_mat.ts";

/**
 * Several products of one shape, at equal distances: the `i`-th takes each matrix `i` times so many elements after
 * where its view begins. The results of two products may not overlap (they may interleave, as the heads of an
 * attention layer do).
 */
export interface GemmBatch {
  /** Products. */
  readonly count: number;
  /** From one `a` to the next; 0 for one that all products share. */
  readonly a: number;
  /** From one `b` to the next; 0 for one that all products share. */
  readonly b: number;
  /** From one `c` to the next. */
  readonly c: number;
  /** From one addend to the next, 0 for a shared one; as `c` without it. */
  readonly add?: number;
}

/** The products of a batch one by one, for a device that takes them so; `args` itself where there is no batch. */
export function* gemmProducts(
  args: Parameters<Operations["gemm"]>[0],
): Generator<Parameters<Operations["gemm"]>[0]> {
  const { batch, ...first } = args;
  if (!batch) yield first;
  const move = (x: Mat, by: number) => ({ ...x, offset: x.offset + by });
  for (let i = 0; i < (batch?.count ?? 0); i++) {
    const { a, b, c, add = c } = batch!;
    yield {
      ...first,
      a: move(first.a, i * a),
      b: move(first.b, i * b),
      c: move(first.c, i * c),
      add: first.add && move(first.add, i * add),
    };
  }
}

/**
 * The operations. Sizes: `m`, `n`, `k` of a product, `r` rank, `l` columns of a tall matrix.
 *
 * An output may not alias an input unless its line says so. Shapes are checked by `src/device/contract/check.ts`, once
 * for all devices, with a `TypeError`.
 */
export interface Operations extends NetworkOperations {
  /**
   * `c[m, n] = alpha * op(a)[m, k] * op(b)[k, n] + beta * add[m, n]`; `add` may be `c`; without `add`, `c` is only
   * written. With `batch`, so many products of the same shape.
   */
  gemm(args: {
    a: Mat;
    b: Mat;
    c: Mat;
    transA?: boolean;
    transB?: boolean;
    alpha?: number;
    beta?: number;
    add?: Mat;
    batch?: GemmBatch;
  }): void;

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

  /**
   * `c[m, n] = alpha * a[m, k] * dequantise(q)[k, n] + beta * add[m, n]`, or with `transQ` the same of the transpose of
   * `q[n, k]`: a linear layer's product is `x * qᵀ`, that of its gradient `dy * q`. `add` may be `c`; without `add`, `c`
   * is only written. Codes are turned into values as the product needs them, a part of the matrix at a time.
   */
  gemmQuantized(args: {
    a: Mat;
    q: QuantMat;
    c: Mat;
    transQ?: boolean;
    alpha?: number;
    beta?: number;
    add?: Mat;
  }): void;

  /**
   * As {@linkcode gemmQuantized}, with the left side rounded to 8 bits where the device has integer arithmetic for it and
   * `q` is affine in groups along its rows: with `transQ`, each row of `a` by its groups, `a ≈ scale * byte` with
   * `scale = max |a| / 127`; without, each row of `a` times the scales of a group of columns, in blocks of 128 inner indices.
   * Codes are taken as they are, so that the rounding of `a` is the only error: at most half a step of each of its
   * values (a step of the gradient is `max |a| * max scale / 127`). Other formats and shapes are multiplied in f32.
   */
  gemmInt8(args: Parameters<Operations["gemmQuantized"]>[0]): void;

  /** `out[i] = Σ_j x[i, j]²`, one f32 a row in a buffer of `[m]`, each accumulated in a fixed order (f64 where the device has it). */
  rowSquares(args: { x: Mat; out: DeviceBuffer }): void;

  /** `out[m, n] = x[m, n] * diag(by)` with `by: [n]` f32; `out` may be `x`. */
  scaleColumns(args: { x: Mat; by: DeviceBuffer; out: Mat }): void;

  /**
   * `out[m, n] = x[m, n]` rounded to the nearest value that f16 has, ties to even; beyond its range infinity. `out` may
   * be `x`. For scales and biases that are stored in 16 bits: what is computed with them is then what is stored.
   */
  roundHalf(args: { x: Mat; out: Mat }): void;

  /**
   * Orthonormalises the columns of a tall `y[m, l]` in place, `m >= l`: `y = q * r`, `q` overwrites `y`, `r[l, l]`
   * is upper triangular. `‖qᵀq - I‖ <= 1e-5` for full column rank (condition up to 1e6). A column that depends on
   * those before it becomes zero in `q`, with a zero on the diagonal of `r`.
   */
  qr(args: { y: Mat; r: Mat }): void;

  /**
   * `l[n, n]` lower triangular with `l * lᵀ = h[n, n] + damping * mean(diag h) * I`, zeros above the diagonal; `l`
   * may be `h`. A matrix that is not positive definite gives a NaN at `l[n - 1, n - 1]`.
   */
  cholesky(args: { h: Mat; l: Mat; damping: number }): void;

  /** `x[m, n] <- x * l⁻¹` (or `x * l⁻ᵀ` with `transpose`), `l[n, n]` lower triangular, in place. */
  solveRight(args: { x: Mat; l: Mat; transpose?: boolean }): void;

  /**
   * Thin exact SVD `a[m, n] = u[m, k] * diag(s[1, k]) * vt[k, n]`, `k = min(m, n)`, singular values descending, each
   * within 1e-5 relative of the f64 one (computed in f64). Small and medium matrices. Rows of `vt` and columns of
   * `u` that belong to a zero singular value are zero.
   */
  svd(args: { a: Mat; u: Mat; s: Mat; vt: Mat }): void;
}

/** Name of an operation. */
export type OperationName = keyof Operations;

/** Every operation of the contract, so that `open.ts` and the conformance table can list what a device lacks. */
export const OPERATIONS: readonly OperationName[] = [
  "gemm",
  "quantize",
  "dequantize",
  "gemmQuantized",
  "gemmInt8",
  "rowSquares",
  "scaleColumns",
  "roundHalf",
  "qr",
  "cholesky",
  "solveRight",
  "svd",
];
