/** The instructions whose results a platform may choose, for the loader to look at: see `../../runtime/trial.ts`. */

/**
 * From `at` on: sixteen bytes, sixteen codes, four sums, eight fractions and eight more, sixteen places, four numbers; behind
 * them come the results, a vector each: sums of two products of bytes, of four, products of fractions, bytes by their
 * places, whole parts.
 */
export function relaxed(at: usize): void {
  const bytes = v128.load(at);
  const codes = v128.load(at, 16);
  v128.store(at, i16x8.relaxed_dot_i8x16_i7x16_s(bytes, codes), 112);
  v128.store(
    at,
    i32x4.relaxed_dot_i8x16_i7x16_add_s(bytes, codes, v128.load(at, 32)),
    128,
  );
  v128.store(
    at,
    i16x8.relaxed_q15mulr_s(v128.load(at, 48), v128.load(at, 64)),
    144,
  );
  v128.store(at, i8x16.relaxed_swizzle(bytes, v128.load(at, 80)), 160);
  v128.store(at, i32x4.relaxed_trunc_f32x4_s(v128.load(at, 96)), 176);
}
