/** Scores of attention as whole matrices: DeBERTa's relative terms, and the softmax. */

import { float, share, word } from "../lib/args";
import { expSum, rowMax } from "../lib/exp";
import { scaleRow } from "../elementwise/rows";
import { dotRows, element, storeWithin } from "../lib/vector";

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

/**
 * Job: words are heads (of all sequences), time, index, alpha, scores, its stride, c2p (0: none), its stride, p2c
 * (0: none), its stride.
 */
export function relativeScores(args: usize, part: u32, parts: u32): void {
  const time = word(args, 1);
  const rows = word(args, 0) * time;
  const end = share(rows, part + 1, parts);
  for (let row = share(rows, part, parts); row < end; row++) {
    const i = row % time;
    addTerms(
      element(args, 4, row, 0),
      word(args, 6) ? element(args, 6, row, 0) : 0,
      word(args, 8) ? element(args, 8, row - i, 0) : 0,
      <usize> word(args, 9),
      <usize> word(args, 2) + (<usize> (i + time - 1) << 2),
      time,
      float(args, 3),
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

/** Job: words as those of {@linkcode relativeScores}, with the gradients, and the columns of the terms. Parts own heads. */
export function relativeScoresBackward(
  args: usize,
  part: u32,
  parts: u32,
): void {
  const time = word(args, 1);
  const bytes = <usize> word(args, 10) << 2;
  const end = share(word(args, 0), part + 1, parts);
  for (let head = share(word(args, 0), part, parts); head < end; head++) {
    const first = head * time;
    for (let i: u32 = 0; i < time; i++) {
      if (word(args, 6)) memory.fill(element(args, 6, first + i, 0), 0, bytes);
      if (word(args, 8)) memory.fill(element(args, 8, first + i, 0), 0, bytes);
    }
    for (let i: u32 = 0; i < time; i++) {
      addGradients(
        element(args, 4, first + i, 0),
        word(args, 6) ? element(args, 6, first + i, 0) : 0,
        word(args, 8) ? element(args, 8, first, 0) : 0,
        <usize> word(args, 9),
        <usize> word(args, 2) + (<usize> (i + time - 1) << 2),
        time,
        float(args, 3),
      );
    }
  }
}

/** Job: words are rows, cols, x, its stride, out, its stride, rows of a sequence, bounds (0: none). */
export function maskedSoftmax(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const cols = word(args, 1);
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    let from: u32 = 0;
    let to = cols;
    if (word(args, 7)) {
      const bounds = <usize> word(args, 7) + (<usize> (i / word(args, 6)) << 3);
      from = load<u32>(bounds);
      to = max(from, load<u32>(bounds, 4));
    }
    const out = element(args, 4, i, 0);
    const there = out + (<usize> from << 2);
    const count = to - from;
    const x = element(args, 2, i, from);
    if (x != there) memory.copy(there, x, <usize> count << 2);
    memory.fill(out, 0, <usize> from << 2);
    memory.fill(out + (<usize> to << 2), 0, <usize> (cols - to) << 2);
    if (count == 0) continue;
    const sum = expSum(there, count, rowMax(there, count));
    scaleRow(there, there, <usize> count << 2, 1 / sum);
  }
}

/** Job: words are rows, cols, dy, its stride, y, its stride, dx, its stride. */
export function maskedSoftmaxBackward(
  args: usize,
  part: u32,
  parts: u32,
): void {
  const rows = word(args, 0);
  const cols = word(args, 1);
  const bytes = <usize> cols << 2;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const dy = element(args, 2, i, 0);
    const y = element(args, 4, i, 0);
    const dx = element(args, 6, i, 0);
    const sum = f32x4.splat(dotRows(dy, y, cols));
    for (let at: usize = 0; at < bytes; at += 16) {
      const v = f32x4.sub(v128.load(dy + at), sum);
      storeWithin(dx, at, bytes, f32x4.mul(v, v128.load(y + at)));
    }
  }
}
