/** Sums of squares of rows, column scaling, rounding to f16. */

import { share } from "../lib/args";

/** Words of {@linkcode rowSquares}. Sums in f64, two lanes, in a fixed order. */
// @ts-ignore: decorator
@unmanaged
class RowSquares {
  x: usize;
  xStride: usize;
  rows: u32;
  cols: u32;
  out: usize;
}

export function rowSquares(args: RowSquares, part: u32, parts: u32): void {
  const stride = args.xStride;
  const rows = args.rows;
  const cols = args.cols;
  const out = args.out;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    let x = args.x + <usize> i * stride;
    const last = x + (<usize> cols << 2);
    const wide = x + (<usize> (cols & ~7) << 2);
    let s0 = f64x2.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (; x < wide; x += 32) {
      const d0 = f64x2.promote_low_f32x4(v128.load64_zero(x));
      const d1 = f64x2.promote_low_f32x4(v128.load64_zero(x, 8));
      const d2 = f64x2.promote_low_f32x4(v128.load64_zero(x, 16));
      const d3 = f64x2.promote_low_f32x4(v128.load64_zero(x, 24));
      s0 = f64x2.add(s0, f64x2.mul(d0, d0));
      s1 = f64x2.add(s1, f64x2.mul(d1, d1));
      s2 = f64x2.add(s2, f64x2.mul(d2, d2));
      s3 = f64x2.add(s3, f64x2.mul(d3, d3));
    }
    s0 = f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3));
    let sum = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1);
    for (; x < last; x += 4) {
      const d = <f64> load<f32>(x);
      sum += d * d;
    }
    store<f32>(out + (<usize> i << 2), <f32> sum);
  }
}

/** Words of {@linkcode scaleColumns}. */
// @ts-ignore: decorator
@unmanaged
class ScaleColumns {
  x: usize;
  xStride: usize;
  rows: u32;
  cols: u32;
  by: usize;
  out: usize;
  outStride: usize;
}

export function scaleColumns(args: ScaleColumns, part: u32, parts: u32): void {
  const rows = args.rows;
  const cols = args.cols;
  const by = args.by;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const x = args.x + <usize> i * args.xStride;
    const out = args.out + <usize> i * args.outStride;
    let j: usize = 0;
    const wide = <usize> (cols & ~3) << 2;
    const last = <usize> cols << 2;
    for (; j < wide; j += 16) {
      v128.store(out + j, f32x4.mul(v128.load(x + j), v128.load(by + j)));
    }
    for (; j < last; j += 4) {
      store<f32>(out + j, load<f32>(x + j) * load<f32>(by + j));
    }
  }
}

/** The nearest f16, ties to even. Below 2^-14, where f16 has multiples of 2^-24, a sum with 0.5 rounds to those. */
// @ts-ignore: decorator
@inline
function half(x: f32): f32 {
  const bits = reinterpret<u32>(x);
  const size = bits & 0x7fffffff;
  let rounded = (size + 0xfff + ((size >> 13) & 1)) & 0xffffe000;
  if (size > 0x7f800000) rounded = 0x7fc00000;
  else if (size >= 0x477ff000) rounded = 0x7f800000;
  else if (size < 0x38800000) {
    rounded = reinterpret<u32>(<f32> (reinterpret<f32>(size) + <f32> 0.5) - <f32> 0.5);
  }
  return reinterpret<f32>(rounded | (bits & 0x80000000));
}

/** Words of {@linkcode roundHalf}. */
// @ts-ignore: decorator
@unmanaged
class RoundHalf {
  x: usize;
  xStride: usize;
  rows: u32;
  cols: u32;
  out: usize;
  outStride: usize;
}

export function roundHalf(args: RoundHalf, part: u32, parts: u32): void {
  const rows = args.rows;
  const last = <usize> args.cols << 2;
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const x = args.x + <usize> i * args.xStride;
    const out = args.out + <usize> i * args.outStride;
    for (let j: usize = 0; j < last; j += 4) {
      store<f32>(out + j, half(load<f32>(x + j)));
    }
  }
}
