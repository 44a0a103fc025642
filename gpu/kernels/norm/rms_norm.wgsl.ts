/**
 * Norms, a workgroup a row: each thread adds every so many terms, then a tree adds the threads', in an order that
 * depends on nothing but the number of columns.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";

/** Threads for rows of so many columns. */
export function rowThreads(cols: number): number {
  return cols > 512 ? 256 : 64;
}

/** `total(value, thread)`: the sum of every thread's value, in all of them. */
export function sumText(threads: number): string {
  return `
var<workgroup> sums: array<f32, ${threads}>;

fn total(value: f32, thread: u32) -> f32 {
  // Somebody may still read the last total.
  workgroupBarrier();
  sums[thread] = value;
  workgroupBarrier();
  for (var width = ${threads >> 1}u; width > 0u; width >>= 1u) {
    if (thread < width) { sums[thread] += sums[thread + width]; }
    workgroupBarrier();
  }
  return sums[0];
}
`;
}

/** The head of an entry point with a workgroup a row: its row `i`, and whether it is `inside` the matrix. */
export function rowMain(threads: number): string {
  return `
@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = group.x + group.y * groups.x;
  // A workgroup too many does the last row again, and stores nothing.
  let inside = row < p.rows;
  let i = min(row, p.rows - 1u);`;
}

/**
 * `out = x * inverse * weight`, `inverse = 1 / sqrt(mean x² + epsilon)`.
 *
 * Groups: rows. Parameters: rows, cols, first and stride of x and of out, first of weight, first of inverse, epsilon
 * (f32). Reads x and weight, writes out and inverse.
 */
export function rmsNormKernel(threads: number): Kernel {
  return {
    name: `rmsNorm, ${threads} threads`,
    code: `
struct Params {
  rows: u32, cols: u32, x: u32, xStride: u32, y: u32, yStride: u32, weight: u32, inverse: u32, epsilon: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> inverse: array<f32>;
${sumText(threads)}
${rowMain(threads)}
  let at = p.x + i * p.xStride;
  var squares = 0.0;
  for (var j = thread; j < p.cols; j += ${threads}u) {
    squares += x[at + j] * x[at + j];
  }
  let by = 1.0 / sqrt(total(squares, thread) / f32(p.cols) + p.epsilon);
  if (!inside) { return; }
  if (thread == 0u) { inverse[p.inverse + i] = by; }
  for (var j = thread; j < p.cols; j += ${threads}u) {
    y[p.y + i * p.yStride + j] = x[at + j] * by * weight[p.weight + j];
  }
}
`,
  };
}

/** What is added to the gradient of a norm's input: nothing, a matrix, or what the gradient's place holds. */
export type NormAdd = "none" | "other" | "dx";

/**
 * `dx = inverse * (g - x * inverse² * mean(g * x)) + add`, `g = dy * weight`.
 *
 * Groups: rows. Parameters: rows, cols, first and stride of dy, of x, of dx and of add, first of weight, first of inverse.
 * Reads dy, x, weight, inverse and an add that is `other`; writes dx.
 */
export function rmsNormBackwardKernel(threads: number, add: NormAdd): Kernel {
  const plus = {
    none: "",
    other: " + add[p.add + i * p.addStride + j]",
    dx: " + dx[out + j]",
  }[add];
  const other = add === "other";
  return {
    name: `rmsNormBackward, ${threads} threads, add ${add}`,
    code: `
struct Params {
  rows: u32, cols: u32, dy: u32, dyStride: u32, x: u32, xStride: u32,
  dx: u32, dxStride: u32, add: u32, addStride: u32, weight: u32, inverse: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> inverse: array<f32>;
${other ? "@group(0) @binding(5) var<storage, read> add: array<f32>;" : ""}
@group(0) @binding(${other ? 6 : 5}) var<storage, read_write> dx: array<f32>;
${sumText(threads)}
${rowMain(threads)}
  let dyAt = p.dy + i * p.dyStride;
  let at = p.x + i * p.xStride;
  let out = p.dx + i * p.dxStride;
  var sum = 0.0;
  for (var j = thread; j < p.cols; j += ${threads}u) {
    sum += dy[dyAt + j] * weight[p.weight + j] * x[at + j];
  }
  let by = inverse[p.inverse + i];
  let mean = total(sum, thread) / f32(p.cols) * by * by;
  if (!inside) { return; }
  for (var j = thread; j < p.cols; j += ${threads}u) {
    let g = dy[dyAt + j] * weight[p.weight + j];
    dx[out + j] = by * (g - x[at + j] * mean)${plus};
  }
}
`,
  };
}
