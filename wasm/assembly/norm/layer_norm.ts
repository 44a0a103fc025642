/** Layer norms. */

import { share } from "../lib/args";
import { addTo } from "../elementwise/rows";
import { storeWithin, sumLanes, valueAt } from "../lib/vector";

/** Rows whose gradients are summed in f32 before they are added to the total. */
const BLOCK: u32 = 64;

/** Sum of `n` values, or of the squares of their distances from `mean`. */
export function rowSum(x: usize, n: u32, mean: f32, square: bool): f32 {
  const end = x + (<usize> n << 2);
  const m = f32x4.splat(mean);
  let s0 = f32x4.splat(0);
  let s1 = s0;
  for (const wide = x + (<usize> (n & ~7) << 2); x < wide; x += 32) {
    let a = f32x4.sub(v128.load(x), m);
    let b = f32x4.sub(v128.load(x, 16), m);
    if (square) {
      a = f32x4.mul(a, a);
      b = f32x4.mul(b, b);
    }
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
  }
  let sum = sumLanes(f32x4.add(s0, s1));
  for (; x < end; x += 4) {
    const d = load<f32>(x) - mean;
    sum += square ? d * d : d;
  }
  return sum;
}

/** `out = (x - mean) * inverse * weight + bias` */
export function normRow(
  x: usize,
  weight: usize,
  bias: usize,
  out: usize,
  n: u32,
  mean: f32,
  inverse: f32,
): void {
  const m = f32x4.splat(mean);
  const f = f32x4.splat(inverse);
  const bytes = <usize> n << 2;
  for (let at: usize = 0; at < bytes; at += 16) {
    const y = f32x4.mul(f32x4.sub(v128.load(x + at), m), f);
    storeWithin(
      out,
      at,
      bytes,
      f32x4.add(f32x4.mul(y, v128.load(weight + at)), v128.load(bias + at)),
    );
  }
}

/** Words of {@linkcode layerNorm}. */
// @ts-ignore: decorator
@unmanaged
class LayerNorm {
  rows: u32;
  cols: u32;
  x: usize;
  xStride: usize;
  out: usize;
  outStride: usize;
  weight: usize;
  bias: usize;
  mean: usize;
  inverse: usize;
  epsilon: f32;
}

export function layerNorm(args: LayerNorm, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const x = valueAt(args.x, args.xStride, i, 0);
    const mean = rowSum(x, cols, 0, false) / <f32> cols;
    const variance = rowSum(x, cols, mean, true) / <f32> cols;
    const inverse: f32 = 1 / sqrt<f32>(variance + args.epsilon);
    store<f32>(args.mean + (<usize> i << 2), mean);
    store<f32>(args.inverse + (<usize> i << 2), inverse);
    normRow(
      x,
      args.weight,
      args.bias,
      valueAt(args.out, args.outStride, i, 0),
      cols,
      mean,
      inverse,
    );
  }
}

/** The gradient of one row, plus `add` where it is not 0. */
export function layerNormRow(
  dy: usize,
  weight: usize,
  x: usize,
  dx: usize,
  add: usize,
  n: u32,
  mean: f32,
  inverse: f32,
): void {
  const m = f32x4.splat(mean);
  const f = f32x4.splat(inverse);
  const bytes = <usize> n << 2;
  const whole = bytes & ~15;
  let s = f32x4.splat(0);
  let t = s;
  for (let at: usize = 0; at < whole; at += 16) {
    const g = f32x4.mul(v128.load(dy + at), v128.load(weight + at));
    const y = f32x4.mul(f32x4.sub(v128.load(x + at), m), f);
    s = f32x4.add(s, g);
    t = f32x4.relaxed_madd(g, y, t);
  }
  let first = sumLanes(s);
  let second = sumLanes(t);
  for (let at = whole; at < bytes; at += 4) {
    const g = load<f32>(dy + at) * load<f32>(weight + at);
    first += g;
    second += g * ((load<f32>(x + at) - mean) * inverse);
  }
  const a = f32x4.splat(first / <f32> n);
  const b = f32x4.splat(second / <f32> n);
  for (let at: usize = 0; at < bytes; at += 16) {
    const g = f32x4.mul(v128.load(dy + at), v128.load(weight + at));
    const y = f32x4.mul(f32x4.sub(v128.load(x + at), m), f);
    let v = f32x4.relaxed_nmadd(y, b, f32x4.sub(g, a));
    v = f32x4.mul(v, f);
    if (add) v = f32x4.add(v, v128.load(add + at));
    storeWithin(dx, at, bytes, v);
  }
}

/** Words of {@linkcode layerNormBackward}. */
// @ts-ignore: decorator
@unmanaged
class LayerNormBackward {
  rows: u32;
  cols: u32;
  dy: usize;
  dyStride: usize;
  x: usize;
  xStride: usize;
  dx: usize;
  dxStride: usize;
  add: usize; // 0: none
  addStride: usize;
  weight: usize;
  mean: usize;
  inverse: usize;
}

export function layerNormBackward(args: LayerNormBackward, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const at = <usize> i << 2;
    layerNormRow(
      valueAt(args.dy, args.dyStride, i, 0),
      args.weight,
      valueAt(args.x, args.xStride, i, 0),
      valueAt(args.dx, args.dxStride, i, 0),
      args.add ? valueAt(args.add, args.addStride, i, 0) : 0,
      cols,
      load<f32>(args.mean + at),
      load<f32>(args.inverse + at),
    );
  }
}

/** Words of {@linkcode layerNormWeight}. `dweight` grows. Parts own columns. */
// @ts-ignore: decorator
@unmanaged
class LayerNormWeight {
  rows: u32;
  cols: u32;
  dy: usize;
  dyStride: usize;
  x: usize;
  xStride: usize;
  mean: usize;
  inverse: usize;
  dweight: usize;
}

export function layerNormWeight(args: LayerNormWeight, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const lddy = args.dyStride;
  const ldx = args.xStride;
  const groups = (cols + 7) >> 3;
  const end = min(cols, share(groups, part + 1, parts) << 3);
  for (let j = share(groups, part, parts) << 3; j < end; j += 8) {
    let dy = valueAt(args.dy, args.dyStride, 0, j);
    let x = valueAt(args.x, args.xStride, 0, j);
    let mean = args.mean;
    let inverse = args.inverse;
    let t0 = f32x4.splat(0);
    let t1 = t0;
    for (let i: u32 = 0; i < rows; i += BLOCK) {
      let s0 = f32x4.splat(0);
      let s1 = s0;
      for (let k = min(BLOCK, rows - i); k > 0; k--) {
        const m = v128.load32_splat(mean);
        const f = v128.load32_splat(inverse);
        const y0 = f32x4.mul(f32x4.sub(v128.load(x), m), f);
        const y1 = f32x4.mul(f32x4.sub(v128.load(x, 16), m), f);
        s0 = f32x4.relaxed_madd(v128.load(dy), y0, s0);
        s1 = f32x4.relaxed_madd(v128.load(dy, 16), y1, s1);
        dy += lddy;
        x += ldx;
        mean += 4;
        inverse += 4;
      }
      t0 = f32x4.add(t0, s0);
      t1 = f32x4.add(t1, s1);
    }
    addTo(args.dweight, j, cols, t0, t1, true);
  }
}
