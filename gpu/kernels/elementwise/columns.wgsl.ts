/**
 * Kernels that take each value, or each row, once.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";

/** Threads of a workgroup, in all kernels here. */
export const ELEMENTWISE_THREADS = 64;

/**
 * `out[i] = Σ_j x[i, j]²`, one workgroup a row: each thread adds every 64th square, then a tree adds the threads', in
 * an order that depends on nothing but the number of columns.
 *
 * Parameters: rows, cols, first and stride of x, first of out. Reads x, writes out.
 */
export const ROW_SQUARES: Kernel = {
  name: "rowSquares",
  code: `
struct Params { rows: u32, cols: u32, first: u32, stride: u32, out: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<workgroup> sums: array<f32, ${ELEMENTWISE_THREADS}>;

@compute @workgroup_size(${ELEMENTWISE_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = group.x + group.y * groups.x;
  var sum = 0.0;
  if (row < p.rows) {
    let at = p.first + row * p.stride;
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
  if (thread == 0u && row < p.rows) { y[p.out + row] = sums[0]; }
}
`,
};

/**
 * `out[m, n] = x[m, n] * diag(by)`; `inPlace` for an out that is x.
 *
 * Parameters: rows, cols, first and stride of x, first and stride of out, first of by. Reads by and, unless it is in
 * place, x; writes out.
 */
export function scaleColumnsKernel(inPlace: boolean): Kernel {
  return {
    name: inPlace ? "scaleColumns in place" : "scaleColumns",
    code: `
struct Params {
  rows: u32, cols: u32, first: u32, stride: u32, outFirst: u32, outStride: u32, by: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> by: array<f32>;
${inPlace ? "" : "@group(0) @binding(2) var<storage, read> x: array<f32>;"}
@group(0) @binding(${inPlace ? 2 : 3}) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(${ELEMENTWISE_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = (group.x + group.y * groups.x) * ${ELEMENTWISE_THREADS}u + thread;
  let row = i / p.cols;
  let col = i % p.cols;
  if (row >= p.rows) { return; }
  let value = ${inPlace ? "y" : "x"}[p.first + row * p.stride + col];
  y[p.outFirst + row * p.outStride + col] = value * by[p.by + col];
}
`,
  };
}
