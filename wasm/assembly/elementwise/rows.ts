/**
 * Rows of activations: sums, gathering and scattering, dropout.
 *
 * Elementwise jobs begin with the words units, cols, span: rows are dealt out in pieces of `span` columns, so that
 * matrices without gaps can be passed as one long row.
 */

import { share } from "../lib/args";
import { storeWithin, valueAt } from "../lib/vector";

/** Rows whose sum is taken in f32 before it is added to the total, to keep rounding from piling up. */
const BLOCK: u32 = 64;

/** Pieces of a row. */
// @ts-ignore: decorator
@inline
export function piecesOf(cols: u32, span: u32): u32 {
  return (cols + span - 1) / span;
}

/** `out = alpha * x + beta * y`; `out` may be either. */
export function combineRow(
  x: usize,
  y: usize,
  out: usize,
  bytes: usize,
  alpha: f32,
  beta: f32,
): void {
  const a = f32x4.splat(alpha);
  const b = f32x4.splat(beta);
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const u = f32x4.mul(b, v128.load(y + at));
    const v = f32x4.mul(b, v128.load(y + at, 16));
    v128.store(out + at, f32x4.relaxed_madd(a, v128.load(x + at), u));
    v128.store(out + at, f32x4.relaxed_madd(a, v128.load(x + at, 16), v), 16);
  }
  for (; at < bytes; at += 16) {
    const u = f32x4.mul(b, v128.load(y + at));
    const v = f32x4.relaxed_madd(a, v128.load(x + at), u);
    storeWithin(out, at, bytes, v);
  }
}

/** `out = alpha * x`; `out` may be `x`. */
export function scaleRow(
  x: usize,
  out: usize,
  bytes: usize,
  alpha: f32,
): void {
  const a = f32x4.splat(alpha);
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const u = f32x4.mul(a, v128.load(x + at));
    const v = f32x4.mul(a, v128.load(x + at, 16));
    v128.store(out + at, u);
    v128.store(out + at, v, 16);
  }
  for (; at < bytes; at += 16) {
    storeWithin(out, at, bytes, f32x4.mul(a, v128.load(x + at)));
  }
}

/** Words of {@linkcode combine}. */
// @ts-ignore: decorator
@unmanaged
class Combine {
  units: u32;
  cols: u32;
  span: u32;
  x: usize;
  xStride: usize;
  y: usize; // 0: none
  yStride: usize;
  out: usize;
  outStride: usize;
  alpha: f32;
  beta: f32;
}

export function combine(args: Combine, part: u32, parts: u32): void {
  const units = args.units;
  const cols = args.cols;
  const span = args.span;
  const pieces = piecesOf(args.cols, args.span);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    const bytes = <usize> min(span, cols - j) << 2;
    const x = valueAt(args.x, args.xStride, i, j);
    const out = valueAt(args.out, args.outStride, i, j);
    if (args.y) {
      const y = valueAt(args.y, args.yStride, i, j);
      combineRow(x, y, out, bytes, args.alpha, args.beta);
    } else {
      scaleRow(x, out, bytes, args.alpha);
    }
  }
}

/** Words of {@linkcode addRow}. */
// @ts-ignore: decorator
@unmanaged
class AddRow {
  rows: u32;
  cols: u32;
  x: usize;
  xStride: usize;
  row: usize;
  out: usize;
  outStride: usize;
}

export function addRow(args: AddRow, part: u32, parts: u32): void {
  const rows = args.rows;
  const bytes = <usize> args.cols << 2;
  const row = args.row;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    combineRow(valueAt(args.x, args.xStride, i, 0), row, valueAt(args.out, args.outStride, i, 0), bytes, 1, 1);
  }
}

/** Words of {@linkcode columnSums}. `beta`: 0 or 1; `squared`: whether values are. Parts own columns. */
// @ts-ignore: decorator
@unmanaged
class ColumnSums {
  rows: u32;
  cols: u32;
  x: usize;
  xStride: usize;
  out: usize;
  beta: u32;
  squared: u32;
}

export function columnSums(args: ColumnSums, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const ldx = args.xStride;
  const out = args.out;
  const add = args.beta != 0;
  const square = args.squared != 0;
  const groups = (cols + 7) >> 3;
  const end = min(cols, share(groups, part + 1, parts) << 3);
  for (let j = share(groups, part, parts) << 3; j < end; j += 8) {
    let x = valueAt(args.x, args.xStride, 0, j);
    let t0 = f32x4.splat(0);
    let t1 = t0;
    for (let i: u32 = 0; i < rows; i += BLOCK) {
      let s0 = f32x4.splat(0);
      let s1 = s0;
      for (let k = min(BLOCK, rows - i); k > 0; k--, x += ldx) {
        let x0 = v128.load(x);
        let x1 = v128.load(x, 16);
        if (square) {
          x0 = f32x4.mul(x0, x0);
          x1 = f32x4.mul(x1, x1);
        }
        s0 = f32x4.add(s0, x0);
        s1 = f32x4.add(s1, x1);
      }
      t0 = f32x4.add(t0, s0);
      t1 = f32x4.add(t1, s1);
    }
    addTo(out, j, cols, t0, t1, add);
  }
}

/** Stores the values of columns `j` to `j + 8` that exist, or adds them to what is there. */
// @ts-ignore: decorator
@inline
export function addTo(
  out: usize,
  j: u32,
  cols: u32,
  t0: v128,
  t1: v128,
  add: bool,
): void {
  const at = <usize> j << 2;
  const bytes = <usize> cols << 2;
  if (add) {
    t0 = f32x4.add(t0, v128.load(out + at));
    t1 = f32x4.add(t1, v128.load(out + at, 16));
  }
  storeWithin(out, at, bytes, t0);
  if (at + 16 < bytes) storeWithin(out, at + 16, bytes, t1);
}

/** Words of {@linkcode gatherRows}. */
// @ts-ignore: decorator
@unmanaged
class GatherRows {
  rows: u32;
  cols: u32;
  table: usize;
  tableStride: usize;
  ids: usize;
  out: usize;
  outStride: usize;
}

export function gatherRows(args: GatherRows, part: u32, parts: u32): void {
  const rows = args.rows;
  const bytes = <usize> args.cols << 2;
  const ids = args.ids;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const id = load<u32>(ids + (<usize> i << 2));
    memory.copy(valueAt(args.out, args.outStride, i, 0), valueAt(args.table, args.tableStride, id, 0), bytes);
  }
}

/** Words of {@linkcode scatterRows}. Parts own columns, so that rows meet in order. */
// @ts-ignore: decorator
@unmanaged
class ScatterRows {
  rows: u32;
  cols: u32;
  x: usize;
  xStride: usize;
  ids: usize;
  table: usize;
  tableStride: usize;
}

export function scatterRows(args: ScatterRows, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const ids = args.ids;
  const groups = (cols + 15) >> 4;
  const j = share(groups, part, parts) << 4;
  const end = min(cols, share(groups, part + 1, parts) << 4);
  if (j >= end) return;
  const bytes = <usize> (end - j) << 2;
  for (let i: u32 = 0; i < rows; i++) {
    const out = valueAt(args.table, args.tableStride, load<u32>(ids + (<usize> i << 2)), j);
    combineRow(valueAt(args.x, args.xStride, i, j), out, out, bytes, 1, 1);
  }
}

/** One mix of `src/device/dropout.ts`: of the seed, then of that plus the number of the element. */
// @ts-ignore: decorator
@inline
function mix(x: v128, m1: v128, m2: v128): v128 {
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 16)), m1);
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 15)), m2);
  return v128.xor(x, i32x4.shr_u(x, 16));
}

/** The multipliers of the hash and the numbers of four elements; see `../lib/exp.ts` for why they are in memory. */
const HASH: usize = memory.data<i32>([0x7feb352d, 0x846ca68b, 0, 1, 2, 3]);

/** Words of {@linkcode dropout}. `least`: the least hash that is kept. */
// @ts-ignore: decorator
@unmanaged
class Dropout {
  units: u32;
  cols: u32;
  span: u32;
  x: usize;
  xStride: usize;
  out: usize;
  outStride: usize;
  seed: u32;
  least: u32;
  factor: f32;
}

export function dropout(args: Dropout, part: u32, parts: u32): void {
  const units = args.units;
  const cols = args.cols;
  const span = args.span;
  const pieces = piecesOf(args.cols, args.span);
  const least = i32x4.splat(args.least);
  const factor = f32x4.splat(args.factor);
  const m1 = v128.load32_splat(HASH);
  const m2 = v128.load32_splat(HASH, 4);
  const four = i32x4.splat(4);
  const first = i32x4.add(
    mix(i32x4.splat(args.seed), m1, m2),
    v128.load(HASH, 8),
  );
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    const bytes = <usize> min(span, cols - j) << 2;
    const x = valueAt(args.x, args.xStride, i, j);
    const out = valueAt(args.out, args.outStride, i, j);
    let e = i32x4.add(first, i32x4.splat(i * cols + j));
    for (let at: usize = 0; at < bytes; at += 16, e = i32x4.add(e, four)) {
      const kept = i32x4.ge_u(mix(e, m1, m2), least);
      const v = f32x4.mul(v128.load(x + at), factor);
      storeWithin(out, at, bytes, v128.and(v, kept));
    }
  }
}
