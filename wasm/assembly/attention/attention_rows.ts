/**
 * What the kernels of attention share: the words of a shape, which keys a query sees, rows of a tile.
 *
 * Every job of attention begins with the words 0 batch, 1 time, 2 keys, 3 capacity, 4 heads, 5 kvHeads, 6 headDim, 7 scale,
 * 8 causal, 9 past, 10 window, 11 bounds (0: none), 12 queries of a block, 13 scratch, 14 its size a thread, then 15 q,
 * 16 its stride, 17 k, 19 v, 21 out, each with its stride, 23 logSumExp.
 *
 * Work is dealt out by sequence, key and value head and block of queries. The query heads that share a key head are
 * worked together: row `r` of a block is query `r / group` of head `r % group`.
 */

import { word } from "../lib/args";
import { TILE_COLS } from "../gemm/gemm_micro";
import { packPanelColumns, packPanelRows } from "../gemm/gemm_pack";

/** Keys of a tile: whole strips and whole panels. */
export const TILE_KEYS: i32 = 160;

/** Bytes of a row of scores. */
export const SCORE_LINE: usize = <usize> TILE_KEYS << 2;

/** Bytes of one head's features, rounded up to whole panels. */
// @ts-ignore: decorator
@inline
export function lineOf(args: usize): usize {
  return <usize> ((word(args, 6) + 7) & ~7) << 2;
}

/** Bytes from a job's operand to the features of `head` in row `row`; `w` is the operand's word. */
// @ts-ignore: decorator
@inline
export function headAt(args: usize, w: i32, row: u32, head: u32): usize {
  return <usize> word(args, w) + <usize> row * word(args, w + 1) +
    (<usize> (head * word(args, 6)) << 2);
}

/** Address of a query's log-sum-exp, or 0. */
// @ts-ignore: decorator
@inline
export function logSumExpAt(args: usize, b: u32, head: u32, i: u32): usize {
  const at = <usize> word(args, 23);
  if (!at) return 0;
  return at +
    (<usize> ((b * word(args, 4) + head) * word(args, 1) + i) << 2);
}

/** The first key that query `i` of sequence `b` may see. */
export function seenFrom(args: usize, b: u32, i: u32): i32 {
  const bounds = <usize> word(args, 11);
  const window = <i32> word(args, 10);
  let from = 0;
  if (bounds) from = min(word(args, 2), load<u32>(bounds + (<usize> b << 3)));
  if (window) from = max(from, <i32> (word(args, 9) + i) - window + 1);
  return from;
}

/** One past the last key that query `i` of sequence `b` may see; at most {@linkcode seenFrom} where there is none. */
export function seenTo(args: usize, b: u32, i: u32): i32 {
  const bounds = <usize> word(args, 11);
  let to: i32 = word(args, 2);
  if (bounds) to = min<u32>(to, load<u32>(bounds + (<usize> b << 3), 4));
  if (word(args, 8)) to = min(to, <i32> (word(args, 9) + i) + 1);
  return to;
}

/** Packs the rows of `count` keys into panels of eight keys. `x` is the first key's features. */
export function packKeys(
  args: usize,
  p: usize,
  x: usize,
  stride: usize,
  count: i32,
): void {
  const n = <i32> word(args, 6);
  const panel = <usize> ((n + 3) >> 2) << 7;
  for (let j = 0; j < count; j += TILE_COLS, p += panel) {
    const cols = min(TILE_COLS, count - j);
    packPanelRows(p, x + <usize> j * stride, stride, n, cols, 1);
  }
}

/** Packs `count` rows into panels of eight features, `height` rows (a multiple of four) apart. */
export function packFeatures(
  args: usize,
  p: usize,
  x: usize,
  stride: usize,
  count: i32,
  height: i32,
): void {
  const n = <i32> word(args, 6);
  for (let f = 0; f < n; f += TILE_COLS, p += <usize> height << 5) {
    const cols = min(TILE_COLS, n - f);
    packPanelColumns(p, x + (<usize> f << 2), stride, count, cols, 1);
  }
}

/** Zeros values `from` to `to` of a row, both multiples of four. */
export function clear(x: usize, from: i32, to: i32): void {
  const zero = f32x4.splat(0);
  const end = x + (<usize> to << 2);
  for (let at = x + (<usize> from << 2); at < end; at += 16) {
    v128.store(at, zero);
  }
}

/** Makes what lies in `[c0, c1)` but not in `[from, to)` minus infinity. */
export function mask(x: usize, c0: i32, c1: i32, from: i32, to: i32): void {
  for (let c = c0; c < from; c++) {
    store<f32>(x + (<usize> c << 2), -Infinity);
  }
  for (let c = to; c < c1; c++) store<f32>(x + (<usize> c << 2), -Infinity);
}
