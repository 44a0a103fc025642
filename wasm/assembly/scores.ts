/** Scores of attention as whole matrices: DeBERTa's relative terms, and the softmax. */

import { float, share, word } from "./args";
import { expSum, rowMax } from "./exp";
import { scaleRow } from "./rows";
import { dotRows, element, storeWithin } from "./vector";

/**
 * Job: words are heads (of all sequences), time, index, alpha, scores, its stride, c2p (0: none), its stride, p2c
 * (0: none), its stride.
 */
export function relativeScores(args: usize, part: u32, parts: u32): void {
  const time = word(args, 1);
  const alpha = float(args, 3);
  const rows = word(args, 0) * time;
  const strideP = <usize> word(args, 9);
  const end = share(rows, part + 1, parts);
  for (let row = share(rows, part, parts); row < end; row++) {
    const i = row % time;
    const scores = element(args, 4, row, 0);
    // Position of key 0; those of later keys lie before it.
    let index = <usize> word(args, 2) + (<usize> (i + time - 1) << 2);
    const c2p = word(args, 6) ? element(args, 6, row, 0) : 0;
    let p2c = word(args, 8) ? element(args, 8, row - i, 0) : 0;
    for (let j: u32 = 0; j < time; j++, index -= 4, p2c += strideP) {
      const at = <usize> load<u32>(index) << 2;
      const to = scores + (<usize> j << 2);
      let sum: f32 = 0;
      if (c2p) sum = load<f32>(c2p + at);
      if (word(args, 8)) sum += load<f32>(p2c + at);
      store<f32>(to, load<f32>(to) + alpha * sum);
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
  const alpha = float(args, 3);
  const bytes = <usize> word(args, 10) << 2;
  const end = share(word(args, 0), part + 1, parts);
  for (let head = share(word(args, 0), part, parts); head < end; head++) {
    const first = head * time;
    for (let i: u32 = 0; i < time; i++) {
      if (word(args, 6)) memory.fill(element(args, 6, first + i, 0), 0, bytes);
      if (word(args, 8)) memory.fill(element(args, 8, first + i, 0), 0, bytes);
    }
    for (let i: u32 = 0; i < time; i++) {
      const scores = element(args, 4, first + i, 0);
      let index = <usize> word(args, 2) + (<usize> (i + time - 1) << 2);
      for (let j: u32 = 0; j < time; j++, index -= 4) {
        const at = <usize> load<u32>(index) << 2;
        const d = alpha * load<f32>(scores + (<usize> j << 2));
        if (word(args, 6)) {
          const c2p = element(args, 6, first + i, 0) + at;
          store<f32>(c2p, load<f32>(c2p) + d);
        }
        if (word(args, 8)) {
          const p2c = element(args, 8, first + j, 0) + at;
          store<f32>(p2c, load<f32>(p2c) + d);
        }
      }
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
