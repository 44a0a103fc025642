/**
 * Rows of activations: sums, gathering and scattering, dropout.
 *
 * Elementwise jobs begin with the words units, cols, span: rows are dealt out in pieces of `span` columns, so that
 * matrices without gaps can be passed as one long row.
 */

import { float, share, word } from "../lib/args";
import { element, storeWithin } from "../lib/vector";

/** Rows whose sum is taken in f32 before it is added to the total, to keep rounding from piling up. */
const BLOCK: u32 = 64;

/** Pieces of a row. */
// @ts-ignore: decorator
@inline
export function piecesOf(args: usize): u32 {
  return (word(args, 1) + word(args, 2) - 1) / word(args, 2);
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

/** Job: words are units, cols, span, x, its stride, y (0: none), its stride, out, its stride, alpha, beta. */
export function combine(args: usize, part: u32, parts: u32): void {
  const units = word(args, 0);
  const cols = word(args, 1);
  const span = word(args, 2);
  const pieces = piecesOf(args);
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    const bytes = <usize> min(span, cols - j) << 2;
    const x = element(args, 3, i, j);
    const out = element(args, 7, i, j);
    if (word(args, 5)) {
      const y = element(args, 5, i, j);
      combineRow(x, y, out, bytes, float(args, 9), float(args, 10));
    } else {
      scaleRow(x, out, bytes, float(args, 9));
    }
  }
}

/** Job: words are rows, cols, x, its stride, row, out, its stride. */
export function addRow(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const bytes = <usize> word(args, 1) << 2;
  const row = <usize> word(args, 4);
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    combineRow(element(args, 2, i, 0), row, element(args, 5, i, 0), bytes, 1, 1);
  }
}

/** Job: words are rows, cols, x, its stride, out, beta (0 or 1), whether values are squared. Parts own columns. */
export function columnSums(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const cols = word(args, 1);
  const ldx = <usize> word(args, 3);
  const out = <usize> word(args, 4);
  const add = word(args, 5) != 0;
  const square = word(args, 6) != 0;
  const groups = (cols + 7) >> 3;
  const end = min(cols, share(groups, part + 1, parts) << 3);
  for (let j = share(groups, part, parts) << 3; j < end; j += 8) {
    let x = element(args, 2, 0, j);
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

/** Job: words are rows, cols, table, its stride, ids, out, its stride. */
export function gatherRows(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const bytes = <usize> word(args, 1) << 2;
  const ids = <usize> word(args, 4);
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const id = load<u32>(ids + (<usize> i << 2));
    memory.copy(element(args, 5, i, 0), element(args, 2, id, 0), bytes);
  }
}

/** Job: words are rows, cols, x, its stride, ids, table, its stride. Parts own columns, so that rows meet in order. */
export function scatterRows(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const cols = word(args, 1);
  const ids = <usize> word(args, 4);
  const groups = (cols + 15) >> 4;
  const j = share(groups, part, parts) << 4;
  const end = min(cols, share(groups, part + 1, parts) << 4);
  if (j >= end) return;
  const bytes = <usize> (end - j) << 2;
  for (let i: u32 = 0; i < rows; i++) {
    const out = element(args, 5, load<u32>(ids + (<usize> i << 2)), j);
    combineRow(element(args, 2, i, j), out, out, bytes, 1, 1);
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

/** Job: words are units, cols, span, x, its stride, out, its stride, seed, least hash that is kept, factor. */
export function dropout(args: usize, part: u32, parts: u32): void {
  const units = word(args, 0);
  const cols = word(args, 1);
  const span = word(args, 2);
  const pieces = piecesOf(args);
  const least = i32x4.splat(word(args, 8));
  const factor = f32x4.splat(float(args, 9));
  const m1 = v128.load32_splat(HASH);
  const m2 = v128.load32_splat(HASH, 4);
  const four = i32x4.splat(4);
  const first = i32x4.add(
    mix(i32x4.splat(word(args, 7)), m1, m2),
    v128.load(HASH, 8),
  );
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const i = u / pieces;
    const j = (u - i * pieces) * span;
    const bytes = <usize> min(span, cols - j) << 2;
    const x = element(args, 3, i, j);
    const out = element(args, 5, i, j);
    let e = i32x4.add(first, i32x4.splat(i * cols + j));
    for (let at: usize = 0; at < bytes; at += 16, e = i32x4.add(e, four)) {
      const kept = i32x4.ge_u(mix(e, m1, m2), least);
      const v = f32x4.mul(v128.load(x + at), factor);
      storeWithin(out, at, bytes, v128.and(v, kept));
    }
  }
}
