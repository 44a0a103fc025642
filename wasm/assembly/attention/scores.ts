/** Scores of attention as whole matrices: DeBERTa's relative terms, and the softmax. */

import { share } from "../lib/args";
import { expSum, rowMax } from "../lib/exp";
import { scaleRow } from "../elementwise/rows";
import { dotRows, storeWithin, valueAt } from "../lib/vector";

/** Four values of `x` at the places that four indices up to `index` hold, those of the last key last. */
// @ts-ignore: decorator
@inline
function fourOf(x: usize, step: usize, index: usize): v128 {
  let v = v128.load32_zero(x + (<usize> load<u32>(index) << 2));
  x += step;
  v = v128.load32_lane(x + (<usize> load<u32>(index - 4) << 2), v, 1);
  x += step;
  v = v128.load32_lane(x + (<usize> load<u32>(index - 8) << 2), v, 2);
  x += step;
  return v128.load32_lane(x + (<usize> load<u32>(index - 12) << 2), v, 3);
}

/** Adds both terms (0: none) to the scores of one query; `index` is the place of key 0, those of later keys lie before it. */
function addTerms(
  scores: usize,
  c2p: usize,
  p2c: usize,
  stride: usize,
  index: usize,
  time: u32,
  alpha: f32,
): void {
  const a = f32x4.splat(alpha);
  const end = scores + (<usize> time << 2);
  for (; scores + 16 <= end; scores += 16, index -= 16) {
    let v = f32x4.splat(0);
    if (c2p) v = fourOf(c2p, 0, index);
    if (p2c) {
      v = f32x4.add(v, fourOf(p2c, stride, index));
      p2c += stride << 2;
    }
    v128.store(scores, f32x4.relaxed_madd(a, v, v128.load(scores)));
  }
  for (; scores < end; scores += 4, index -= 4) {
    const at = <usize> load<u32>(index) << 2;
    let sum: f32 = 0;
    if (c2p) sum = load<f32>(c2p + at);
    if (p2c) {
      sum += load<f32>(p2c + at);
      p2c += stride;
    }
    store<f32>(scores, load<f32>(scores) + alpha * sum);
  }
}

/** Words of {@linkcode relativeScores}. `heads`: of all sequences. */
// @ts-ignore: decorator
@unmanaged
class RelativeScores {
  heads: u32;
  time: u32;
  index: usize;
  alpha: f32;
  scores: usize;
  scoresStride: usize;
  c2p: usize; // 0: none
  c2pStride: usize;
  p2c: usize; // 0: none
  p2cStride: usize;
}

export function relativeScores(args: RelativeScores, part: u32, parts: u32): void {
  const time = args.time;
  const rows = args.heads * time;
  const end = share(rows, part + 1, parts);
  for (let row = share(rows, part, parts); row < end; row++) {
    const i = row % time;
    addTerms(
      valueAt(args.scores, args.scoresStride, row, 0),
      args.c2p ? valueAt(args.c2p, args.c2pStride, row, 0) : 0,
      args.p2c ? valueAt(args.p2c, args.p2cStride, row - i, 0) : 0,
      args.p2cStride,
      args.index + (<usize> (i + time - 1) << 2),
      time,
      args.alpha,
    );
  }
}

/** Adds the gradients of one query's scores to those of the terms (0: none); see {@linkcode addTerms}. */
function addGradients(
  scores: usize,
  c2p: usize,
  p2c: usize,
  stride: usize,
  index: usize,
  time: u32,
  alpha: f32,
): void {
  const end = scores + (<usize> time << 2);
  for (; scores < end; scores += 4, index -= 4) {
    const at = <usize> load<u32>(index) << 2;
    const d = alpha * load<f32>(scores);
    if (c2p) store<f32>(c2p + at, load<f32>(c2p + at) + d);
    if (p2c) {
      store<f32>(p2c + at, load<f32>(p2c + at) + d);
      p2c += stride;
    }
  }
}

/** Words of {@linkcode relativeScoresBackward}. `cols`: of the terms. Parts own heads. */
// @ts-ignore: decorator
@unmanaged
class RelativeScoresBackward {
  heads: u32;
  time: u32;
  index: usize;
  alpha: f32;
  scores: usize;
  scoresStride: usize;
  c2p: usize; // 0: none
  c2pStride: usize;
  p2c: usize; // 0: none
  p2cStride: usize;
  cols: u32;
}

export function relativeScoresBackward(
  args: RelativeScoresBackward,
  part: u32,
  parts: u32,
): void {
  const time = args.time;
  const bytes = <usize> args.cols << 2;
  const end = share(args.heads, part + 1, parts);
  for (let head = share(args.heads, part, parts); head < end; head++) {
    const first = head * time;
    for (let i: u32 = 0; i < time; i++) {
      if (args.c2p) memory.fill(valueAt(args.c2p, args.c2pStride, first + i, 0), 0, bytes);
      if (args.p2c) memory.fill(valueAt(args.p2c, args.p2cStride, first + i, 0), 0, bytes);
    }
    for (let i: u32 = 0; i < time; i++) {
      addGradients(
        valueAt(args.scores, args.scoresStride, first + i, 0),
        args.c2p ? valueAt(args.c2p, args.c2pStride, first + i, 0) : 0,
        args.p2c ? valueAt(args.p2c, args.p2cStride, first, 0) : 0,
        args.p2cStride,
        args.index + (<usize> (i + time - 1) << 2),
        time,
        args.alpha,
      );
    }
  }
}

/** Words of {@linkcode maskedSoftmax}. `each`: rows of a sequence. */
// @ts-ignore: decorator
@unmanaged
class MaskedSoftmax {
  rows: u32;
  cols: u32;
  x: usize;
  xStride: usize;
  out: usize;
  outStride: usize;
  each: u32;
  bounds: usize; // 0: none
}

export function maskedSoftmax(args: MaskedSoftmax, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    let from: u32 = 0;
    let to = cols;
    if (args.bounds) {
      const bounds = args.bounds + (<usize> (i / args.each) << 3);
      from = load<u32>(bounds);
      to = max(from, load<u32>(bounds, 4));
    }
    const out = valueAt(args.out, args.outStride, i, 0);
    const there = out + (<usize> from << 2);
    const count = to - from;
    const x = valueAt(args.x, args.xStride, i, from);
    if (x != there) memory.copy(there, x, <usize> count << 2);
    memory.fill(out, 0, <usize> from << 2);
    memory.fill(out + (<usize> to << 2), 0, <usize> (cols - to) << 2);
    if (count == 0) continue;
    const sum = expSum(there, count, rowMax(there, count));
    scaleRow(there, there, <usize> count << 2, 1 / sum);
  }
}

/** Words of {@linkcode maskedSoftmaxBackward}. */
// @ts-ignore: decorator
@unmanaged
class MaskedSoftmaxBackward {
  rows: u32;
  cols: u32;
  dy: usize;
  dyStride: usize;
  y: usize;
  yStride: usize;
  dx: usize;
  dxStride: usize;
}

export function maskedSoftmaxBackward(
  args: MaskedSoftmaxBackward,
  part: u32,
  parts: u32,
): void {
  const rows = args.rows;
  const cols = args.cols;
  const bytes = <usize> cols << 2;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const dy = valueAt(args.dy, args.dyStride, i, 0);
    const y = valueAt(args.y, args.yStride, i, 0);
    const dx = valueAt(args.dx, args.dxStride, i, 0);
    const sum = f32x4.splat(dotRows(dy, y, cols));
    for (let at: usize = 0; at < bytes; at += 16) {
      const v = f32x4.sub(v128.load(dy + at), sum);
      storeWithin(dx, at, bytes, f32x4.mul(v, v128.load(y + at)));
    }
  }
}
