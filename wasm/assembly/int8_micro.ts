/**
 * Micro-kernel of products in 8 bits: a tile of five rows and eight columns, four inner indices to a 32-bit lane.
 *
 * Values of the left side are signed bytes, those of the right side codes of 2 to 4 bits, so that the relaxed dot
 * product is exact everywhere. For sixteen inner indices a strip has 80 bytes: four of each of its five rows, the next four of
 * each, and so on, so that one load brings four of them and nothing of it waits in a register; a panel has 128, four bytes in the
 * place of each f32 of `gemm_micro.ts`. It is exported: inlined into its caller it would lose its registers.
 */

/**
 * Bytes of the factors of a group, for five rows: four scales, four factors of the bias, the fifth row's scale, factor and
 * first value of its sums, one word free, and the first values of the four.
 */
export const FACTOR_BYTES: usize = 64;

/** Adds four products of bytes `x` with codes to each of four sums. */
// @ts-ignore: decorator
@inline
export function dot(x: v128, code: v128, sum: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(x, code, sum);
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
export function grow(t: v128, d: v128, s: v128, b: v128, sa: v128, ss: v128): v128 {
  return f32x4.relaxed_madd(
    f32x4.mul(f32x4.convert_i32x4_s(d), s),
    sa,
    f32x4.relaxed_madd(b, ss, t),
  );
}

/** Stores eight columns, with `beta * add` where `add` is not 0. */
// @ts-ignore: decorator
@inline
export function putRow(c: usize, t0: v128, t1: v128, add: usize, beta: v128): void {
  if (add) {
    t0 = f32x4.relaxed_madd(beta, v128.load(add), t0);
    t1 = f32x4.relaxed_madd(beta, v128.load(add, 16), t1);
  }
  v128.store(c, t0);
  v128.store(c, t1, 16);
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
    const first = v128.load(factors, 48);
    let c00 = v128.shuffle<i32>(first, first, 0, 0, 0, 0);
    let c01 = c00;
    let c10 = v128.shuffle<i32>(first, first, 1, 1, 1, 1);
    let c11 = c10;
    let c20 = v128.shuffle<i32>(first, first, 2, 2, 2, 2);
    let c21 = c20;
    let c30 = v128.shuffle<i32>(first, first, 3, 3, 3, 3);
    let c31 = c30;
    let c40 = v128.load32_splat(factors, 40);
    let c41 = c40;
    const stop = min(end, a + <usize> groupSteps * 80);
    for (; a < stop; a += 80, b += 128) {
      let b0 = v128.load(b);
      let b1 = v128.load(b, 16);
      let x = v128.load(a);
      let s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c00 = dot(s, b0, c00);
      c01 = dot(s, b1, c01);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c10 = dot(s, b0, c10);
      c11 = dot(s, b1, c11);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c20 = dot(s, b0, c20);
      c21 = dot(s, b1, c21);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c30 = dot(s, b0, c30);
      c31 = dot(s, b1, c31);
      x = v128.load(a, 16);
      s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c40 = dot(s, b0, c40);
      c41 = dot(s, b1, c41);
      b0 = v128.load(b, 32);
      b1 = v128.load(b, 48);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c00 = dot(s, b0, c00);
      c01 = dot(s, b1, c01);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c10 = dot(s, b0, c10);
      c11 = dot(s, b1, c11);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c20 = dot(s, b0, c20);
      c21 = dot(s, b1, c21);
      x = v128.load(a, 32);
      s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c30 = dot(s, b0, c30);
      c31 = dot(s, b1, c31);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c40 = dot(s, b0, c40);
      c41 = dot(s, b1, c41);
      b0 = v128.load(b, 64);
      b1 = v128.load(b, 80);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c00 = dot(s, b0, c00);
      c01 = dot(s, b1, c01);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c10 = dot(s, b0, c10);
      c11 = dot(s, b1, c11);
      x = v128.load(a, 48);
      s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c20 = dot(s, b0, c20);
      c21 = dot(s, b1, c21);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c30 = dot(s, b0, c30);
      c31 = dot(s, b1, c31);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c40 = dot(s, b0, c40);
      c41 = dot(s, b1, c41);
      b0 = v128.load(b, 96);
      b1 = v128.load(b, 112);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c00 = dot(s, b0, c00);
      c01 = dot(s, b1, c01);
      x = v128.load(a, 64);
      s = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      c10 = dot(s, b0, c10);
      c11 = dot(s, b1, c11);
      s = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      c20 = dot(s, b0, c20);
      c21 = dot(s, b1, c21);
      s = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      c30 = dot(s, b0, c30);
      c31 = dot(s, b1, c31);
      s = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      c40 = dot(s, b0, c40);
      c41 = dot(s, b1, c41);
    }
    const s0 = v128.load(affine);
    const s1 = v128.load(affine, 16);
    const b0 = v128.load(affine, 32);
    const b1 = v128.load(affine, 48);
    const scale = v128.load(factors);
    const factor = v128.load(factors, 16);
    const fifth = v128.load(factors, 32);
    let sa = v128.shuffle<f32>(scale, scale, 0, 0, 0, 0);
    let ss = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
    t00 = grow(t00, c00, s0, b0, sa, ss);
    t01 = grow(t01, c01, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 1, 1, 1, 1);
    ss = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
    t10 = grow(t10, c10, s0, b0, sa, ss);
    t11 = grow(t11, c11, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 2, 2, 2, 2);
    ss = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
    t20 = grow(t20, c20, s0, b0, sa, ss);
    t21 = grow(t21, c21, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(scale, scale, 3, 3, 3, 3);
    ss = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
    t30 = grow(t30, c30, s0, b0, sa, ss);
    t31 = grow(t31, c31, s1, b1, sa, ss);
    sa = v128.shuffle<f32>(fifth, fifth, 0, 0, 0, 0);
    ss = v128.shuffle<f32>(fifth, fifth, 1, 1, 1, 1);
    t40 = grow(t40, c40, s0, b0, sa, ss);
    t41 = grow(t41, c41, s1, b1, sa, ss);
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
