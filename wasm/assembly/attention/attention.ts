/**
 * Attention, block by block of queries, over tiles of keys, with the softmax kept up as the tiles go by (Dao et al.,
 * 2205.14135; Milakov and Gimelshein, 1805.02867).
 *
 * A tile's keys and values are packed as panels, its queries and weights as strips of the product's micro-kernel.
 * Keys that the whole of a block or strip may not see are left out, to the granularity of a panel.
 *
 * Scratch memory, line = bytes of a head: panels of keys and of values (a line a key), scores of a strip, the same packed,
 * five rows of queries, then by strips of the block: state (first and last key, maximum, sum of each row), queries,
 * sums of values.
 */

import { share } from "../lib/args";
import {
  clear,
  headAt,
  lineOf,
  logSumExpAt,
  mask,
  packFeatures,
  packKeys,
  SCORE_LINE,
  seenFrom,
  seenTo,
  TILE_KEYS,
  Attention,
} from "./attention_rows";
import { exp1, expSum, logarithm, rowMax } from "../lib/exp";
import { micro, TILE_COLS, TILE_ROWS } from "../gemm/gemm_micro";
import { packStripRows } from "../gemm/gemm_pack";
import { scaleRow } from "../elementwise/rows";

/** Copies a row times `factor`, with zeros up to `line` bytes. */
export function stageRow(
  x: usize,
  out: usize,
  bytes: usize,
  line: usize,
  factor: f32,
): void {
  scaleRow(x, out, bytes, factor);
  for (let at = bytes; at < line; at += 4) store<f32>(out + at, 0);
}

/**
 * Takes columns `[c0, c1)` of a row of scores, of which the query sees `[from, to)`, into its softmax: the scores become
 * weights relative to the row's new maximum, the sums so far are scaled to it.
 */
export function softmaxRow(
  x: usize,
  c0: i32,
  c1: i32,
  from: i32,
  to: i32,
  state: usize,
  out: usize,
  line: usize,
): void {
  from = max(from, c0);
  to = min(to, c1);
  if (from >= to) {
    clear(x, c0, c1);
    return;
  }
  mask(x, c0, c1, from, to);
  const at = x + (<usize> c0 << 2);
  const before = load<f32>(state, 8);
  let most = max(before, rowMax(at, c1 - c0));
  if (most == -Infinity) {
    // Scores that are no numbers are passed over by the maximum. Their weights are not.
    if (!holdsNaN(at, c1 - c0)) {
      clear(x, c0, c1);
      return;
    }
    most = 0;
  }
  let sum = load<f32>(state, 12);
  if (most > before) {
    store<f32>(state, most, 8);
    if (sum != 0) {
      const factor = exp1(before - most);
      sum *= factor;
      scaleRow(out, out, line, factor);
    }
  }
  store<f32>(state, sum + expSum(at, c1 - c0, most), 12);
}

/** True if one of `n` values, a multiple of four, is no number. */
function holdsNaN(x: usize, n: i32): bool {
  for (const end = x + (<usize> n << 2); x < end; x += 16) {
    const v = v128.load(x);
    if (v128.any_true(f32x4.ne(v, v))) return true;
  }
  return false;
}

/** Unit `u` of the work: a block of queries of one sequence and key head. */
function attend(args: Attention, u: u32, kPanels: usize): void {
  const time = args.time;
  const capacity = args.capacity;
  const kvHeads = args.kvHeads;
  const group = args.heads / kvHeads;
  const n = args.headDim;
  const bytes = <usize> n << 2;
  const line = lineOf(args);
  const depth = <i32> (n + 3) >> 2;
  const block = args.block;
  const pairs = args.batch * kvHeads;
  const i0 = u / pairs * block;
  const b = u % pairs / kvHeads;
  const h = u % kvHeads;
  const rows = <i32> (min(block, time - i0) * group);
  const strips = (rows + TILE_ROWS - 1) / TILE_ROWS;
  const stripBytes = <usize> depth * 80;

  const vPanels = kPanels + <usize> TILE_KEYS * line;
  const scores = vPanels + <usize> TILE_KEYS * line;
  const weights = scores + 5 * SCORE_LINE;
  const stage = weights + 5 * SCORE_LINE;
  const state = stage + 5 * line;
  const qStrips = state + <usize> strips * 80;
  const sums = qStrips + <usize> strips * stripBytes;

  let first: i32 = args.keys;
  let last: i32 = 0;
  for (let r = 0; r < strips * TILE_ROWS; r++) {
    let from = 0;
    let to = 0;
    if (r < rows) {
      const i = i0 + <u32> r / group;
      const head = h * group + <u32> r % group;
      stageRow(
        headAt(args, args.q, args.qStride, b * time + i, head),
        stage + <usize> (r % TILE_ROWS) * line,
        bytes,
        line,
        args.scale,
      );
      from = seenFrom(args, b, i);
      to = seenTo(args, b, i);
      if (from < to) {
        first = min(first, from);
        last = max(last, to);
      }
    }
    const at = state + (<usize> r << 4);
    store<i32>(at, from);
    store<i32>(at, to, 4);
    store<f32>(at, -Infinity, 8);
    store<f32>(at, 0, 12);
    if (r % TILE_ROWS == TILE_ROWS - 1) {
      const t = r / TILE_ROWS;
      packStripRows(
        qStrips + <usize> t * stripBytes,
        stage,
        line,
        depth << 2,
        min(TILE_ROWS, rows - t * TILE_ROWS),
      );
    }
  }
  memory.fill(sums, 0, <usize> (strips * TILE_ROWS) * line);

  for (let k0 = first; k0 < last; k0 += TILE_KEYS) {
    const count = min(TILE_KEYS, last - k0);
    const row = b * capacity + <u32> k0;
    packKeys(args, kPanels, headAt(args, args.k, args.kStride, row, h), args.kStride, count);
    packFeatures(
      args,
      vPanels,
      headAt(args, args.v, args.vStride, row, h),
      args.vStride,
      count,
      TILE_KEYS,
    );
    for (let t = 0; t < strips; t++) {
      const at = state + <usize> t * 80;
      let from = k0 + count;
      let to = k0;
      for (let i: usize = 0; i < 80; i += 16) {
        if (load<i32>(at + i) >= load<i32>(at + i, 4)) continue;
        from = min(from, load<i32>(at + i));
        to = max(to, load<i32>(at + i, 4));
      }
      from = max(from, k0) - k0;
      to = min(to, k0 + count) - k0;
      if (from >= to) continue;
      const c0 = from & ~7;
      const c1 = (to + 3) & ~3;
      for (let c = c0; c < c1; c += TILE_COLS) {
        micro(
          depth,
          qStrips + <usize> t * stripBytes,
          kPanels + (<usize> (c >> 3) * <usize> depth << 7),
          scores + (<usize> c << 2),
          SCORE_LINE,
          0,
          0,
          0,
        );
      }
      const out = sums + <usize> (t * TILE_ROWS) * line;
      for (let i: usize = 0; i < 5; i++) {
        const own = at + (i << 4);
        softmaxRow(
          scores + i * SCORE_LINE,
          c0,
          c1,
          load<i32>(own) - k0,
          load<i32>(own, 4) - k0,
          own,
          out + i * line,
          line,
        );
      }
      packStripRows(
        weights,
        scores + (<usize> c0 << 2),
        SCORE_LINE,
        c1 - c0,
        TILE_ROWS,
      );
      let v = vPanels + (<usize> c0 << 5);
      for (let f: usize = 0; f < line; f += 32, v += TILE_KEYS << 5) {
        micro((c1 - c0) >> 2, weights, v, out + f, line, out + f, line, 1);
      }
    }
  }

  for (let r = 0; r < rows; r++) {
    const i = i0 + <u32> r / group;
    const head = h * group + <u32> r % group;
    const own = state + (<usize> r << 4);
    finishRow(
      args,
      sums + <usize> r * line,
      headAt(args, args.out, args.outStride, b * time + i, head),
      logSumExpAt(args, b, head, i),
      load<f32>(own, 8),
      load<f32>(own, 12),
      load<i32>(own) < load<i32>(own, 4),
    );
  }
}

/**
 * Writes a query's output and log-sum-exp from its sum of values, maximum and sum of weights: of one that has seen no key 0
 * and -infinity, of one whose every score is -infinity what is no number, as softmax has it.
 */
export function finishRow(
  args: Attention,
  x: usize,
  out: usize,
  logSumExp: usize,
  most: f32,
  sum: f32,
  seen: bool,
): void {
  if (seen && sum == 0) sum = NaN;
  scaleRow(x, out, <usize> args.headDim << 2, seen ? 1 / sum : 0);
  if (!logSumExp) return;
  store<f32>(
    logSumExp,
    seen ? <f32> (<f64> most + logarithm(sum)) : -Infinity,
  );
}

export function attention(
  args: Attention,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const scratch = args.scratch + <usize> thread * args.scratchBytes;
  const block = args.block;
  const units = (args.time + block - 1) / block * args.batch *
    args.kvHeads;
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    attend(args, u, scratch);
  }
}
