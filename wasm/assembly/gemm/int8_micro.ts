/**
 * Micro-kernel of products in 8 bits: a tile of five rows and eight columns, four inner indices to a 32-bit lane.
 *
 * Values of the left side are signed bytes, those of the right side codes of 2 to 5 bits, so that the relaxed dot
 * product is exact everywhere. For sixteen inner indices a strip has 80 bytes: four of each of its five rows, the next four of
 * each, and so on, so that one load brings four of them and nothing of it waits in a register; a panel has 128, four bytes in the
 * place of each f32 of `gemm_micro.ts`. It is exported: inlined into its caller it would lose its registers.
 */

/**
 * Bytes of the factors of a group, for five rows: four scales, four factors of the bias, the fifth row's scale, factor and
 * first value of its sums, one word free, and the first values of the four.
 */
export const FACTOR_BYTES: usize = 64;

/**
 * Modes of adding up products. `LONG`: four to a sum of 32 bits. `SHORT` and `SIGNED`: two to a sum of 16 bits, see
 * `int8_short.ts`; codes are signed, with `SHORT` what sums begin with is taken off again.
 */
// @ts-ignore: decorator
@inline
const LONG: i32 = 0;
// @ts-ignore: decorator
@inline
const SHORT: i32 = 1;
// @ts-ignore: decorator
@inline
const SIGNED: i32 = 2;

/** Adds four products of bytes `x` with codes to each of four sums. */
// @ts-ignore: decorator
@inline
export function dot(x: v128, code: v128, sum: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(x, code, sum);
}

/** Adds products of bytes `x` with codes to sums. */
// @ts-ignore: decorator
@inline
function products(sums: i32, x: v128, code: v128, sum: v128): v128 {
  return sums == LONG
    ? dot(x, code, sum)
    : i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(x, code));
}

/** Sums of neighbours, in 32 bits. */
// @ts-ignore: decorator
@inline
function wide(sums: v128): v128 {
  return i32x4.extadd_pairwise_i16x8_s(sums);
}

/**
 * The tile's sums over groups. Where an engine checks every access to memory in code, they are nearer in globals, of which
 * each thread has its own.
 */
let t00: v128 = i32x4.splat(0);
let t01: v128 = i32x4.splat(0);
let t10: v128 = i32x4.splat(0);
let t11: v128 = i32x4.splat(0);
let t20: v128 = i32x4.splat(0);
let t21: v128 = i32x4.splat(0);
let t30: v128 = i32x4.splat(0);
let t31: v128 = i32x4.splat(0);
let t40: v128 = i32x4.splat(0);
let t41: v128 = i32x4.splat(0);

/** `t + sa * s * d + ss * b` with the integers `d`. */
// @ts-ignore: decorator
@inline
function grow(t: v128, d: v128, s: v128, b: v128, sa: v128, ss: v128): v128 {
  return f32x4.relaxed_madd(
    f32x4.mul(f32x4.convert_i32x4_s(d), s),
    sa,
    f32x4.relaxed_madd(b, ss, t),
  );
}

/** Initial value of a row of the tile: at `at` where there is a column of them, at `row`. */
// @ts-ignore: decorator
@inline
function first(sums: i32, row: usize, at: usize): v128 {
  return sums == SIGNED
    ? v128.load32_splat(at)
    : row
    ? v128.load32_splat(at)
    : f32x4.splat(0);
}

/** A group's sums of a row, scaled and added to the tile's. */
// @ts-ignore: decorator
@inline
function end(sums: i32, t: v128, c: v128, start: v128, s: v128, b: v128, sa: v128, ss: v128): v128 {
  return sums == LONG
    ? grow(t, c, s, b, sa, ss)
    : sums == SHORT
    ? grow(t, i32x4.sub(wide(c), start), s, b, sa, ss)
    : f32x4.relaxed_madd(f32x4.convert_i32x4_s(wide(c)), sa, t);
}

/** Stores eight columns, with `beta * add` where `add` is not 0. */
// @ts-ignore: decorator
@inline
function putRow(c: usize, t0: v128, t1: v128, add: usize, beta: v128): void {
  if (add) {
    t0 = f32x4.relaxed_madd(beta, v128.load(add), t0);
    t1 = f32x4.relaxed_madd(beta, v128.load(add, 16), t1);
  }
  v128.store(c, t0);
  v128.store(c, t1, 16);
}

/** A tile with sums of one kind. `SIGNED` has no scales and biases. */
// @ts-ignore: decorator
@inline
function tile(
  sums: i32,
  steps: u32,
  groupSteps: u32,
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
  t00 = first(sums, row, row);
  t01 = t00;
  t10 = first(sums, row, row + ldrow);
  t11 = t10;
  t20 = first(sums, row, row + ldrow * 2);
  t21 = t20;
  t30 = first(sums, row, row + ldrow * 3);
  t31 = t30;
  t40 = first(sums, row, row + ldrow * 4);
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
      c00 = products(sums, s, b0, c00);
      c01 = products(sums, s, b1, c01);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c10 = products(sums, s, b0, c10);
      c11 = products(sums, s, b1, c11);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c20 = products(sums, s, b0, c20);
      c21 = products(sums, s, b1, c21);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c30 = products(sums, s, b0, c30);
      c31 = products(sums, s, b1, c31);
      x = v128.load(a, 16);
      s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c40 = products(sums, s, b0, c40);
      c41 = products(sums, s, b1, c41);
      b0 = v128.load(b, 32);
      b1 = v128.load(b, 48);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c00 = products(sums, s, b0, c00);
      c01 = products(sums, s, b1, c01);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c10 = products(sums, s, b0, c10);
      c11 = products(sums, s, b1, c11);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c20 = products(sums, s, b0, c20);
      c21 = products(sums, s, b1, c21);
      x = v128.load(a, 32);
      s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c30 = products(sums, s, b0, c30);
      c31 = products(sums, s, b1, c31);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c40 = products(sums, s, b0, c40);
      c41 = products(sums, s, b1, c41);
      b0 = v128.load(b, 64);
      b1 = v128.load(b, 80);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c00 = products(sums, s, b0, c00);
      c01 = products(sums, s, b1, c01);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c10 = products(sums, s, b0, c10);
      c11 = products(sums, s, b1, c11);
      x = v128.load(a, 48);
      s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c20 = products(sums, s, b0, c20);
      c21 = products(sums, s, b1, c21);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c30 = products(sums, s, b0, c30);
      c31 = products(sums, s, b1, c31);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c40 = products(sums, s, b0, c40);
      c41 = products(sums, s, b1, c41);
      b0 = v128.load(b, 96);
      b1 = v128.load(b, 112);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c00 = products(sums, s, b0, c00);
      c01 = products(sums, s, b1, c01);
      x = v128.load(a, 64);
      s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c10 = products(sums, s, b0, c10);
      c11 = products(sums, s, b1, c11);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c20 = products(sums, s, b0, c20);
      c21 = products(sums, s, b1, c21);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c30 = products(sums, s, b0, c30);
      c31 = products(sums, s, b1, c31);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c40 = products(sums, s, b0, c40);
      c41 = products(sums, s, b1, c41);
    }
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let b0 = s0;
    let b1 = s0;
    let factor = s0;
    let start = s0;
    if (sums != SIGNED) {
      s0 = v128.load(affine);
      s1 = v128.load(affine, 16);
      b0 = v128.load(affine, 32);
      b1 = v128.load(affine, 48);
      factor = v128.load(factors, 16);
      if (sums == SHORT) start = wide(v128.load(factors, 48));
    }
    const scale = v128.load(factors);
    const fifth = v128.load(factors, 32);
    let sa = v128.shuffle<f32>(scale, scale, 0, 0, 0, 0);
    let ss = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
    let d = v128.shuffle<i32>(start, start, 0, 0, 0, 0);
    t00 = end(sums, t00, c00, d, s0, b0, sa, ss);
    t01 = end(sums, t01, c01, d, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 1, 1, 1, 1);
    ss = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
    d = v128.shuffle<i32>(start, start, 1, 1, 1, 1);
    t10 = end(sums, t10, c10, d, s0, b0, sa, ss);
    t11 = end(sums, t11, c11, d, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 2, 2, 2, 2);
    ss = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
    d = v128.shuffle<i32>(start, start, 2, 2, 2, 2);
    t20 = end(sums, t20, c20, d, s0, b0, sa, ss);
    t21 = end(sums, t21, c21, d, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 3, 3, 3, 3);
    ss = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
    d = v128.shuffle<i32>(start, start, 3, 3, 3, 3);
    t30 = end(sums, t30, c30, d, s0, b0, sa, ss);
    t31 = end(sums, t31, c31, d, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(fifth, fifth, 0, 0, 0, 0);
    ss = v128.shuffle<f32>(fifth, fifth, 1, 1, 1, 1);
    if (sums == SHORT) d = wide(v128.shuffle<i32>(fifth, fifth, 2, 2, 2, 2));
    t40 = end(sums, t40, c40, d, s0, b0, sa, ss);
    t41 = end(sums, t41, c41, d, s1, b1, sa, ss);
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

/**
 * `c = beta * add + row + Σ over groups`: `steps` steps in groups of `groupSteps` (the last may be short). A group adds
 * `scale[row] * s[column] * dot + factor[row] * b[column]`; `affine` holds eight `s` and eight `b`, `affineStep` bytes
 * further for the next group. `row`, where not 0, is one value a row.
 */
export function micro8(
  steps: u32,
  groupSteps: u32,
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
  tile(LONG, steps, groupSteps, a, factors, b, affine, affineStep, c, ldc, add, ldadd, beta, row, ldrow);
}

/** As `micro8` without `row`, with `startOf` in the place of first values. */
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
  tile(SHORT, steps, groupSteps, a, factors, b, affine, 64, c, ldc, add, ldadd, beta, 0, 0);
}

/** As `micro8` with scales of 1 and biases of 0; codes are signed, by `startOf` in the place of first values. */
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
  tile(SIGNED, steps, groupSteps, a, factors, b, 0, 0, c, ldc, add, ldadd, beta, row, ldrow);
}
