/**
 * Shape checks of the device contract, the same for every device.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import type { DeviceBuffer, Mat } from "../buffer.ts";
import type { Operations } from "../operations.ts";
import type { QuantMat } from "../quant_mat.ts";
import { quantSizes } from "../quant_mat.ts";

type Args<K extends keyof Operations> = Parameters<Operations[K]>[0];

const shape = (x: Mat) => `${x.rows} x ${x.cols}`;

/** Checks that a matrix is `rows` x `cols`; `what` is "operation: argument". */
export function want(what: string, x: Mat, rows: number, cols: number): void {
  if (x.rows !== rows || x.cols !== cols) {
    throw new KindError(
      `Cannot run ${what} must be ${rows} x ${cols}, got ${shape(x)}`,
    );
  }
}

/** Checks that a buffer holds at least `bytes`; `what` is "operation: argument". */
export function wantBytes(
  what: string,
  buffer: DeviceBuffer,
  bytes: number,
): void {
  if (buffer.bytes < bytes) {
    throw new KindError(
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
      throw new KindError(`Cannot run ${op}: an affine format needs biases`);
    }
    wantBytes(`${op}: biases`, q.biases, blocks * 4);
  }
}

/** Checks that `count` matrices `step` elements apart lie in their buffer. */
function wantRun(
  what: string,
  x: Mat,
  { count, step }: { count: number; step: number },
): void {
  if (!Number.isSafeInteger(step) || step < 0) {
    throw new ValueError(
      `Cannot run gemm: batch: the step of ${what} must be a whole number >= 0, got ${step}`,
    );
  }
  if (count === 0 || x.rows === 0 || x.cols === 0) return;
  const end = x.offset + (count - 1) * step + (x.rows - 1) * x.stride + x.cols;
  if (end * 4 > x.buffer.bytes) {
    throw new ValueError(
      `Cannot run gemm: batch: the last of ${count} ${what} ends at byte ${
        end * 4
      }, the buffer holds ${x.buffer.bytes}`,
    );
  }
}

function wantBatch({ a, b, c, add, batch }: Args<"gemm">): void {
  if (!batch) return;
  const { count } = batch;
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new ValueError(
      `Cannot run gemm: batch: count must be a whole number >= 0, got ${count}`,
    );
  }
  if (count > 1 && batch.c === 0) {
    throw new ValueError(
      "Cannot run gemm: batch: several products would be written to one place",
    );
  }
  wantRun("a", a, { count, step: batch.a });
  wantRun("b", b, { count, step: batch.b });
  wantRun("c", c, { count, step: batch.c });
  if (add) wantRun("add", add, { count, step: batch.add ?? batch.c });
}

/** Checks a product and returns its sizes. */
export function checkGemm(
  args: Args<"gemm">,
): { m: number; n: number; k: number } {
  const { a, b, c, transA, transB, add, beta } = args;
  const m = transA ? a.cols : a.rows;
  const k = transA ? a.rows : a.cols;
  const n = transB ? b.rows : b.cols;
  if ((transB ? b.cols : b.rows) !== k) {
    throw new KindError(
      `Cannot run gemm: inner sizes differ: a is ${shape(a)}${
        transA ? " (transposed)" : ""
      }, b is ${shape(b)}${transB ? " (transposed)" : ""}`,
    );
  }
  want("gemm: c", c, m, n);
  if (add) want("gemm: add", add, m, n);
  else if (beta) {
    throw new KindError("Cannot run gemm: beta needs an addend, got none");
  }
  wantBatch(args);
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

/** Checks a product with a quantised matrix and returns its sizes. */
export function checkGemmQuantized(
  { a, q, c, transQ, add, beta }: Args<"gemmQuantized">,
): { m: number; n: number; k: number } {
  const [k, n] = transQ ? [q.cols, q.rows] : [q.rows, q.cols];
  if (a.cols !== k) {
    throw new KindError(
      `Cannot run gemmQuantized: inner sizes differ: a is ${
        shape(a)
      }, q is ${q.rows} x ${q.cols}${transQ ? " (transposed)" : ""}`,
    );
  }
  want("gemmQuantized: c", c, a.rows, n);
  if (add) want("gemmQuantized: add", add, a.rows, n);
  else if (beta) {
    throw new KindError(
      "Cannot run gemmQuantized: beta needs an addend, got none",
    );
  }
  wantQuant("gemmQuantized", q);
  return { m: a.rows, n, k };
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

/** Checks an exact SVD and returns the number of singular values. */
export function checkSvd({ a, u, s, vt }: Args<"svd">): number {
  const k = Math.min(a.rows, a.cols);
  want("svd: u", u, a.rows, k);
  want("svd: s", s, 1, k);
  want("svd: vt", vt, k, a.cols);
  return k;
}
