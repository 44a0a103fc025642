/**
 * Products on the reference device.
 *
 * @module
 */

import {
  type GemmOperations,
  gemmProducts,
  gemmQuantizedSizes,
  gemmSizes,
} from "../contract/gemm.ts";
import type { Mat } from "../buffer.ts";
import type { OperationArgs } from "../operations.ts";
import { takenInInt8 } from "../int8.ts";
import { roundedGradient, roundedRows } from "./int8.ts";
import { dot } from "./linalg.ts";
import { load, store } from "./memory.ts";
import { loadCodes, loadQuantized } from "./quant.ts";

function gemm(args: OperationArgs<"gemm">): void {
  const sizes = gemmSizes(args);
  for (const product of gemmProducts(args)) {
    multiply(product, {
      ...sizes,
      a: load(product.a, product.transA),
      b: load(product.b, !product.transB),
    });
  }
}

function gemmQuantized(args: OperationArgs<"gemmQuantized">): void {
  const sizes = gemmQuantizedSizes(args);
  const { q, transQ } = args;
  const values = loadQuantized(q);
  multiply(args, {
    ...sizes,
    a: load(args.a),
    b: transQ
      ? values
      : values.map((_, i) =>
        values[i % q.rows * q.cols + Math.floor(i / q.rows)]
      ),
  });
}

function gemmInt8(args: OperationArgs<"gemmInt8">): void {
  if (!takenInInt8(args)) return gemmQuantized(args);
  const sizes = gemmQuantizedSizes(args);
  const { q, transQ } = args;
  if (transQ) {
    multiply(args, { ...sizes, a: roundedRows(args), b: loadQuantized(q) });
    return;
  }
  const { m, n } = sizes;
  const product = roundedGradient(args, loadCodes(q));
  const identity = new Float64Array(n * n);
  for (let j = 0; j < n; j++) identity[j * n + j] = 1;
  multiply(args, { m, n, k: n, a: product, b: identity });
}

/**
 * `c = alpha * a * b + beta * add`; `b` holds the rows of its transpose, so that each element is a dot product of two
 * contiguous runs.
 */
function multiply(
  { c, add, alpha = 1, beta = 0 }: {
    c: Mat;
    add?: Mat;
    alpha?: number;
    beta?: number;
  },
  { m, n, k, a, b }:
    & Record<"m" | "n" | "k", number>
    & Record<"a" | "b", Float64Array>,
): void {
  const out = add && beta !== 0
    ? load(add).map((x) => beta * x)
    : new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    const row = a.subarray(i * k, (i + 1) * k);
    for (let j = 0; j < n; j++) {
      out[i * n + j] += alpha * dot(row, b.subarray(j * k, (j + 1) * k));
    }
  }
  store(c, out);
}

/** These operations on the reference device. */
export const gemmOperations: GemmOperations = {
  gemm,
  gemmQuantized,
  gemmInt8,
};
