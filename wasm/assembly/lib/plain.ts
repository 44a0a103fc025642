/**
 * Replacements of relaxed SIMD in the plain build, see `../../build.ts`: the same numbers but for multiply-adds, which round
 * twice.
 */

// @ts-ignore: decorator
@inline
export function madd32(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

// @ts-ignore: decorator
@inline
export function nmadd32(a: v128, b: v128, c: v128): v128 {
  return f32x4.sub(c, f32x4.mul(a, b));
}

// @ts-ignore: decorator
@inline
export function madd64(a: v128, b: v128, c: v128): v128 {
  return f64x2.add(f64x2.mul(a, b), c);
}

// @ts-ignore: decorator
@inline
export function nmadd64(a: v128, b: v128, c: v128): v128 {
  return f64x2.sub(c, f64x2.mul(a, b));
}

/** Sums of two neighbouring products of bytes; with codes of up to 7 bits they fit. */
// @ts-ignore: decorator
@inline
export function dotPairs(a: v128, b: v128): v128 {
  return i16x8.narrow_i32x4_s(
    i32x4.extadd_pairwise_i16x8_s(i16x8.extmul_low_i8x16_s(a, b)),
    i32x4.extadd_pairwise_i16x8_s(i16x8.extmul_high_i8x16_s(a, b)),
  );
}

/** Sums of four neighbouring products of bytes, added to `c`. */
// @ts-ignore: decorator
@inline
export function dotFours(a: v128, b: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.extadd_pairwise_i16x8_s(dotPairs(a, b)));
}
