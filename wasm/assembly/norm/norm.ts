/** Root mean square norms. */

import { float, share, word } from "../lib/args";
import { addTo } from "../elementwise/rows";
import { dotRows, element, storeWithin, sumLanes } from "../lib/vector";

/** Rows whose gradients are summed in f32 before they are added to the total. */
const BLOCK: u32 = 64;

/** `out = x * factor * weight` */
export function scaleByWeight(
  x: usize,
  weight: usize,
  out: usize,
  n: u32,
  factor: f32,
): void {
  const f = f32x4.splat(factor);
  const bytes = <usize> n << 2;
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const u = f32x4.mul(f32x4.mul(v128.load(x + at), f), v128.load(weight + at));
    const v = f32x4.mul(
      f32x4.mul(v128.load(x + at, 16), f),
      v128.load(weight + at, 16),
    );
    v128.store(out + at, u);
    v128.store(out + at, v, 16);
  }
  for (; at < bytes; at += 16) {
    const v = f32x4.mul(v128.load(x + at), f);
    storeWithin(out, at, bytes, f32x4.mul(v, v128.load(weight + at)));
  }
}

/** Job: words are rows, cols, x, its stride, weight, out, its stride, inverse, epsilon. */
export function rmsNorm(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const cols = word(args, 1);
  const weight = <usize> word(args, 4);
  const inverse = <usize> word(args, 7);
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const x = element(args, 2, i, 0);
    const mean = dotRows(x, x, cols) / <f32> cols;
    const factor: f32 = 1 / sqrt<f32>(mean + float(args, 8));
    store<f32>(inverse + (<usize> i << 2), factor);
    scaleByWeight(x, weight, element(args, 5, i, 0), cols, factor);
  }
}

/** `dy * weight * x` summed over `n` values. */
export function dotWeighted(dy: usize, weight: usize, x: usize, n: u32): f32 {
  const end = x + (<usize> n << 2);
  let s0 = f32x4.splat(0);
  let s1 = s0;
  for (const wide = x + (<usize> (n & ~7) << 2); x < wide; x += 32) {
    const g0 = f32x4.mul(v128.load(dy), v128.load(weight));
    const g1 = f32x4.mul(v128.load(dy, 16), v128.load(weight, 16));
    s0 = f32x4.relaxed_madd(g0, v128.load(x), s0);
    s1 = f32x4.relaxed_madd(g1, v128.load(x, 16), s1);
    dy += 32;
    weight += 32;
  }
  let sum = sumLanes(f32x4.add(s0, s1));
  for (; x < end; x += 4, dy += 4, weight += 4) {
    sum += load<f32>(dy) * load<f32>(weight) * load<f32>(x);
  }
  return sum;
}

/** `dx = inverse * dy * weight - slope * x`, plus `add` where it is not 0. */
export function normGradient(
  dy: usize,
  weight: usize,
  x: usize,
  dx: usize,
  add: usize,
  n: u32,
  inverse: f32,
  slope: f32,
): void {
  const f = f32x4.splat(inverse);
  const s = f32x4.splat(slope);
  const bytes = <usize> n << 2;
  for (let at: usize = 0; at < bytes; at += 16) {
    const g = f32x4.mul(v128.load(dy + at), v128.load(weight + at));
    let v = f32x4.relaxed_nmadd(s, v128.load(x + at), f32x4.mul(f, g));
    if (add) v = f32x4.add(v, v128.load(add + at));
    storeWithin(dx, at, bytes, v);
  }
}

/** Job: words are rows, cols, dy, its stride, x, its stride, weight, inverse, dx, its stride, add (0: none), its stride. */
export function rmsNormBackward(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const cols = word(args, 1);
  const weight = <usize> word(args, 6);
  const inverse = <usize> word(args, 7);
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const dy = element(args, 2, i, 0);
    const x = element(args, 4, i, 0);
    const f = load<f32>(inverse + (<usize> i << 2));
    const mean = dotWeighted(dy, weight, x, cols) / <f32> cols;
    normGradient(
      dy,
      weight,
      x,
      element(args, 8, i, 0),
      word(args, 10) ? element(args, 10, i, 0) : 0,
      cols,
      f,
      f * f * f * mean,
    );
  }
}

/** Job: words are rows, cols, dy, its stride, x, its stride, inverse, dweight, which grows. Parts own columns. */
export function normWeightGradient(args: usize, part: u32, parts: u32): void {
  const rows = word(args, 0);
  const cols = word(args, 1);
  const lddy = <usize> word(args, 3);
  const ldx = <usize> word(args, 5);
  const groups = (cols + 7) >> 3;
  const end = min(cols, share(groups, part + 1, parts) << 3);
  for (let j = share(groups, part, parts) << 3; j < end; j += 8) {
    let dy = element(args, 2, 0, j);
    let x = element(args, 4, 0, j);
    let inverse = <usize> word(args, 6);
    let t0 = f32x4.splat(0);
    let t1 = t0;
    for (let i: u32 = 0; i < rows; i += BLOCK) {
      let s0 = f32x4.splat(0);
      let s1 = s0;
      for (let k = min(BLOCK, rows - i); k > 0; k--) {
        const f = v128.load32_splat(inverse);
        const g0 = f32x4.mul(f, v128.load(dy));
        const g1 = f32x4.mul(f, v128.load(dy, 16));
        s0 = f32x4.relaxed_madd(g0, v128.load(x), s0);
        s1 = f32x4.relaxed_madd(g1, v128.load(x, 16), s1);
        dy += lddy;
        x += ldx;
        inverse += 4;
      }
      t0 = f32x4.add(t0, s0);
      t1 = f32x4.add(t1, s1);
    }
    addTo(<usize> word(args, 7), j, cols, t0, t1, true);
  }
}
