/**
 * Kernels of Cholesky factorisation and of triangular solves, by blocks of columns: these work inside a block, what one
 * block does to the others is a product.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";

/** Columns of a block. */
export const TRIANGLE_BLOCK = 32;

/** Rows of x that a workgroup of {@linkcode SOLVE_BLOCK} does. */
export const SOLVE_ROWS = 8;

/**
 * `z <- x * l⁻¹` or `x * l⁻ᵀ` for at most {@linkcode TRIANGLE_BLOCK} columns and the triangle `l` between them, in place
 * and into a panel. Thread (i, j) keeps value (i, j); a step divides one column and takes it off the others.
 *
 * Workgroups: rows / {@linkcode SOLVE_ROWS}. Parameters: rows and cols of x, its first and stride, first and stride of l,
 * whether l is transposed, first of the panel. Reads l, changes x, writes `panel[rows, TRIANGLE_BLOCK]`.
 */
export const SOLVE_BLOCK: Kernel = {
  name: "solveRight block",
  code: `
struct Params {
  rows: u32, cols: u32, first: u32, stride: u32, l: u32, lStride: u32, transposed: u32, panel: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> l: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> panel: array<f32>;
const B = ${TRIANGLE_BLOCK}u;
var<workgroup> t: array<f32, B * B>;
var<workgroup> z: array<f32, ${SOLVE_ROWS}u * B>;

@compute @workgroup_size(B, ${SOLVE_ROWS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
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
  if (inside) { value = x[p.first + row * p.stride + j]; }
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
  if (inside) { x[p.first + row * p.stride + j] = value; }
  if (row < p.rows) { panel[p.panel + row * B + j] = select(0.0, value, j < p.cols); }
}
`,
};

const THREADS = 256;

/**
 * `shares[share] = factor * Σ diagonal`, over `n` rows of a matrix. One workgroup.
 *
 * Parameters: n, first value of the diagonal and stride of h, share, factor (f32). Reads h, writes shares.
 */
export const DAMPING: Kernel = {
  name: "cholesky damping",
  code: `
struct Params { n: u32, first: u32, stride: u32, share: u32, factor: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> shares: array<f32>;
var<workgroup> sums: array<f32, ${THREADS}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) thread: u32) {
  var sum = 0.0;
  for (var i = thread; i < p.n; i += ${THREADS}u) {
    sum += h[p.first + i * (p.stride + 1u)];
  }
  sums[thread] = sum;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
    if (thread < half) { sums[thread] += sums[thread + half]; }
    workgroupBarrier();
  }
  if (thread == 0u) { shares[p.share] = p.factor * sums[0]; }
}
`,
};

/**
 * Copies rows of a square matrix: to where it is factorised, the diagonal raised by the sum of `shares`, or (`lower`) the
 * factor from there, with zeros above the diagonal.
 *
 * Parameters: rows, cols, first and stride of source, first and stride of copy, number of the first row, shares. Reads
 * source and unless `lower` shares; writes copy and unless `lower` the diagonal, `[cols]`.
 */
export function copySquare({ lower }: { lower: boolean }): Kernel {
  return {
    name: lower ? "cholesky copy out" : "cholesky copy in",
    code: `
struct Params {
  rows: u32, cols: u32, first: u32, stride: u32, toFirst: u32, toStride: u32, row: u32, shares: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
${lower ? "" : "@group(0) @binding(2) var<storage, read> shares: array<f32>;"}
@group(0) @binding(${lower ? 2 : 3}) var<storage, read_write> copy: array<f32>;
${
      lower
        ? ""
        : "@group(0) @binding(4) var<storage, read_write> diagonal: array<f32>;"
    }

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let at = (group.x + group.y * groups.x) * 64u + thread;
  let i = at / p.cols;
  let j = at % p.cols;
  if (i >= p.rows) { return; }
  var value = source[p.first + i * p.stride + j];
  ${
      lower ? "if (j > p.row + i) { value = 0.0; }" : `if (j == p.row + i) {
    for (var share = 0u; share < p.shares; share += 1u) { value += shares[share]; }
    diagonal[j] = value;
  }`
    }
  copy[p.toFirst + i * p.toStride + j] = value;
}
`,
  };
}

/**
 * Factorises a block on the diagonal, and says so where a pivot is not positive or is but rounding noise: less than 1e-5
 * of what stood on the diagonal. One workgroup.
 *
 * Parameters: cols of the block, first and stride of the matrix, number of the block's first column. Reads the diagonal;
 * changes the matrix (the lower triangle of the block, above it anything); writes the factor `[TRIANGLE_BLOCK,
 * TRIANGLE_BLOCK]`, and 1 to bad.
 */
export const FACTOR_BLOCK: Kernel = {
  name: "cholesky block",
  code: `
struct Params { cols: u32, first: u32, stride: u32, col: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> diagonal: array<f32>;
@group(0) @binding(2) var<storage, read_write> a: array<f32>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> bad: array<u32>;
const B = ${TRIANGLE_BLOCK}u;
var<workgroup> t: array<f32, B * B>;

@compute @workgroup_size(B, ${SOLVE_ROWS})
fn main(@builtin(local_invocation_id) local: vec3u) {
  let n = p.cols;
  let j = local.x;
  for (var i = local.y; i < B; i += ${SOLVE_ROWS}u) {
    var value = 0.0;
    if (i < n && j <= i) { value = a[p.first + i * p.stride + j]; }
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
      if (j <= i) { a[p.first + i * p.stride + j] = value; }
    }
  }
}
`,
};
