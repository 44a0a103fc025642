/**
 * Norms, a workgroup a row: each thread adds every so many terms, then a tree adds the threads', in an order that
 * depends on nothing but the number of columns. Groups: rows.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";

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

/** The start of a body with a workgroup a row: its row `i`, and whether it is `inside` the matrix. */
export const ROW = `
  let row = group.x + group.y * groups.x;
  // A workgroup too many does the last row again, and stores nothing.
  let inside = row < p.rows;
  let i = min(row, p.rows - 1u);`;

/** `y = x * inverse * weight`, `inverse = 1 / sqrt(mean x² + epsilon)`. */
export const rmsNormKernel = (threads: number) =>
  kernel({
    name: `rmsNorm, ${threads} threads`,
    params: { rows: "u32", cols: "u32", epsilon: "f32" },
    reads: { x: "matrix f32", weight: "vector f32" },
    writes: { y: "matrix f32", inverse: "vector f32" },
    workgroup: threads,
    helpers: sumText(threads),
    body: `${ROW}
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
  }`,
  });

/** Addend of the gradient of a norm's input: nothing, a matrix, or what the gradient's place holds. */
export type NormAdd = "none" | "other" | "dx";

/** The term that is added to element `j` of a row of `dx` that begins at `out`. */
export const addText = (add: NormAdd) =>
  ({
    none: "",
    other: " + add[p.add + i * p.addStride + j]",
    dx: " + dx[out + j]",
  })[add];

/** `dx = inverse * (g - x * inverse² * mean(g * x)) + add`, `g = dy * weight`. */
export const rmsNormBackwardKernel = (threads: number, add: NormAdd) =>
  kernel({
    name: `rmsNormBackward, ${threads} threads, add ${add}`,
    params: { rows: "u32", cols: "u32" },
    reads: {
      ...{ dy: "matrix f32", x: "matrix f32" },
      ...{ weight: "vector f32", inverse: "vector f32" },
      add: add === "other" && "matrix f32",
    },
    writes: { dx: "matrix f32" },
    workgroup: threads,
    helpers: sumText(threads),
    body: `${ROW}
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
    dx[out + j] = by * (g - x[at + j] * mean)${addText(add)};
  }`,
  });
