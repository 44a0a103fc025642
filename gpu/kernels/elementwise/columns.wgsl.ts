/**
 * Kernels that take each value, or each row, once.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";

/** Threads of a workgroup, in all kernels here. */
export const ELEMENTWISE_THREADS = 64;

/**
 * `y[i] = Σ_j x[i, j]²`, one workgroup a row: each thread adds every 64th square, then a tree adds the threads', in
 * an order that depends on nothing but the number of columns.
 */
export const ROW_SQUARES = kernel({
  name: "rowSquares",
  params: { rows: "u32", cols: "u32" },
  reads: { x: "matrix f32" },
  writes: { y: "vector f32" },
  workgroup: ELEMENTWISE_THREADS,
  helpers: `var<workgroup> sums: array<f32, ${ELEMENTWISE_THREADS}>;`,
  body: `
  let row = group.x + group.y * groups.x;
  var sum = 0.0;
  if (row < p.rows) {
    let at = p.x + row * p.xStride;
    for (var j = thread; j < p.cols; j += ${ELEMENTWISE_THREADS}u) {
      sum += x[at + j] * x[at + j];
    }
  }
  sums[thread] = sum;
  workgroupBarrier();
  for (var width = ${ELEMENTWISE_THREADS >> 1}u; width > 0u; width >>= 1u) {
    if (thread < width) { sums[thread] += sums[thread + width]; }
    workgroupBarrier();
  }
  if (thread == 0u && row < p.rows) { y[p.y + row] = sums[0]; }`,
});

/** `y[m, n] = x[m, n] * diag(by)`; `inPlace` for a y that is x. */
export const scaleColumnsKernel = (inPlace: boolean) => {
  const source = inPlace
    ? "y[p.y + row * p.yStride + col]"
    : "x[p.x + row * p.xStride + col]";
  return kernel({
    name: inPlace ? "scaleColumns in place" : "scaleColumns",
    params: { rows: "u32", cols: "u32" },
    reads: { by: "vector f32", x: !inPlace && "matrix f32" },
    writes: { y: "matrix f32" },
    workgroup: ELEMENTWISE_THREADS,
    body: `
  let i = (group.x + group.y * groups.x) * ${ELEMENTWISE_THREADS}u + thread;
  let row = i / p.cols;
  let col = i % p.cols;
  if (row >= p.rows) { return; }
  let value = ${source};
  y[p.y + row * p.yStride + col] = value * by[p.by + col];`,
  });
};
