/**
 * Sums over groups of columns, and their backward.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";

/** Threads of a workgroup. */
export const GROUPS_THREADS = 64;

const MAIN = `
@compute @workgroup_size(${GROUPS_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let e = (group.x + group.y * groups.x) * ${GROUPS_THREADS}u + thread;`;

/**
 * `out[i, g] = Σ x[i, j]` over the columns of group `g`.
 *
 * Groups: elements of out by {@linkcode GROUPS_THREADS}. Parameters: rows, columns of x, columns of out, columns of a
 * group, first and stride of x and of out. Reads x, writes out.
 */
export const POOL_COLUMNS: Kernel = {
  name: "poolColumns",
  code: `
struct Params {
  rows: u32, cols: u32, pooled: u32, group: u32, x: u32, xStride: u32, y: u32, yStride: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
${MAIN}
  let i = e / p.pooled;
  let g = e % p.pooled;
  if (i >= p.rows) { return; }
  let begin = g * p.group;
  let count = min(p.group, p.cols - begin);
  let at = p.x + i * p.xStride + begin;
  var sum = 0.0;
  for (var j = 0u; j < count; j += 1u) { sum += x[at + j]; }
  y[p.y + i * p.yStride + g] = sum;
}
`,
};

/** What is added to values that are spread: nothing, a matrix, or what their place holds. */
export type SpreadAdd = "none" | "other" | "out";

/**
 * `out[i, j] = x[i, j / group] + add`.
 *
 * Groups: elements of out by {@linkcode GROUPS_THREADS}. Parameters: rows, columns of out, columns of a group, first and
 * stride of x, of out and of add. Reads x and an add that is `other`; writes out.
 */
export function spreadColumnsKernel(add: SpreadAdd): Kernel {
  const plus = {
    none: "",
    other: " + add[p.add + i * p.addStride + j]",
    out: " + y[at]",
  }[add];
  const other = add === "other";
  return {
    name: `spreadColumns, add ${add}`,
    code: `
struct Params {
  rows: u32, cols: u32, group: u32, x: u32, xStride: u32, y: u32, yStride: u32, add: u32, addStride: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
${other ? "@group(0) @binding(2) var<storage, read> add: array<f32>;" : ""}
@group(0) @binding(${other ? 3 : 2}) var<storage, read_write> y: array<f32>;
${MAIN}
  let i = e / p.cols;
  let j = e % p.cols;
  if (i >= p.rows) { return; }
  let at = p.y + i * p.yStride + j;
  y[at] = x[p.x + i * p.xStride + j / p.group]${plus};
}
`,
  };
}
