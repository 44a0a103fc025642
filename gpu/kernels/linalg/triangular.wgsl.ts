/**
 * Kernels of Cholesky factorisation and of triangular solves, by blocks of columns: these work inside a block, what one
 * block does to the others is a product.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";

/** Columns of a block. */
export const TRIANGLE_BLOCK = 32;

/** Rows of x that a workgroup of {@linkcode SOLVE_BLOCK} does. */
export const SOLVE_ROWS = 8;

/**
 * `z <- x * l⁻¹` or `x * l⁻ᵀ` for at most {@linkcode TRIANGLE_BLOCK} columns and the triangle `l` between them, in place
 * and into a panel. Thread (i, j) keeps value (i, j); a step divides one column and takes it off the others.
 *
 * Workgroups: rows / {@linkcode SOLVE_ROWS}. `panel[rows, TRIANGLE_BLOCK]`.
 */
export const SOLVE_BLOCK = kernel({
  name: "solveRight block",
  params: { rows: "u32", cols: "u32", transposed: "u32" },
  reads: { l: "matrix f32" },
  writes: { x: "matrix f32", panel: "vector f32" },
  workgroup: `${TRIANGLE_BLOCK}, ${SOLVE_ROWS}`,
  helpers: `
const B = ${TRIANGLE_BLOCK}u;
var<workgroup> t: array<f32, B * B>;
var<workgroup> z: array<f32, ${SOLVE_ROWS}u * B>;
`,
  body: `
  let i = local.y;
  let j = local.x;
  let row = (group.x + group.y * groups.x) * ${SOLVE_ROWS}u + i;
  let inside = row < p.rows && j < p.cols;
  for (var k = i; k < p.cols; k += ${SOLVE_ROWS}u) {
    if (j <= k) {
      let value = l[p.l + k * p.lStride + j];
      // As rows of what multiplies: a column that is done is taken off along a row.
      if (p.transposed == 1u) { t[j * B + k] = value; } else { t[k * B + j] = value; }
    }
  }
  var value = 0.0;
  if (inside) { value = x[p.x + row * p.xStride + j]; }
  for (var step = 0u; step < p.cols; step += 1u) {
    let k = select(p.cols - 1u - step, step, p.transposed == 1u);
    if (j == k) { z[i * B + k] = value; }
    workgroupBarrier();
    let done = z[i * B + k] / t[k * B + k];
    if (j == k) {
      value = done;
    } else if (j < p.cols && (j > k) == (p.transposed == 1u)) {
      value -= done * t[k * B + j];
    }
  }
  if (inside) { x[p.x + row * p.xStride + j] = value; }
  if (row < p.rows) { panel[p.panel + row * B + j] = select(0.0, value, j < p.cols); }`,
});

const THREADS = 256;

/** `shares[share] = factor * Σ diagonal`, over `n` rows of a matrix, `h` from the first value of its diagonal on. One workgroup. */
export const DAMPING = kernel({
  name: "cholesky damping",
  params: { n: "u32", share: "u32", factor: "f32" },
  reads: { h: "matrix f32" },
  writes: { shares: "buffer f32" },
  workgroup: THREADS,
  helpers: `var<workgroup> sums: array<f32, ${THREADS}>;`,
  body: `
  var sum = 0.0;
  for (var i = thread; i < p.n; i += ${THREADS}u) {
    sum += h[p.h + i * (p.hStride + 1u)];
  }
  sums[thread] = sum;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    if (thread < half) { sums[thread] += sums[thread + half]; }
    workgroupBarrier();
  }
  if (thread == 0u) { shares[p.share] = p.factor * sums[0]; }`,
});

/**
 * Copies rows of a square matrix: to where it is factorised, the diagonal raised by the sum of `shares`, or (`lower`) the
 * factor from there, with zeros above the diagonal.
 * `first`: the number of the first row; `count`: of shares; `diagonal[cols]` is written unless `lower`.
 */
export const copySquare = ({ lower }: { lower: boolean }) =>
  kernel({
    name: lower ? "cholesky copy out" : "cholesky copy in",
    params: { rows: "u32", cols: "u32", first: "u32", count: "u32" },
    reads: { source: "matrix f32", shares: !lower && "buffer f32" },
    writes: { copy: "matrix f32", diagonal: !lower && "buffer f32" },
    workgroup: 64,
    body: `
  let at = (group.x + group.y * groups.x) * 64u + thread;
  let i = at / p.cols;
  let j = at % p.cols;
  if (i >= p.rows) { return; }
  var value = source[p.source + i * p.sourceStride + j];
  ${
      lower ? "if (j > p.first + i) { value = 0.0; }" : `if (j == p.first + i) {
    for (var share = 0u; share < p.count; share += 1u) { value += shares[share]; }
    diagonal[j] = value;
  }`
    }
  copy[p.copy + i * p.copyStride + j] = value;`,
  });

/**
 * Factorises a block on the diagonal, and says so where a pivot is not positive or is but rounding noise: less than 1e-5
 * of what stood on the diagonal. One workgroup.
 *
 * `cols`: of the block, `col` the first of them. It changes `a` (the lower triangle of the block, above it anything),
 * writes `factor[TRIANGLE_BLOCK, TRIANGLE_BLOCK]`, and 1 to `bad`.
 */
export const FACTOR_BLOCK = kernel({
  name: "cholesky block",
  params: { cols: "u32", col: "u32" },
  reads: { diagonal: "buffer f32" },
  writes: { a: "matrix f32", factor: "buffer f32", bad: "buffer u32" },
  workgroup: `${TRIANGLE_BLOCK}, ${SOLVE_ROWS}`,
  helpers: `
const B = ${TRIANGLE_BLOCK}u;
var<workgroup> t: array<f32, B * B>;
`,
  body: `
  let n = p.cols;
  let j = local.x;
  for (var i = local.y; i < B; i += ${SOLVE_ROWS}u) {
    var value = 0.0;
    if (i < n && j <= i) { value = a[p.a + i * p.aStride + j]; }
    t[i * B + j] = value;
  }
  workgroupBarrier();
  for (var k = 0u; k < n; k += 1u) {
    // Column k stays as it is while what it adds to the others is taken off: one barrier a step.
    let f = t[j * B + k] / t[k * B + k];
    for (var i = k + 1u + local.y; i < n; i += ${SOLVE_ROWS}u) {
      if (j > k && j <= i) { t[i * B + j] -= f * t[i * B + k]; }
    }
    workgroupBarrier();
  }
  if (j < n) {
    let pivot = t[j * B + j];
    // As bits, since a comparison may ignore NaN: 1e-30 to 1e30.
    let bits = bitcast<u32>(pivot);
    let fine = bits > 0x0da24260u && bits < 0x7149f2cau && pivot > 1e-5 * diagonal[p.col + j];
    if (!fine && local.y == 0u) { bad[0] = 1u; }
    let root = sqrt(pivot);
    for (var i = local.y; i < n; i += ${SOLVE_ROWS}u) {
      let value = t[i * B + j] / root;
      factor[i * B + j] = select(0.0, value, j <= i);
      if (j <= i) { a[p.a + i * p.aStride + j] = value; }
    }
  }`,
});
