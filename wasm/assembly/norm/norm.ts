/** Root mean square norms. */

import { share } from "../lib/args";
import { addTo } from "../elementwise/rows";
import { dotRows, storeWithin, sumLanes, valueAt } from "../lib/vector";

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

/** Words of {@linkcode rmsNorm}. */
// @ts-ignore: decorator
@unmanaged
class RmsNorm {
  rows: u32;
  cols: u32;
  x: usize;
  xStride: usize;
  weight: usize;
  out: usize;
  outStride: usize;
  inverse: usize;
  epsilon: f32;
}

export function rmsNorm(args: RmsNorm, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const weight = args.weight;
  const inverse = args.inverse;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const x = valueAt(args.x, args.xStride, i, 0);
    const mean = dotRows(x, x, cols) / <f32> cols;
    const factor: f32 = 1 / sqrt<f32>(mean + args.epsilon);
    store<f32>(inverse + (<usize> i << 2), factor);
    scaleByWeight(x, weight, valueAt(args.out, args.outStride, i, 0), cols, factor);
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

/** Words of {@linkcode rmsNormBackward}. */
// @ts-ignore: decorator
@unmanaged
class RmsNormBackward {
  rows: u32;
  cols: u32;
  dy: usize;
  dyStride: usize;
  x: usize;
  xStride: usize;
  weight: usize;
  inverse: usize;
  dx: usize;
  dxStride: usize;
  add: usize; // 0: none
  addStride: usize;
}

export function rmsNormBackward(args: RmsNormBackward, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const weight = args.weight;
  const inverse = args.inverse;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const dy = valueAt(args.dy, args.dyStride, i, 0);
    const x = valueAt(args.x, args.xStride, i, 0);
    const f = load<f32>(inverse + (<usize> i << 2));
    const mean = dotWeighted(dy, weight, x, cols) / <f32> cols;
    normGradient(
      dy,
      weight,
      x,
      valueAt(args.dx, args.dxStride, i, 0),
      args.add ? valueAt(args.add, args.addStride, i, 0) : 0,
      cols,
      f,
      f * f * f * mean,
    );
  }
}

/** Words of {@linkcode normWeightGradient}. `dweight` grows. Parts own columns. */
// @ts-ignore: decorator
@unmanaged
class NormWeightGradient {
  rows: u32;
  cols: u32;
  dy: usize;
  dyStride: usize;
  x: usize;
  xStride: usize;
  inverse: usize;
  dweight: usize;
}

export function normWeightGradient(args: NormWeightGradient, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const lddy = args.dyStride;
  const ldx = args.xStride;
  const groups = (cols + 7) >> 3;
  const end = min(cols, share(groups, part + 1, parts) << 3);
  for (let j = share(groups, part, parts) << 3; j < end; j += 8) {
    let dy = valueAt(args.dy, args.dyStride, 0, j);
    let x = valueAt(args.x, args.xStride, 0, j);
    let inverse = args.inverse;
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
    addTo(args.dweight, j, cols, t0, t1, true);
  }
}
