/**
 * Kernels on rows and columns: combinations, dropout, look-ups, sums down the columns.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import { map } from "./map.wgsl.ts";

/** `out = alpha * x`. */
export const SCALE = map({
  name: "combine",
  reads: ["x"],
  writes: ["out"],
  params: { alpha: "f32" },
  body: `
    let out = p.alpha * x;`,
});

/**
 * `out = x` rounded to the nearest f16, ties to even. On bits, so that no compiler's arithmetic plays a part: a normal value
 * loses 13 bits of its fraction, below 2^-14 multiples of 2^-24 remain.
 */
export const ROUND_HALF = map({
  name: "roundHalf",
  reads: ["x"],
  writes: ["out"],
  body: `
    let bits = bitcast<u32>(x);
    let size = bits & 0x7fffffffu;
    var half = (size + 0xfffu + ((size >> 13u) & 1u)) & 0xffffe000u;
    if (size >= 0x477ff000u && size <= 0x7f800000u) { half = 0x7f800000u; }
    if (size > 0x7f800000u) { half = 0x7fc00000u; }
    if (size < 0x38800000u) {
      half = bitcast<u32>(round(bitcast<f32>(size) * 16777216.0) * 5.9604644775390625e-8);
    }
    let out = bitcast<f32>(half | (bits & 0x80000000u));`,
});

/** `out = alpha * x + beta * y`. */
export const COMBINE = map({
  name: "combine two",
  reads: ["x", "y"],
  writes: ["out"],
  params: { alpha: "f32", beta: "f32" },
  body: `
    let out = p.alpha * x + p.beta * y;`,
});

/**
 * `out = x * factor` where the hash of `src/device/dropout.ts` is at least the threshold, else 0. Element numbers are
 * those of the whole matrix, `width` columns wide, in which this part begins at number `begin`.
 */
export const DROPOUT = map({
  name: "dropout",
  reads: ["x"],
  writes: ["out"],
  params: {
    ...{ begin: "u32", width: "u32", seed: "u32", threshold: "u32" },
    factor: "f32",
  },
  helpers: `
fn mixed(value: u32) -> u32 {
  var x = value;
  x ^= x >> 16u;
  x *= 0x7feb352du;
  x ^= x >> 15u;
  x *= 0x846ca68bu;
  x ^= x >> 16u;
  return x;
}
`,
  body: `
    let hash = mixed(mixed(p.seed) + p.begin + row * p.width + col);
    let out = select(0.0, x * p.factor, hash >= p.threshold);`,
});

/** Threads of a workgroup of look-ups. */
export const ROWS_THREADS = 64;

/** Rows and columns of x or y; row numbers `[begin, begin + count)` are in this part of the table. */
const LOOKUP = {
  rows: "u32",
  cols: "u32",
  begin: "u32",
  count: "u32",
} as const;

const NUMBER = `(group.x + group.y * groups.x) * ${ROWS_THREADS}u + thread`;

/**
 * `y[i, :] = table[ids[i], :]` where that row is in this part of the table. Bits are copied, not numbers.
 *
 * Groups: elements of y by {@linkcode ROWS_THREADS}.
 */
export const GATHER_ROWS = kernel({
  name: "gatherRows",
  params: LOOKUP,
  reads: { ids: "vector u32", table: "matrix u32" },
  writes: { y: "matrix u32" },
  workgroup: ROWS_THREADS,
  body: `
  let i = ${NUMBER};
  let row = i / p.cols;
  let col = i % p.cols;
  if (row >= p.rows) { return; }
  // Below the part this is a large number.
  let id = ids[p.ids + row] - p.begin;
  if (id >= p.count) { return; }
  y[p.y + row * p.yStride + col] = table[p.table + id * p.tableStride + col];`,
});

/**
 * `table[ids[i], :] += x[i, :]` where that row is in this part of the table. A thread a column, which takes the rows in
 * their order.
 *
 * Groups: columns by {@linkcode ROWS_THREADS}.
 */
export const SCATTER_ROWS = kernel({
  name: "scatterRows",
  params: LOOKUP,
  reads: { ids: "vector u32", x: "matrix f32" },
  writes: { table: "matrix f32" },
  workgroup: ROWS_THREADS,
  body: `
  let col = ${NUMBER};
  if (col >= p.cols) { return; }
  for (var row = 0u; row < p.rows; row += 1u) {
    let id = ids[p.ids + row] - p.begin;
    if (id < p.count) {
      table[p.table + id * p.tableStride + col] += x[p.x + row * p.xStride + col];
    }
  }`,
});

/** Threads of a workgroup of {@linkcode columnSumsKernel}. */
const SUM_THREADS = 256;

/**
 * Terms that are summed: the values, their squares, or the terms of a norm's weight, `dy * x * inverse` with `x` for dy, for a
 * layer norm `dy * (x - mean) * inverse`.
 */
export type ColumnTerm = "values" | "squares" | "weight" | "centred";

/** Columns that a workgroup sums, for so many in all: neighbours are read together, and a single one by all threads. */
export function sumWidth(cols: number): number {
  return cols >= 16 ? 16 : 1;
}

/**
 * `y[j] = Σ_i term(i, j)`, added to what is there where `add` is 1. Each thread adds every so many rows of a column,
 * then a tree adds the threads'.
 *
 * Groups: columns by {@linkcode sumWidth}.
 */
export const columnSumsKernel = (term: ColumnTerm, width: number) => {
  const lanes = SUM_THREADS / width;
  const centred = term === "centred";
  const weight = term === "weight" || centred;
  const value = {
    values: "value",
    squares: "value * value",
    weight:
      "value * other[p.other + row * p.otherStride + col] * inverse[p.inverse + row]",
    centred:
      "value * (other[p.other + row * p.otherStride + col] - mean[p.mean + row]) * inverse[p.inverse + row]",
  }[term];
  return kernel({
    name: `columnSums, ${term} by ${width}`,
    params: { rows: "u32", cols: "u32", add: "u32" },
    reads: {
      x: "matrix f32",
      other: weight && "matrix f32",
      inverse: weight && "vector f32",
      mean: centred && "vector f32",
    },
    writes: { y: "vector f32" },
    workgroup: SUM_THREADS,
    helpers: `var<workgroup> sums: array<f32, ${SUM_THREADS}>;`,
    body: `
  let col = (group.x + group.y * groups.x) * ${width}u + thread % ${width}u;
  var sum = 0.0;
  if (col < p.cols) {
    for (var row = thread / ${width}u; row < p.rows; row += ${lanes}u) {
      let value = x[p.x + row * p.xStride + col];
      sum += ${value};
    }
  }
  sums[thread] = sum;
  workgroupBarrier();
  for (var half = ${SUM_THREADS >> 1}u; half >= ${width}u; half >>= 1u) {
    if (thread < half) { sums[thread] += sums[thread + half]; }
    workgroupBarrier();
  }
  if (thread < ${width}u && col < p.cols) {
    var total = sums[thread];
    if (p.add == 1u) { total += y[p.y + col]; }
    y[p.y + col] = total;
  }`,
  });
};
