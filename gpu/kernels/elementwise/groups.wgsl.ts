/**
 * Sums over groups of columns, and their backward.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";

/** Threads of a workgroup. */
export const GROUPS_THREADS = 64;

const NUMBER =
  `let e = (group.x + group.y * groups.x) * ${GROUPS_THREADS}u + thread;`;

/**
 * `y[i, g] = Σ x[i, j]` over the columns of group `g`, of which each has `width`, in `pooled` groups.
 *
 * Groups: elements of y by {@linkcode GROUPS_THREADS}.
 */
export const POOL_COLUMNS = kernel({
  name: "poolColumns",
  params: { rows: "u32", cols: "u32", pooled: "u32", width: "u32" },
  reads: { x: "matrix f32" },
  writes: { y: "matrix f32" },
  workgroup: GROUPS_THREADS,
  body: `
  ${NUMBER}
  let i = e / p.pooled;
  let g = e % p.pooled;
  if (i >= p.rows) { return; }
  let begin = g * p.width;
  let count = min(p.width, p.cols - begin);
  let at = p.x + i * p.xStride + begin;
  var sum = 0.0;
  for (var j = 0u; j < count; j += 1u) { sum += x[at + j]; }
  y[p.y + i * p.yStride + g] = sum;`,
});

/** Addend of values that are spread: nothing, a matrix, or what their place holds. */
export type SpreadAdd = "none" | "other" | "out";

/**
 * `y[i, j] = x[i, j / width] + add`.
 *
 * Groups: elements of y by {@linkcode GROUPS_THREADS}.
 */
export const spreadColumnsKernel = (add: SpreadAdd) => {
  const plus = {
    none: "",
    other: " + add[p.add + i * p.addStride + j]",
    out: " + y[at]",
  }[add];
  return kernel({
    name: `spreadColumns, add ${add}`,
    params: { rows: "u32", cols: "u32", width: "u32" },
    reads: { x: "matrix f32", add: add === "other" && "matrix f32" },
    writes: { y: "matrix f32" },
    workgroup: GROUPS_THREADS,
    body: `
  ${NUMBER}
  let i = e / p.cols;
  let j = e % p.cols;
  if (i >= p.rows) { return; }
  let at = p.y + i * p.yStride + j;
  y[at] = x[p.x + i * p.xStride + j / p.width]${plus};`,
  });
};
