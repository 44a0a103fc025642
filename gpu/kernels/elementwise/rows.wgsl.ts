/**
 * Kernels on rows and columns: combinations, dropout, look-ups, sums down the columns.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";
import type { MapText } from "./map.wgsl.ts";

/** `out = alpha * x`. */
export const SCALE: MapText = {
  name: "combine",
  reads: ["x"],
  writes: ["out"],
  fields: "alpha: f32,",
  body: `
    let out = p.alpha * x;`,
};

/**
 * `out = x` rounded to the nearest f16, ties to even. On bits, so that no compiler's arithmetic plays a part: a normal value
 * loses 13 bits of its fraction, below 2^-14 multiples of 2^-24 remain.
 */
export const ROUND_HALF: MapText = {
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
};

/** `out = alpha * x + beta * y`. */
export const COMBINE: MapText = {
  name: "combine two",
  reads: ["x", "y"],
  writes: ["out"],
  fields: "alpha: f32, beta: f32,",
  body: `
    let out = p.alpha * x + p.beta * y;`,
};

/**
 * `out = x * factor` where the hash of `src/device/dropout.ts` is at least the threshold, else 0. Element numbers are
 * those of the whole matrix, `width` columns wide, in which this part begins at number `begin`.
 */
export const DROPOUT: MapText = {
  name: "dropout",
  reads: ["x"],
  writes: ["out"],
  fields: "begin: u32, width: u32, seed: u32, threshold: u32, factor: f32,",
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
};

/** Threads of a workgroup of look-ups. */
export const ROWS_THREADS = 64;

/** Where a part of a table is, and of the rows that go in or come out; firsts and strides in elements. */
const LOOKUP = `
struct Params {
  // Rows of x or out, columns.
  rows: u32, cols: u32,
  // Row numbers [begin, begin + count) are in this part of the table.
  begin: u32, count: u32,
  ids: u32, table: u32, tableStride: u32, x: u32, xStride: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;`;

/**
 * `out[i, :] = table[ids[i], :]` where that row is in this part of the table. Bits are copied, not numbers.
 *
 * Groups: elements of out by {@linkcode ROWS_THREADS}. Parameters: rows, cols, begin and count of the part, first of ids,
 * first and stride of table and of out. Reads ids and table, writes out.
 */
export const GATHER_ROWS: Kernel = {
  name: "gatherRows",
  code: `${LOOKUP}
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(${ROWS_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = (group.x + group.y * groups.x) * ${ROWS_THREADS}u + thread;
  let row = i / p.cols;
  let col = i % p.cols;
  if (row >= p.rows) { return; }
  // Below the part this is a large number.
  let id = ids[p.ids + row] - p.begin;
  if (id >= p.count) { return; }
  y[p.x + row * p.xStride + col] = table[p.table + id * p.tableStride + col];
}
`,
};

/**
 * `table[ids[i], :] += x[i, :]` where that row is in this part of the table. A thread a column, which takes the rows in
 * their order.
 *
 * Groups: columns by {@linkcode ROWS_THREADS}. Parameters as {@linkcode GATHER_ROWS}, with x for out. Reads ids and x,
 * changes table.
 */
export const SCATTER_ROWS: Kernel = {
  name: "scatterRows",
  code: `${LOOKUP}
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> table: array<f32>;

@compute @workgroup_size(${ROWS_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let col = (group.x + group.y * groups.x) * ${ROWS_THREADS}u + thread;
  if (col >= p.cols) { return; }
  for (var row = 0u; row < p.rows; row += 1u) {
    let id = ids[p.ids + row] - p.begin;
    if (id < p.count) {
      table[p.table + id * p.tableStride + col] += x[p.x + row * p.xStride + col];
    }
  }
}
`,
};

/** Threads of a workgroup of {@linkcode columnSumsKernel}. */
const SUM_THREADS = 256;

/**
 * What is summed: the values, their squares, or the terms of a norm's weight, `dy * x * inverse` with `x` for dy, for a
 * layer norm `dy * (x - mean) * inverse`.
 */
export type ColumnTerm = "values" | "squares" | "weight" | "centred";

/** Columns that a workgroup sums, for so many in all: neighbours are read together, and a single one by all threads. */
export function sumWidth(cols: number): number {
  return cols >= 16 ? 16 : 1;
}

/**
 * `out[j] = Σ_i term(i, j)`, added to what is there where `add` is 1. Each thread adds every so many rows of a column,
 * then a tree adds the threads'.
 *
 * Groups: columns by {@linkcode sumWidth}. Parameters: rows, cols, first and stride of x, first of out, add, and for a
 * weight first and stride of the other matrix, first of inverse and of the mean. Reads x and for a weight the other,
 * inverse and, where it is centred, the mean; writes out.
 */
export function columnSumsKernel(term: ColumnTerm, width: number): Kernel {
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
  return {
    name: `columnSums, ${term} by ${width}`,
    code: `
struct Params {
  rows: u32, cols: u32, first: u32, stride: u32, out: u32, add: u32,
  other: u32, otherStride: u32, inverse: u32, mean: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
${
      weight
        ? `@group(0) @binding(2) var<storage, read> other: array<f32>;
@group(0) @binding(3) var<storage, read> inverse: array<f32>;`
        : ""
    }
${centred ? "@group(0) @binding(4) var<storage, read> mean: array<f32>;" : ""}
@group(0) @binding(${
      centred ? 5 : weight ? 4 : 2
    }) var<storage, read_write> y: array<f32>;
var<workgroup> sums: array<f32, ${SUM_THREADS}>;

@compute @workgroup_size(${SUM_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let col = (group.x + group.y * groups.x) * ${width}u + thread % ${width}u;
  var sum = 0.0;
  if (col < p.cols) {
    for (var row = thread / ${width}u; row < p.rows; row += ${lanes}u) {
      let value = x[p.first + row * p.stride + col];
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
    if (p.add == 1u) { total += y[p.out + col]; }
    y[p.out + col] = total;
  }
}
`,
  };
}
