/**
 * Factorisations and triangular solves: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import type { Mat } from "../buffer.ts";
import { type CallArgs, type Checks, shape, want } from "./want.ts";

/** Factorisations and triangular solves. */
export interface LinalgOperations {
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

type Args<K extends keyof LinalgOperations> = CallArgs<LinalgOperations, K>;

/** Checks an orthonormalisation. */
export function checkQr({ y, r }: Args<"qr">): void {
  if (y.rows < y.cols) {
    throw new KindError(
      `Cannot run qr: y must be at least as tall as wide, got ${shape(y)}`,
    );
  }
  want("qr: r", r, y.cols, y.cols);
}

/** Checks a Cholesky factorisation. */
export function checkCholesky({ h, l, damping }: Args<"cholesky">): void {
  want("cholesky: h", h, h.rows, h.rows);
  want("cholesky: l", l, h.rows, h.rows);
  if (!(damping >= 0)) {
    throw new ValueError(
      `Cannot run cholesky: damping must be >= 0, got ${damping}`,
    );
  }
}

/** Checks a triangular solve. */
export function checkSolveRight({ x, l }: Args<"solveRight">): void {
  want("solveRight: l", l, x.cols, x.cols);
}

/** Checks an exact SVD. */
export function checkSvd({ a, u, s, vt }: Args<"svd">): void {
  const k = Math.min(a.rows, a.cols);
  want("svd: u", u, a.rows, k);
  want("svd: s", s, 1, k);
  want("svd: vt", vt, k, a.cols);
}

/** The check of each. */
export const linalgChecks: Checks<LinalgOperations> = {
  qr: checkQr,
  cholesky: checkCholesky,
  solveRight: checkSolveRight,
  svd: checkSvd,
};
