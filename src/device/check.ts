/**
 * Shape checks of the device contract, the same for every device.
 *
 * @module
 */

import type { DeviceBuffer, Mat, Operations, QuantMat } from "./device.ts";
import { quantSizes } from "./device.ts";

type Args<K extends keyof Operations> = Parameters<Operations[K]>[0];

const shape = (x: Mat) => `${x.rows} x ${x.cols}`;

function want(what: string, x: Mat, rows: number, cols: number): void {
  if (x.rows !== rows || x.cols !== cols) {
    throw new TypeError(
      `Cannot run ${what} must be ${rows} x ${cols}, got ${shape(x)}`,
    );
  }
}

function wantBytes(what: string, buffer: DeviceBuffer, bytes: number): void {
  if (buffer.bytes < bytes) {
    throw new TypeError(
      `Cannot run ${what} must hold ${bytes} bytes, got ${buffer.bytes}`,
    );
  }
}

function wantQuant(op: string, q: QuantMat): void {
  const { blocks, codeBytes } = quantSizes(q.spec, q.rows, q.cols, q.block);
  wantBytes(`${op}: codes`, q.codes, codeBytes);
  wantBytes(`${op}: scales`, q.scales, blocks * 4);
  if (q.spec.levels === null) {
    if (q.biases === null) {
      throw new TypeError(`Cannot run ${op}: an affine format needs biases`);
    }
    wantBytes(`${op}: biases`, q.biases, blocks * 4);
  }
}

/** Checks a product and returns its sizes. */
export function checkGemm(
  { a, b, c, transA, transB, add, beta }: Args<"gemm">,
): { m: number; n: number; k: number } {
  const m = transA ? a.cols : a.rows;
  const k = transA ? a.rows : a.cols;
  const n = transB ? b.rows : b.cols;
  if ((transB ? b.cols : b.rows) !== k) {
    throw new TypeError(
      `Cannot run gemm: inner sizes differ: a is ${shape(a)}${
        transA ? " (transposed)" : ""
      }, b is ${shape(b)}${transB ? " (transposed)" : ""}`,
    );
  }
  want("gemm: c", c, m, n);
  if (add) want("gemm: add", add, m, n);
  else if (beta) {
    throw new TypeError("Cannot run gemm: beta needs an addend, got none");
  }
  return { m, n, k };
}

/** Checks a quantisation. */
export function checkQuantize({ w, q, scale, weight }: Args<"quantize">): void {
  want("quantize: w", w, q.rows, q.cols);
  wantQuant("quantize", q);
  const affine = q.spec.levels === null;
  if (
    affine ? scale === "std" : scale === "minmax" || scale === "clip"
  ) {
    throw new TypeError(
      `Cannot run quantize: scale "${scale}" does not fit ${
        affine ? "an affine format" : "a codebook"
      }`,
    );
  }
  if (weight) {
    if (scale !== "mse") {
      throw new TypeError(
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

/** Checks an orthonormalisation. */
export function checkQr({ y, r }: Args<"qr">): void {
  if (y.rows < y.cols) {
    throw new TypeError(
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
    throw new RangeError(
      `Cannot run cholesky: damping must be >= 0, got ${damping}`,
    );
  }
}

/** Checks a triangular solve. */
export function checkSolveRight({ x, l }: Args<"solveRight">): void {
  want("solveRight: l", l, x.cols, x.cols);
}

/** Checks an exact SVD and returns the number of singular values. */
export function checkSvd({ a, u, s, vt }: Args<"svd">): number {
  const k = Math.min(a.rows, a.cols);
  want("svd: u", u, a.rows, k);
  want("svd: s", s, 1, k);
  want("svd: vt", vt, k, a.cols);
  return k;
}
