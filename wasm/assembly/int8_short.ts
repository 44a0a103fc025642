/**
 * The micro-kernel of `int8_micro.ts` with sums of 16 bits, for processors that have no instruction for the dot product of four
 * bytes with a sum: there it takes three, this one two.
 *
 * A code of `b` bits times a byte is below `127 * 2^b`, so that a lane holds so many pairs of products: of 4 bits eight, those of
 * two steps, of 3 bits eighteen, of 2 bits forty-three. Then they are widened. Results are the same to the bit.
 */

import { FACTOR_BYTES, grow, putRow } from "./int8_micro";

/** Adds two products of bytes `x` with codes to each of eight sums. */
// @ts-ignore: decorator
@inline
function pairs(x: v128, code: v128, sum: v128): v128 {
  return i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(x, code));
}

/** Sums of neighbours in 32 bits, added to `start`. */
// @ts-ignore: decorator
@inline
function widened(start: v128, sums: v128): v128 {
  return i32x4.add(start, i32x4.extadd_pairwise_i16x8_s(sums));
}

/** Steps of sixteen inner indices whose products of codes of `bits` fit into 16 bits. */
// @ts-ignore: decorator
@inline
export function shortSteps(bits: u32): u32 {
  return bits == 4 ? 2 : bits == 3 ? 4 : 8;
}

/** The tile's sums over groups, and those of the group in 32 bits; globals as in `int8_micro.ts`. */
let t00: v128 = f32x4.splat(0);
let u00: v128 = i32x4.splat(0);
let t01: v128 = f32x4.splat(0);
let u01: v128 = i32x4.splat(0);
let t10: v128 = f32x4.splat(0);
let u10: v128 = i32x4.splat(0);
let t11: v128 = f32x4.splat(0);
let u11: v128 = i32x4.splat(0);
let t20: v128 = f32x4.splat(0);
let u20: v128 = i32x4.splat(0);
let t21: v128 = f32x4.splat(0);
let u21: v128 = i32x4.splat(0);
let t30: v128 = f32x4.splat(0);
let u30: v128 = i32x4.splat(0);
let t31: v128 = f32x4.splat(0);
let u31: v128 = i32x4.splat(0);
let t40: v128 = f32x4.splat(0);
let u40: v128 = i32x4.splat(0);
let t41: v128 = f32x4.splat(0);
let u41: v128 = i32x4.splat(0);

/** As `micro8`, with sums widened every `short` steps. */
export function micro16(
  steps: u32,
  groupSteps: u32,
  short: u32,
  a: usize,
  factors: usize,
  b: usize,
  affine: usize,
  affineStep: usize,
  c: usize,
  ldc: usize,
  add: usize,
  ldadd: usize,
  beta: f32,
  row: usize,
  ldrow: usize,
): void {
  t00 = row ? v128.load32_splat(row) : f32x4.splat(0);
  t01 = t00;
  t10 = row ? v128.load32_splat(row + ldrow) : f32x4.splat(0);
  t11 = t10;
  t20 = row ? v128.load32_splat(row + ldrow * 2) : f32x4.splat(0);
  t21 = t20;
  t30 = row ? v128.load32_splat(row + ldrow * 3) : f32x4.splat(0);
  t31 = t30;
  t40 = row ? v128.load32_splat(row + ldrow * 4) : f32x4.splat(0);
  t41 = t40;
  const end = a + <usize> steps * 80;
  while (a < end) {
    const stop = min(end, a + <usize> groupSteps * 80);
    const single = stop - a <= <usize> short * 80;
    if (!single) {
      const first = v128.load(factors, 48);
      u00 = v128.shuffle<i32>(first, first, 0, 0, 0, 0);
      u01 = u00;
      u10 = v128.shuffle<i32>(first, first, 1, 1, 1, 1);
      u11 = u10;
      u20 = v128.shuffle<i32>(first, first, 2, 2, 2, 2);
      u21 = u20;
      u30 = v128.shuffle<i32>(first, first, 3, 3, 3, 3);
      u31 = u30;
      u40 = v128.load32_splat(factors, 40);
      u41 = u40;
    }
    let c00: v128;
    let c01: v128;
    let c10: v128;
    let c11: v128;
    let c20: v128;
    let c21: v128;
    let c30: v128;
    let c31: v128;
    let c40: v128;
    let c41: v128;
    do {
      c00 = i16x8.splat(0);
      c01 = i16x8.splat(0);
      c10 = i16x8.splat(0);
      c11 = i16x8.splat(0);
      c20 = i16x8.splat(0);
      c21 = i16x8.splat(0);
      c30 = i16x8.splat(0);
      c31 = i16x8.splat(0);
      c40 = i16x8.splat(0);
      c41 = i16x8.splat(0);
      const wide = min(stop, a + <usize> short * 80);
      for (; a < wide; a += 80, b += 128) {
        const last = v128.load(a, 64);
        let x = v128.load(a);
        let b0 = v128.load(b);
        let b1 = v128.load(b, 16);
        let s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
        c00 = pairs(s, b0, c00);
        c01 = pairs(s, b1, c01);
        s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
        c10 = pairs(s, b0, c10);
        c11 = pairs(s, b1, c11);
        s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
        c20 = pairs(s, b0, c20);
        c21 = pairs(s, b1, c21);
        s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
        c30 = pairs(s, b0, c30);
        c31 = pairs(s, b1, c31);
        s = v128.shuffle<i32>(last, last, 0, 0, 0, 0);
        c40 = pairs(s, b0, c40);
        c41 = pairs(s, b1, c41);
        x = v128.load(a, 16);
        b0 = v128.load(b, 32);
        b1 = v128.load(b, 48);
        s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
        c00 = pairs(s, b0, c00);
        c01 = pairs(s, b1, c01);
        s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
        c10 = pairs(s, b0, c10);
        c11 = pairs(s, b1, c11);
        s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
        c20 = pairs(s, b0, c20);
        c21 = pairs(s, b1, c21);
        s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
        c30 = pairs(s, b0, c30);
        c31 = pairs(s, b1, c31);
        s = v128.shuffle<i32>(last, last, 1, 1, 1, 1);
        c40 = pairs(s, b0, c40);
        c41 = pairs(s, b1, c41);
        x = v128.load(a, 32);
        b0 = v128.load(b, 64);
        b1 = v128.load(b, 80);
        s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
        c00 = pairs(s, b0, c00);
        c01 = pairs(s, b1, c01);
        s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
        c10 = pairs(s, b0, c10);
        c11 = pairs(s, b1, c11);
        s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
        c20 = pairs(s, b0, c20);
        c21 = pairs(s, b1, c21);
        s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
        c30 = pairs(s, b0, c30);
        c31 = pairs(s, b1, c31);
        s = v128.shuffle<i32>(last, last, 2, 2, 2, 2);
        c40 = pairs(s, b0, c40);
        c41 = pairs(s, b1, c41);
        x = v128.load(a, 48);
        b0 = v128.load(b, 96);
        b1 = v128.load(b, 112);
        s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
        c00 = pairs(s, b0, c00);
        c01 = pairs(s, b1, c01);
        s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
        c10 = pairs(s, b0, c10);
        c11 = pairs(s, b1, c11);
        s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
        c20 = pairs(s, b0, c20);
        c21 = pairs(s, b1, c21);
        s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
        c30 = pairs(s, b0, c30);
        c31 = pairs(s, b1, c31);
        s = v128.shuffle<i32>(last, last, 3, 3, 3, 3);
        c40 = pairs(s, b0, c40);
        c41 = pairs(s, b1, c41);
      }
      if (single) break;
      u00 = widened(u00, c00);
      u01 = widened(u01, c01);
      u10 = widened(u10, c10);
      u11 = widened(u11, c11);
      u20 = widened(u20, c20);
      u21 = widened(u21, c21);
      u30 = widened(u30, c30);
      u31 = widened(u31, c31);
      u40 = widened(u40, c40);
      u41 = widened(u41, c41);
    } while (a < stop);
    const s0 = v128.load(affine);
    const s1 = v128.load(affine, 16);
    const e0 = v128.load(affine, 32);
    const e1 = v128.load(affine, 48);
    const scale = v128.load(factors);
    const factor = v128.load(factors, 16);
    const fifth = v128.load(factors, 32);
    let sa: v128;
    let ss: v128;
    if (single) {
      const first = v128.load(factors, 48);
      let d: v128;
      d = v128.shuffle<i32>(first, first, 0, 0, 0, 0);
      sa = v128.shuffle<f32>(scale, scale, 0, 0, 0, 0);
      ss = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
      t00 = grow(t00, widened(d, c00), s0, e0, sa, ss);
      t01 = grow(t01, widened(d, c01), s1, e1, sa, ss);
      d = v128.shuffle<i32>(first, first, 1, 1, 1, 1);
      sa = v128.shuffle<f32>(scale, scale, 1, 1, 1, 1);
      ss = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
      t10 = grow(t10, widened(d, c10), s0, e0, sa, ss);
      t11 = grow(t11, widened(d, c11), s1, e1, sa, ss);
      d = v128.shuffle<i32>(first, first, 2, 2, 2, 2);
      sa = v128.shuffle<f32>(scale, scale, 2, 2, 2, 2);
      ss = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
      t20 = grow(t20, widened(d, c20), s0, e0, sa, ss);
      t21 = grow(t21, widened(d, c21), s1, e1, sa, ss);
      d = v128.shuffle<i32>(first, first, 3, 3, 3, 3);
      sa = v128.shuffle<f32>(scale, scale, 3, 3, 3, 3);
      ss = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
      t30 = grow(t30, widened(d, c30), s0, e0, sa, ss);
      t31 = grow(t31, widened(d, c31), s1, e1, sa, ss);
      d = v128.load32_splat(factors, 40);
      sa = v128.shuffle<f32>(fifth, fifth, 0, 0, 0, 0);
      ss = v128.shuffle<f32>(fifth, fifth, 1, 1, 1, 1);
      t40 = grow(t40, widened(d, c40), s0, e0, sa, ss);
      t41 = grow(t41, widened(d, c41), s1, e1, sa, ss);
    } else {
      sa = v128.shuffle<f32>(scale, scale, 0, 0, 0, 0);
      ss = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
      t00 = grow(t00, u00, s0, e0, sa, ss);
      t01 = grow(t01, u01, s1, e1, sa, ss);
      sa = v128.shuffle<f32>(scale, scale, 1, 1, 1, 1);
      ss = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
      t10 = grow(t10, u10, s0, e0, sa, ss);
      t11 = grow(t11, u11, s1, e1, sa, ss);
      sa = v128.shuffle<f32>(scale, scale, 2, 2, 2, 2);
      ss = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
      t20 = grow(t20, u20, s0, e0, sa, ss);
      t21 = grow(t21, u21, s1, e1, sa, ss);
      sa = v128.shuffle<f32>(scale, scale, 3, 3, 3, 3);
      ss = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
      t30 = grow(t30, u30, s0, e0, sa, ss);
      t31 = grow(t31, u31, s1, e1, sa, ss);
      sa = v128.shuffle<f32>(fifth, fifth, 0, 0, 0, 0);
      ss = v128.shuffle<f32>(fifth, fifth, 1, 1, 1, 1);
      t40 = grow(t40, u40, s0, e0, sa, ss);
      t41 = grow(t41, u41, s1, e1, sa, ss);
    }
    affine += affineStep;
    factors += FACTOR_BYTES;
  }
  const s = f32x4.splat(beta);
  putRow(c, t00, t01, add, s);
  c += ldc;
  if (add) add += ldadd;
  putRow(c, t10, t11, add, s);
  c += ldc;
  if (add) add += ldadd;
  putRow(c, t20, t21, add, s);
  c += ldc;
  if (add) add += ldadd;
  putRow(c, t30, t31, add, s);
  c += ldc;
  if (add) add += ldadd;
  putRow(c, t40, t41, add, s);
}
