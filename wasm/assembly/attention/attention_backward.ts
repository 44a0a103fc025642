/**
 * The backward of attention: weights are computed anew from the log-sum-exp, tile by tile (Dao et al., 2205.14135).
 *
 * Rows of queries and blocks as in `attention_rows.ts`. With `p` the weights, `ds = p * (dy vᵀ - mean)` and
 * `mean = dy · out` of a row: `dv = pᵀ dy`, `dk = dsᵀ (scale q)`, `dq = scale * ds k`.
 *
 * The gradients of keys and values are summed over the blocks of a range of queries, each range for itself, so that
 * they do not depend on who works when; {@linkcode attentionSums} adds the ranges.
 *
 * Sums are for each range, sequence and key head those of dk, then those of dv, `keys + 5` lines each.
 *
 * Scratch of a thread, `height` = rows of a block rounded up to twenty: a tile's keys as panels of keys and of features, its
 * values as panels of keys (a line a key), a strip, by rows state (first and last key, log-sum-exp, mean), then queries,
 * gradients, both as strips, both as panels of features, sums of dq (a line each), weights and ds of the tile.
 */

import { share } from "../lib/args";
import { stageRow } from "./attention";
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
import { expSum } from "../lib/exp";
import { micro, TILE_COLS, TILE_ROWS } from "../gemm/gemm_micro";
import { packStripColumns, packStripRows } from "../gemm/gemm_pack";
import { combineRow, scaleRow } from "../elementwise/rows";
import { dotRows } from "../lib/vector";

/** Words of both jobs. */
// @ts-ignore: decorator
@unmanaged
class AttentionBackward extends Attention {
  dy: usize;
  dyStride: usize;
  dq: usize;
  dqStride: usize;
  dk: usize;
  dkStride: usize;
  dv: usize;
  dvStride: usize;
  ranges: u32;
  sums: usize;
}

/**
 * Turns columns `[c0, c1)` of a row of scores `p`, of which the query sees `[from, to)`, into weights, and those of `ds`
 * from `dy vᵀ` into `ds`; the rest of the `width` columns becomes zeros.
 */
export function gradientRow(
  p: usize,
  ds: usize,
  c0: i32,
  c1: i32,
  from: i32,
  to: i32,
  width: i32,
  logSumExp: f32,
  mean: f32,
): void {
  from = max(from, c0);
  to = min(to, c1);
  if (from >= to) {
    clear(p, 0, width);
    clear(ds, 0, width);
    return;
  }
  mask(p, c0, c1, from, to);
  expSum(p + (<usize> c0 << 2), c1 - c0, logSumExp);
  const m = f32x4.splat(mean);
  const end = <usize> c1 << 2;
  for (let at = <usize> c0 << 2; at < end; at += 16) {
    const d = f32x4.sub(v128.load(ds + at), m);
    v128.store(ds + at, f32x4.mul(v128.load(p + at), d));
  }
  clear(p, 0, c0);
  clear(ds, 0, c0);
  clear(p, c1, width);
  clear(ds, c1, width);
}

/** Adds the product of a packed strip and panels of features to five rows of sums; `gap` bytes lie between panels. */
function accumulate(
  steps: i32,
  strip: usize,
  panels: usize,
  gap: usize,
  sums: usize,
  line: usize,
): void {
  for (let f: usize = 0; f < line; f += 32, panels += gap) {
    micro(steps, strip, panels, sums + f, line, sums + f, line, 1);
  }
}

/** Works block `block` of sequence `b` and key head `h`; `dk` and `dv` are the sums of its range. */
function differentiate(
  args: AttentionBackward,
  block: u32,
  b: u32,
  h: u32,
  kPanels: usize,
  dk: usize,
  dv: usize,
): void {
  const time = args.time;
  const group = args.heads / args.kvHeads;
  const n = args.headDim;
  const bytes = <usize> n << 2;
  const line = lineOf(args);
  const depth = <i32> (n + 3) >> 2;
  const stripBytes = <usize> depth * 80;
  const panelBytes = <usize> depth << 7;
  const i0 = block * args.block;
  const rows = <i32> (min(args.block, time - i0) * group);
  const strips = (rows + TILE_ROWS - 1) / TILE_ROWS;
  const quads = (rows + 3) & ~3;
  const height = <usize> ((rows + 19) / 20 * 20);

  const kFeatures = kPanels + <usize> TILE_KEYS * line;
  const vPanels = kFeatures + <usize> TILE_KEYS * line;
  const strip = vPanels + <usize> TILE_KEYS * line;
  const state = strip + 5 * SCORE_LINE + height * 20;
  const q = state + (height << 4);
  const dy = q + height * line;
  const qStrips = dy + height * line;
  const dyStrips = qStrips + height * line;
  const qFeatures = dyStrips + height * line;
  const dyFeatures = qFeatures + height * line;
  const dq = dyFeatures + height * line;
  const p = dq + height * line;
  const ds = p + height * SCORE_LINE;

  let first: i32 = args.keys;
  let last: i32 = 0;
  for (let r = 0; r < strips * TILE_ROWS; r++) {
    const at = state + (<usize> r << 4);
    store<u64>(at, 0);
    if (r >= rows) continue;
    const i = i0 + <u32> r / group;
    const head = h * group + <u32> r % group;
    const row = b * time + i;
    const from = headAt(args, args.dy, args.dyStride, row, head);
    const scale = args.scale;
    const to = <usize> r * line;
    stageRow(headAt(args, args.q, args.qStride, row, head), q + to, bytes, line, scale);
    stageRow(from, dy + to, bytes, line, 1);
    store<i32>(at, seenFrom(args, b, i));
    store<i32>(at, seenTo(args, b, i), 4);
    store<f32>(at, load<f32>(logSumExpAt(args, b, head, i)), 8);
    store<f32>(at, dotRows(from, headAt(args, args.out, args.outStride, row, head), n), 12);
    if (load<i32>(at) < load<i32>(at, 4)) {
      first = min(first, load<i32>(at));
      last = max(last, load<i32>(at, 4));
    }
  }
  for (let t = 0; t < strips; t++) {
    const at = <usize> (t * TILE_ROWS) * line;
    const to = <usize> t * stripBytes;
    const count = min(TILE_ROWS, rows - t * TILE_ROWS);
    packStripRows(qStrips + to, q + at, line, depth << 2, count);
    packStripRows(dyStrips + to, dy + at, line, depth << 2, count);
  }
  packFeatures(args, qFeatures, q, line, rows, quads);
  packFeatures(args, dyFeatures, dy, line, rows, quads);
  memory.fill(dq, 0, height * line);
  // Rows past the last strip, which whole steps of four reach.
  for (let r = <usize> (strips * TILE_ROWS); r < height; r++) {
    clear(p + r * SCORE_LINE, 0, TILE_KEYS);
    clear(ds + r * SCORE_LINE, 0, TILE_KEYS);
  }

  for (let k0 = first; k0 < last; k0 += TILE_KEYS) {
    const count = min(TILE_KEYS, last - k0);
    // As far as the last strip of keys reads.
    const width = min(TILE_KEYS, (count + 7) & ~3);
    const row = b * args.capacity + <u32> k0;
    const k = headAt(args, args.k, args.kStride, row, h);
    packKeys(args, kPanels, k, args.kStride, count);
    packFeatures(args, kFeatures, k, args.kStride, count, TILE_KEYS);
    packKeys(args, vPanels, headAt(args, args.v, args.vStride, row, h), args.vStride, count);
    for (let t = 0; t < strips; t++) {
      const at = state + <usize> t * 80;
      const pRows = p + <usize> (t * TILE_ROWS) * SCORE_LINE;
      const dsRows = ds + <usize> (t * TILE_ROWS) * SCORE_LINE;
      let from = k0 + count;
      let to = k0;
      for (let i: usize = 0; i < 80; i += 16) {
        if (load<i32>(at + i) >= load<i32>(at + i, 4)) continue;
        from = min(from, load<i32>(at + i));
        to = max(to, load<i32>(at + i, 4));
      }
      from = max(from, k0) - k0;
      to = min(to, k0 + count) - k0;
      if (from >= to) {
        clear(pRows, 0, TILE_ROWS * TILE_KEYS);
        clear(dsRows, 0, TILE_ROWS * TILE_KEYS);
        continue;
      }
      const c0 = from & ~7;
      const c1 = (to + 3) & ~3;
      for (let c = c0; c < c1; c += TILE_COLS) {
        const panel = <usize> (c >> 3) * panelBytes;
        const out = <usize> c << 2;
        micro(
          depth,
          qStrips + <usize> t * stripBytes,
          kPanels + panel,
          pRows + out,
          SCORE_LINE,
          0,
          0,
          0,
        );
        micro(
          depth,
          dyStrips + <usize> t * stripBytes,
          vPanels + panel,
          dsRows + out,
          SCORE_LINE,
          0,
          0,
          0,
        );
      }
      for (let i: usize = 0; i < 5; i++) {
        const own = at + (i << 4);
        gradientRow(
          pRows + i * SCORE_LINE,
          dsRows + i * SCORE_LINE,
          c0,
          c1,
          load<i32>(own) - k0,
          load<i32>(own, 4) - k0,
          width,
          load<f32>(own, 8),
          load<f32>(own, 12),
        );
      }
      const c = <usize> c0;
      packStripRows(strip, dsRows + (c << 2), SCORE_LINE, c1 - c0, TILE_ROWS);
      accumulate(
        (c1 - c0) >> 2,
        strip,
        kFeatures + (c << 5),
        TILE_KEYS << 5,
        dq + <usize> (t * TILE_ROWS) * line,
        line,
      );
    }
    // By strips of keys; the rows that see a key are a run, whose ends move on with it.
    let from = 0;
    let to = 0;
    for (let j = 0; j < count; j += TILE_ROWS) {
      const key = k0 + j;
      while (
        from < rows && load<i32>(state + (<usize> from << 4), 4) <= key
      ) {
        from++;
      }
      while (
        to < rows && load<i32>(state + (<usize> to << 4)) < key + TILE_ROWS
      ) {
        to++;
      }
      const start = from & ~3;
      if (start >= to) continue;
      const steps = (to - start + 3) >> 2;
      const at = <usize> start * SCORE_LINE + (<usize> j << 2);
      const panels = <usize> start << 5;
      const gap = <usize> quads << 5;
      const out = <usize> key * line;
      packStripColumns(strip, p + at, SCORE_LINE, steps << 2, TILE_ROWS);
      accumulate(steps, strip, dyFeatures + panels, gap, dv + out, line);
      packStripColumns(strip, ds + at, SCORE_LINE, steps << 2, TILE_ROWS);
      accumulate(steps, strip, qFeatures + panels, gap, dk + out, line);
    }
  }

  for (let r = 0; r < rows; r++) {
    const row = b * time + i0 + <u32> r / group;
    const out = headAt(args, args.dq, args.dqStride, row, h * group + <u32> r % group);
    scaleRow(dq + <usize> r * line, out, bytes, args.scale);
  }
}

/** Job: each unit is one range of blocks of one sequence and key head; the last ranges see the most keys. */
export function attentionBackward(
  args: AttentionBackward,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const scratch = args.scratch + <usize> thread * args.scratchBytes;
  const block = args.block;
  const blocks = (args.time + block - 1) / block;
  const kvHeads = args.kvHeads;
  const pairs = args.batch * kvHeads;
  const ranges = args.ranges;
  const size = <usize> (args.keys + 5) * lineOf(args);
  const units = pairs * ranges;
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const range = u / pairs;
    const dk = args.sums + 2 * u * size;
    memory.fill(dk, 0, 2 * size);
    const last = share(blocks, range + 1, ranges);
    for (let i = share(blocks, range, ranges); i < last; i++) {
      const b = u % pairs / kvHeads;
      differentiate(args, i, b, u % kvHeads, scratch, dk, dk + size);
    }
  }
}

/** Job: adds the ranges into dk and dv, with zeros in rows past the keys. Parts own rows. */
export function attentionSums(args: AttentionBackward, part: u32, parts: u32): void {
  const keys = args.keys;
  const capacity = args.capacity;
  const kvHeads = args.kvHeads;
  const bytes = <usize> args.headDim << 2;
  const line = lineOf(args);
  const pairs = args.batch * kvHeads;
  const ranges = args.ranges;
  const size = <usize> (keys + 5) * line;
  const rows = args.batch * capacity;
  const end = share(rows, part + 1, parts);
  for (let row = share(rows, part, parts); row < end; row++) {
    const b = row / capacity;
    const j = row % capacity;
    for (let h: u32 = 0; h < kvHeads; h++) {
      for (let which: u32 = 0; which < 2; which++) {
        const out = headAt(
          args,
          which ? args.dv : args.dk,
          which ? args.dvStride : args.dkStride,
          row,
          h,
        );
        if (j >= keys) {
          memory.fill(out, 0, bytes);
          continue;
        }
        let x = args.sums +
          <usize> (2 * (b * kvHeads + h) + which) * size + <usize> j * line;
        scaleRow(x, out, bytes, 1);
        for (let r: u32 = 1; r < ranges; r++) {
          x += <usize> (2 * pairs) * size;
          combineRow(out, x, out, bytes, 1, 1);
        }
      }
    }
  }
}
