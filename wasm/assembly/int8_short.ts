/**
 * Micro-kernels as that of `int8_micro.ts` with sums of 16 bits, for processors that have no instruction for the dot product of
 * four bytes with a sum: there it takes three, these two.
 *
 * A lane adds up half of a column's products over a whole group. It begins with `-middle * Σ byte` of its bytes, which makes
 * codes signed: then it ends within `middle * Σ |byte|`, and what it was in between does not matter. That fits always where a
 * group has 64 codes of 4 bits, 128 of 3 or 256 of 2, and in longer ones unless nearly all bytes are near the largest; whether it
 * does is found when they are rounded. Results are the same to the bit.
 */

import { FACTOR_BYTES, grow, putRow } from "./int8_micro";

/** Adds two products of bytes `x` with codes to each of eight sums. */
// @ts-ignore: decorator
@inline
function pairs(x: v128, code: v128, sum: v128): v128 {
  return i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(x, code));
}

/** Sums of neighbours, in 32 bits. */
// @ts-ignore: decorator
@inline
function wide(sums: v128): v128 {
  return i32x4.extadd_pairwise_i16x8_s(sums);
}

/** Whether sums that begin at {@linkcode startOf} end within 16 bits, where magnitudes of the bytes of a lane sum up to `most`. */
// @ts-ignore: decorator
@inline
export function fitsShort(most: i32, middle: i32): bool {
  return most * middle <= 0x7fff;
}

/** What the sums of a row begin with, of both lanes of a column, from the sums of its bytes in the lanes of four columns. */
// @ts-ignore: decorator
@inline
export function startOf(sums: v128, middle: i32): i32 {
  let x = i16x8.add(sums, v128.shuffle<i32>(sums, sums, 2, 3, 2, 3));
  x = i16x8.add(x, v128.shuffle<i32>(x, x, 1, 1, 1, 1));
  return i32x4.extract_lane(i16x8.mul(x, i16x8.splat(<i16> -middle)), 0);
}

/** The larger sum of the two lanes of a column, from those of four columns. */
// @ts-ignore: decorator
@inline
export function mostOf(sums: v128): i32 {
  let x = i16x8.add(sums, v128.shuffle<i32>(sums, sums, 2, 3, 2, 3));
  x = i16x8.add(x, v128.shuffle<i32>(x, x, 1, 1, 1, 1));
  return max(i16x8.extract_lane_u(x, 0), i16x8.extract_lane_u(x, 1));
}

/** The tile's sums over groups; globals as in `int8_micro.ts`. */
let t00: v128 = f32x4.splat(0);
let t01: v128 = f32x4.splat(0);
let t10: v128 = f32x4.splat(0);
let t11: v128 = f32x4.splat(0);
let t20: v128 = f32x4.splat(0);
let t21: v128 = f32x4.splat(0);
let t30: v128 = f32x4.splat(0);
let t31: v128 = f32x4.splat(0);
let t40: v128 = f32x4.splat(0);
let t41: v128 = f32x4.splat(0);

/** A group's sums of a row, scaled and added to the tile's. */
// @ts-ignore: decorator
@inline
function end(signed: bool, t: v128, c: v128, start: v128, s: v128, b: v128, sa: v128, ss: v128): v128 {
  const d = wide(c);
  return signed
    ? f32x4.relaxed_madd(f32x4.convert_i32x4_s(d), sa, t)
    : grow(t, i32x4.sub(d, start), s, b, sa, ss);
}

/** `signed`: codes stay signed, and there are no scales and biases; else what sums begin with is taken off again. */
// @ts-ignore: decorator
@inline
function tile(
  signed: bool,
  steps: u32,
  groupSteps: u32,
  a: usize,
  factors: usize,
  b: usize,
  affine: usize,
  c: usize,
  ldc: usize,
  add: usize,
  ldadd: usize,
  beta: f32,
  row: usize,
  ldrow: usize,
): void {
  t00 = signed ? v128.load32_splat(row) : f32x4.splat(0);
  t01 = t00;
  t10 = signed ? v128.load32_splat(row + ldrow) : f32x4.splat(0);
  t11 = t10;
  t20 = signed ? v128.load32_splat(row + ldrow * 2) : f32x4.splat(0);
  t21 = t20;
  t30 = signed ? v128.load32_splat(row + ldrow * 3) : f32x4.splat(0);
  t31 = t30;
  t40 = signed ? v128.load32_splat(row + ldrow * 4) : f32x4.splat(0);
  t41 = t40;
  const last = a + <usize> steps * 80;
  while (a < last) {
    const begin = v128.load(factors, 48);
    let c00 = v128.shuffle<i32>(begin, begin, 0, 0, 0, 0);
    let c10 = v128.shuffle<i32>(begin, begin, 1, 1, 1, 1);
    let c20 = v128.shuffle<i32>(begin, begin, 2, 2, 2, 2);
    let c30 = v128.shuffle<i32>(begin, begin, 3, 3, 3, 3);
    let c40 = v128.load32_splat(factors, 40);
    let c01 = c00;
    let c11 = c10;
    let c21 = c20;
    let c31 = c30;
    let c41 = c40;
    const stop = min(last, a + <usize> groupSteps * 80);
    for (; a < stop; a += 80, b += 128) {
        let b0 = v128.load(b);
        let b1 = v128.load(b, 16);
        let x = v128.load(a);
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
        x = v128.load(a, 16);
        s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
        c40 = pairs(s, b0, c40);
        c41 = pairs(s, b1, c41);
        b0 = v128.load(b, 32);
        b1 = v128.load(b, 48);
        s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
        c00 = pairs(s, b0, c00);
        c01 = pairs(s, b1, c01);
        s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
        c10 = pairs(s, b0, c10);
        c11 = pairs(s, b1, c11);
        s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
        c20 = pairs(s, b0, c20);
        c21 = pairs(s, b1, c21);
        x = v128.load(a, 32);
        s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
        c30 = pairs(s, b0, c30);
        c31 = pairs(s, b1, c31);
        s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
        c40 = pairs(s, b0, c40);
        c41 = pairs(s, b1, c41);
        b0 = v128.load(b, 64);
        b1 = v128.load(b, 80);
        s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
        c00 = pairs(s, b0, c00);
        c01 = pairs(s, b1, c01);
        s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
        c10 = pairs(s, b0, c10);
        c11 = pairs(s, b1, c11);
        x = v128.load(a, 48);
        s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
        c20 = pairs(s, b0, c20);
        c21 = pairs(s, b1, c21);
        s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
        c30 = pairs(s, b0, c30);
        c31 = pairs(s, b1, c31);
        s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
        c40 = pairs(s, b0, c40);
        c41 = pairs(s, b1, c41);
        b0 = v128.load(b, 96);
        b1 = v128.load(b, 112);
        s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
        c00 = pairs(s, b0, c00);
        c01 = pairs(s, b1, c01);
        x = v128.load(a, 64);
        s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
        c10 = pairs(s, b0, c10);
        c11 = pairs(s, b1, c11);
        s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
        c20 = pairs(s, b0, c20);
        c21 = pairs(s, b1, c21);
        s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
        c30 = pairs(s, b0, c30);
        c31 = pairs(s, b1, c31);
        s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
        c40 = pairs(s, b0, c40);
        c41 = pairs(s, b1, c41);
    }
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let b0 = s0;
    let b1 = s0;
    let factor = s0;
    let start = s0;
    if (!signed) {
      s0 = v128.load(affine);
      s1 = v128.load(affine, 16);
      b0 = v128.load(affine, 32);
      b1 = v128.load(affine, 48);
      factor = v128.load(factors, 16);
      start = wide(v128.load(factors, 48));
    }
    const scale = v128.load(factors);
    const fifth = v128.load(factors, 32);
    let sa = v128.shuffle<f32>(scale, scale, 0, 0, 0, 0);
    let ss = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
    let d = v128.shuffle<i32>(start, start, 0, 0, 0, 0);
    t00 = end(signed, t00, c00, d, s0, b0, sa, ss);
    t01 = end(signed, t01, c01, d, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 1, 1, 1, 1);
    ss = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
    d = v128.shuffle<i32>(start, start, 1, 1, 1, 1);
    t10 = end(signed, t10, c10, d, s0, b0, sa, ss);
    t11 = end(signed, t11, c11, d, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 2, 2, 2, 2);
    ss = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
    d = v128.shuffle<i32>(start, start, 2, 2, 2, 2);
    t20 = end(signed, t20, c20, d, s0, b0, sa, ss);
    t21 = end(signed, t21, c21, d, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 3, 3, 3, 3);
    ss = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
    d = v128.shuffle<i32>(start, start, 3, 3, 3, 3);
    t30 = end(signed, t30, c30, d, s0, b0, sa, ss);
    t31 = end(signed, t31, c31, d, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(fifth, fifth, 0, 0, 0, 0);
    ss = v128.shuffle<f32>(fifth, fifth, 1, 1, 1, 1);
    d = wide(v128.shuffle<i32>(fifth, fifth, 2, 2, 2, 2));
    t40 = end(signed, t40, c40, d, s0, b0, sa, ss);
    t41 = end(signed, t41, c41, d, s1, b1, sa, ss);
    if (!signed) affine += 64;
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

/** As `micro8` without `row`, with {@linkcode startOf} in the place of first values. */
export function micro16(
  steps: u32,
  groupSteps: u32,
  a: usize,
  factors: usize,
  b: usize,
  affine: usize,
  c: usize,
  ldc: usize,
  add: usize,
  ldadd: usize,
  beta: f32,
): void {
  tile(false, steps, groupSteps, a, factors, b, affine, c, ldc, add, ldadd, beta, 0, 0);
}

/** As `micro8` with scales of 1 and biases of 0; codes are signed, by {@linkcode startOf} in the place of first values. */
export function micro16Signed(
  steps: u32,
  groupSteps: u32,
  a: usize,
  factors: usize,
  b: usize,
  c: usize,
  ldc: usize,
  add: usize,
  ldadd: usize,
  beta: f32,
  row: usize,
  ldrow: usize,
): void {
  tile(true, steps, groupSteps, a, factors, b, 0, c, ldc, add, ldadd, beta, row, ldrow);
}
