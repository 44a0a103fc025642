/**
 * Common parts of the kernels of attention: the words of a shape, the keys that a query sees, rows of a tile.
 *
 * Work is dealt out by sequence, key and value head and block of queries. The query heads that share a key head are
 * worked together: row `r` of a block is query `r / group` of head `r % group`.
 */

import { TILE_COLS } from "../gemm/gemm_micro";
import { packPanelColumns, packPanelRows } from "../gemm/gemm_pack";

/** Keys of a tile: whole strips and whole panels. */
export const TILE_KEYS: i32 = 160;

/** Bytes of a row of scores. */
export const SCORE_LINE: usize = <usize> TILE_KEYS << 2;

/** Words that every job of attention begins with. */
// @ts-ignore: decorator
@unmanaged
export class Attention {
  batch: u32;
  time: u32;
  keys: u32;
  capacity: u32;
  heads: u32;
  kvHeads: u32;
  headDim: u32;
  scale: f32;
  causal: u32;
  past: u32;
  window: u32;
  bounds: usize; // 0: none
  block: u32; // queries of a block
  scratch: usize;
  scratchBytes: u32; // of a thread
  q: usize;
  qStride: usize;
  k: usize;
  kStride: usize;
  v: usize;
  vStride: usize;
  out: usize;
  outStride: usize;
  logSumExp: usize; // 0: none
}

/** Bytes of one head's features, rounded up to whole panels. */
// @ts-ignore: decorator
@inline
export function lineOf(args: Attention): usize {
  return <usize> ((args.headDim + 7) & ~7) << 2;
}

/** Address of the features of `head` in row `row` of an operand. */
// @ts-ignore: decorator
@inline
export function headAt(
  args: Attention,
  origin: usize,
  stride: usize,
  row: u32,
  head: u32,
): usize {
  return origin + <usize> row * stride + (<usize> (head * args.headDim) << 2);
}

/** Address of a query's log-sum-exp, or 0. */
// @ts-ignore: decorator
@inline
export function logSumExpAt(args: Attention, b: u32, head: u32, i: u32): usize {
  const at = args.logSumExp;
  if (!at) return 0;
  return at +
    (<usize> ((b * args.heads + head) * args.time + i) << 2);
}

/** The first key that query `i` of sequence `b` may see. */
export function seenFrom(args: Attention, b: u32, i: u32): i32 {
  const bounds = args.bounds;
  const window = <i32> args.window;
  let from = 0;
  if (bounds) from = min(args.keys, load<u32>(bounds + (<usize> b << 3)));
  if (window) from = max(from, <i32> (args.past + i) - window + 1);
  return from;
}

/** One past the last key that query `i` of sequence `b` may see; at most {@linkcode seenFrom} where there is none. */
export function seenTo(args: Attention, b: u32, i: u32): i32 {
  const bounds = args.bounds;
  let to: i32 = args.keys;
  if (bounds) to = min<u32>(to, load<u32>(bounds + (<usize> b << 3), 4));
  if (args.causal) to = min(to, <i32> (args.past + i) + 1);
  return to;
}

/** Packs the rows of `count` keys into panels of eight keys. `x` is the first key's features. */
export function packKeys(
  args: Attention,
  p: usize,
  x: usize,
  stride: usize,
  count: i32,
): void {
  const n = <i32> args.headDim;
  const panel = <usize> ((n + 3) >> 2) << 7;
  for (let j = 0; j < count; j += TILE_COLS, p += panel) {
    const cols = min(TILE_COLS, count - j);
    packPanelRows(p, x + <usize> j * stride, stride, n, cols, 1);
  }
}

/** Packs `count` rows into panels of eight features, `height` rows (a multiple of four) apart. */
export function packFeatures(
  args: Attention,
  p: usize,
  x: usize,
  stride: usize,
  count: i32,
  height: i32,
): void {
  const n = <i32> args.headDim;
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
