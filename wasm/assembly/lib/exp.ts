/**
 * Exponentials and logarithms, for softmax and its relatives.
 *
 * `exp(x) = 2^n * exp(r)` with `n` the whole number nearest `x / ln 2`; a polynomial of degree 5 gives `exp(r)` for
 * `|r| <= ln 2 / 2`, its coefficients chosen for the least relative error with `exp(0) = 1`. Relative error
 * below 4e-7; below -87.3, where f32 ends, the result is 0.
 */

import { storeFew, sumLanes } from "./vector";

/**
 * The least argument, 1 / ln 2, 1.5 * 2^23, ln 2, coefficients of degrees 5 to 2, 1. In memory: as constants in the code
 * they would be built anew in every turn of a loop, which takes twice the time.
 */
const CONSTANTS: usize = memory.data<f32>([
  -87.3,
  1.44269504088896341,
  12582912,
  0.69314718055994531,
  0.008312487974762917,
  0.041890326887369156,
  0.16667115688323975,
  0.499992311000824,
  1,
]);

/** Constant `i` of {@linkcode exp4} in all lanes, to be loaded before a loop. */
// @ts-ignore: decorator
@inline
export function expConstant(i: i32): v128 {
  return v128.load32_splat(CONSTANTS + (<usize> i << 2));
}

/** Four exponentials of values up to 88; the rest of the arguments are the constants in their order. */
// @ts-ignore: decorator
@inline
export function exp4(
  x: v128,
  least: v128,
  log2e: v128,
  magic: v128,
  ln2: v128,
  c5: v128,
  c4: v128,
  c3: v128,
  c2: v128,
  one: v128,
): v128 {
  const under = f32x4.lt(x, least);
  x = f32x4.pmax(x, least);
  // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
  const t = f32x4.relaxed_madd(x, log2e, magic);
  const r = f32x4.relaxed_nmadd(f32x4.sub(t, magic), ln2, x);
  let p = f32x4.relaxed_madd(c5, r, c4);
  p = f32x4.relaxed_madd(p, r, c3);
  p = f32x4.relaxed_madd(p, r, c2);
  p = f32x4.relaxed_madd(p, r, one);
  p = f32x4.relaxed_madd(p, r, one);
  return v128.andnot(i32x4.add(p, i32x4.shl(t, 23)), under);
}

/** Replaces `n` values by `exp(x - shift)`, `shift` at least the largest less 88, and returns their sum. */
export function expSum(x: usize, n: u32, shift: f32): f32 {
  const least = expConstant(0);
  const log2e = expConstant(1);
  const magic = expConstant(2);
  const ln2 = expConstant(3);
  const c5 = expConstant(4);
  const c4 = expConstant(5);
  const c3 = expConstant(6);
  const c2 = expConstant(7);
  const one = expConstant(8);
  const s = f32x4.splat(shift);
  let sum = f32x4.splat(0);
  let v = sum;
  for (const wide = x + (<usize> (n & ~3) << 2); x < wide; x += 16) {
    v = f32x4.sub(v128.load(x), s);
    v = exp4(v, least, log2e, magic, ln2, c5, c4, c3, c2, one);
    v128.store(x, v);
    sum = f32x4.add(sum, v);
  }
  let total = sumLanes(sum);
  const rest = <usize> n & 3;
  if (rest) {
    v = f32x4.sub(v128.load(x), s);
    v = exp4(v, least, log2e, magic, ln2, c5, c4, c3, c2, one);
    storeFew(x, v, rest);
    for (const end = x + (rest << 2); x < end; x += 4) total += load<f32>(x);
  }
  return total;
}

/** One exponential, of a value up to 88. */
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(
    exp4(
      f32x4.splat(x),
      expConstant(0),
      expConstant(1),
      expConstant(2),
      expConstant(3),
      expConstant(4),
      expConstant(5),
      expConstant(6),
      expConstant(7),
      expConstant(8),
    ),
    0,
  );
}

/** The largest of `n` values, -infinity of none. */
export function rowMax(x: usize, n: u32): f32 {
  const end = x + (<usize> n << 2);
  let m0 = f32x4.splat(-Infinity);
  let m1 = m0;
  let m2 = m0;
  let m3 = m0;
  for (const wide = x + (<usize> (n & ~15) << 2); x < wide; x += 64) {
    m0 = f32x4.pmax(m0, v128.load(x));
    m1 = f32x4.pmax(m1, v128.load(x, 16));
    m2 = f32x4.pmax(m2, v128.load(x, 32));
    m3 = f32x4.pmax(m3, v128.load(x, 48));
  }
  for (; x + 16 <= end; x += 16) m0 = f32x4.pmax(m0, v128.load(x));
  m0 = f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3));
  m0 = f32x4.pmax(m0, v128.shuffle<f32>(m0, m0, 2, 3, 2, 3));
  let most = max(f32x4.extract_lane(m0, 0), f32x4.extract_lane(m0, 1));
  for (; x < end; x += 4) most = max(most, load<f32>(x));
  return most;
}

/** Natural logarithm of a normal number: `2 atanh((f - 1) / (f + 1))` of the fraction, within 1e-10. */
export function logarithm(x: f64): f64 {
  if (!(x > 0 && x < Infinity)) return x == 0 ? -Infinity : x;
  const bits = reinterpret<u64>(x);
  let exponent = <i32> (bits >> 52) - 1023;
  let f = reinterpret<f64>(bits & 0x000fffffffffffff | 0x3ff0000000000000);
  if (f > 1.4142135623730951) {
    f *= 0.5;
    exponent++;
  }
  const s = (f - 1) / (f + 1);
  const z = s * s;
  const series = 1 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 +
              z * (1.0 / 9 + z * (1.0 / 11 + z * (1.0 / 13))))));
  return 2 * s * series + <f64> exponent * 0.6931471805599453;
}
