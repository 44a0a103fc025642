/**
 * Sums of 16 bits in the micro-kernels of `int8_micro.ts`, for processors that have no instruction for the dot product of
 * four bytes with a sum: there it takes three, these two.
 *
 * A lane adds up half of a column's products over a whole group. It begins with `-middle * Σ byte` of its bytes, which makes
 * codes signed: then it ends within `middle * Σ |byte|`, and what it was in between does not matter. That fits always where a
 * group has 32 codes of 5 bits, 64 of 4, 128 of 3 or 256 of 2, and in longer ones unless nearly all bytes are near the largest; whether it
 * does is found when they are rounded. Results are the same to the bit.
 */

/** True if sums that begin at {@linkcode startOf} end within 16 bits, where magnitudes of the bytes of a lane sum up to `most`. */
// @ts-ignore: decorator
@inline
export function fitsShort(most: i32, middle: i32): bool {
  return most * middle <= 0x7fff;
}

/** Initial values of a row's sums, of both lanes of a column, from the sums of its bytes in the lanes of four columns. */
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
