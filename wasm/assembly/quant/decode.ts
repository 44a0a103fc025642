/** Decoding of bytes of codes: halves of bytes, the shuffles that put four planes of bytes together, numbers. */

/** The low half of a byte, loaded before a loop; why, `codebook.ts` says. */
export const NIBBLE: usize = memory.data<i32>([0x0f0f0f0f]);

/** Bytes 0 to 7 of both, in turn. */
// @ts-ignore: decorator
@inline
export function low8(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(
    a,
    b,
    0,
    16,
    1,
    17,
    2,
    18,
    3,
    19,
    4,
    20,
    5,
    21,
    6,
    22,
    7,
    23,
  );
}

/** Bytes 8 to 15 of both, in turn. */
// @ts-ignore: decorator
@inline
export function high8(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(
    a,
    b,
    8,
    24,
    9,
    25,
    10,
    26,
    11,
    27,
    12,
    28,
    13,
    29,
    14,
    30,
    15,
    31,
  );
}

/** Pairs of bytes 0 to 3 of both, in turn. */
// @ts-ignore: decorator
@inline
export function low16(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

/** Pairs of bytes 4 to 7 of both, in turn. */
// @ts-ignore: decorator
@inline
export function high16(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** Bytes 0 to 3 as numbers. */
// @ts-ignore: decorator
@inline
export function number0(c: v128): v128 {
  return f32x4.convert_i32x4_s(
    i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(c)),
  );
}

/** Bytes 4 to 7 as numbers. */
// @ts-ignore: decorator
@inline
export function number1(c: v128): v128 {
  return f32x4.convert_i32x4_s(
    i32x4.extend_high_i16x8_u(i16x8.extend_low_i8x16_u(c)),
  );
}

/** Bytes 8 to 11 as numbers. */
// @ts-ignore: decorator
@inline
export function number2(c: v128): v128 {
  return f32x4.convert_i32x4_s(
    i32x4.extend_low_i16x8_u(i16x8.extend_high_i8x16_u(c)),
  );
}

/** Bytes 12 to 15 as numbers. */
// @ts-ignore: decorator
@inline
export function number3(c: v128): v128 {
  return f32x4.convert_i32x4_s(
    i32x4.extend_high_i16x8_u(i16x8.extend_high_i8x16_u(c)),
  );
}
