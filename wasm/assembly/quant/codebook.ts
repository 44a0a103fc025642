/**
 * Codes and levels of a codebook, four values at a time.
 *
 * A code is found by halving: fifteen thresholds (padded with infinity) in four comparisons, where a byte shuffle picks
 * the next threshold by the bits so far. Comparisons are with the same thresholds as in plain code, so codes are
 * exact; NaN takes code 0, as it is above no threshold.
 *
 * ```text
 * x > t7          bit 3
 * x > t3 t11      bit 2
 * x > t1 … t13    bit 1, one table
 * x > t0 … t14    bit 0, two tables
 * ```
 */

/** Thresholds and levels of the current format, sixteen f32 each. */
let thresholds: usize = 0;
let levels: usize = 0;

/** Sets the codebook; both addresses hold sixteen f32, and the thresholds end with infinity. */
export function setCodebook(levels_: usize, thresholds_: usize): void {
  levels = levels_;
  thresholds = thresholds_;
}

/**
 * Constants of the loops: the bytes 8, the bytes 4, byte indices of a table's first f32, and the lanes 12.
 *
 * They are loaded before a loop, not written where they are used: V8 would rebuild each one in every iteration, in
 * three instructions.
 */
const CONSTANTS: usize = memory.data<i32>([
  0x08080808,
  0x04040404,
  0x03020100,
  12,
]);

/** Chooses the f32 of a table of four that two masks give: `2 * high + low`. */
// @ts-ignore: decorator
@inline
function index(
  high: v128,
  low: v128,
  eights: v128,
  fours: v128,
  first: v128,
): v128 {
  return v128.or(
    v128.or(v128.and(high, eights), v128.and(low, fours)),
    first,
  );
}

/** `a` where `mask` is 0, `a ^ change` where it is set: a choice in two operations. */
// @ts-ignore: decorator
@inline
function change(a: v128, mask: v128, change: v128): v128 {
  return v128.xor(a, v128.and(mask, change));
}

/** Even elements of eight. */
// @ts-ignore: decorator
@inline
function even(p: usize): v128 {
  return v128.shuffle<f32>(v128.load(p), v128.load(p, 16), 0, 2, 4, 6);
}

/** Elements 1, 5, 9 and 13 of sixteen. */
// @ts-ignore: decorator
@inline
function second(p: usize): v128 {
  return v128.shuffle<f32>(
    v128.shuffle<f32>(v128.load(p), v128.load(p, 16), 1, 5, 1, 5),
    v128.shuffle<f32>(v128.load(p, 32), v128.load(p, 48), 1, 5, 1, 5),
    0,
    1,
    4,
    5,
  );
}

/** Codes of four values in units of the scale. */
// @ts-ignore: decorator
@inline
function codes4(
  x: v128,
  t7: v128,
  t3: v128,
  t3to11: v128,
  t1: v128,
  t0: v128,
  t0to8: v128,
  eights: v128,
  fours: v128,
  first: v128,
  twelves: v128,
): v128 {
  const b3 = f32x4.gt(x, t7);
  const b2 = f32x4.gt(x, change(t3, b3, t3to11));
  const high = index(b3, b2, eights, fours, first);
  const b1 = f32x4.gt(x, i8x16.relaxed_swizzle(t1, high));
  const low = index(b2, b1, eights, fours, first);
  const b0 = f32x4.gt(
    x,
    change(
      i8x16.relaxed_swizzle(t0, low),
      b3,
      i8x16.relaxed_swizzle(t0to8, low),
    ),
  );
  // The lowest byte of `high` holds bits 3 and 2.
  return i32x4.sub(
    i32x4.sub(v128.and(high, twelves), i32x4.add(b1, b1)),
    b0,
  );
}

/** Codes, one a byte, of `n` values in units of `1 / inverse`. */
export function encodeLevels(w: usize, n: u32, inverse: f32, out: usize): void {
  const inv = f32x4.splat(inverse);
  const t7 = v128.load32_splat(thresholds, 28);
  const t3 = v128.load32_splat(thresholds, 12);
  const t3to11 = v128.xor(t3, v128.load32_splat(thresholds, 44));
  const t1 = second(thresholds);
  const t0 = even(thresholds);
  const t0to8 = v128.xor(t0, even(thresholds + 32));
  const eights = v128.load32_splat(CONSTANTS);
  const fours = v128.load32_splat(CONSTANTS, 4);
  const first = v128.load32_splat(CONSTANTS, 8);
  const end = w + (<usize> n << 2);
  const wide = w + (<usize> (n & ~15) << 2);
  const twelves = v128.load32_splat(CONSTANTS, 12);
  for (; w < wide; w += 64, out += 16) {
    let x = f32x4.mul(v128.load(w), inv);
    const c0 = codes4(
      x,
      t7,
      t3,
      t3to11,
      t1,
      t0,
      t0to8,
      eights,
      fours,
      first,
      twelves,
    );
    x = f32x4.mul(v128.load(w, 16), inv);
    const c1 = codes4(
      x,
      t7,
      t3,
      t3to11,
      t1,
      t0,
      t0to8,
      eights,
      fours,
      first,
      twelves,
    );
    x = f32x4.mul(v128.load(w, 32), inv);
    const c2 = codes4(
      x,
      t7,
      t3,
      t3to11,
      t1,
      t0,
      t0to8,
      eights,
      fours,
      first,
      twelves,
    );
    x = f32x4.mul(v128.load(w, 48), inv);
    const c3 = codes4(
      x,
      t7,
      t3,
      t3to11,
      t1,
      t0,
      t0to8,
      eights,
      fours,
      first,
      twelves,
    );
    v128.store(
      out,
      i8x16.narrow_i16x8_u(
        i16x8.narrow_i32x4_s(c0, c1),
        i16x8.narrow_i32x4_s(c2, c3),
      ),
    );
  }
  for (; w < end; w += 4) {
    store<u8>(out++, codeOf(load<f32>(w) * inverse));
  }
}

/** Code of one value in units of the scale. */
function codeOf(x: f32): u8 {
  let code: u8 = 0;
  for (let t: usize = 0; t < 60; t += 4) {
    code += <u8> (x > load<f32>(thresholds + t));
  }
  return code;
}

/** Level of one value in units of the scale. */
export function levelOf(x: f32): f32 {
  return load<f32>(levels + (<usize> codeOf(x) << 2));
}

/** Sum of squares of a vector, each weighted if `weight` is not 0, added to `sum`. */
// @ts-ignore: decorator
@inline
export function addSquares(sum: v128, d: v128, weight: usize): v128 {
  let e = f32x4.mul(d, d);
  if (weight) e = f32x4.mul(e, v128.load(weight));
  return f32x4.add(sum, e);
}

/**
 * Per-lane sums of the squared errors of `n` values (a multiple of four) for one scale, times `unit²`; four levels.
 */
export function errorOf4Levels(
  w: usize,
  n: u32,
  weight: usize,
  scale: f32,
  inverse: f32,
  unit: f32,
): v128 {
  const s = f32x4.splat(scale);
  const inv = f32x4.splat(inverse);
  const u = f32x4.splat(unit);
  const t0 = v128.load32_splat(thresholds);
  const t1 = v128.load32_splat(thresholds, 4);
  const t2 = v128.load32_splat(thresholds, 8);
  const l0 = v128.load32_splat(levels);
  const l1 = v128.xor(l0, v128.load32_splat(levels, 4));
  const l2 = v128.xor(
    v128.load32_splat(levels, 4),
    v128.load32_splat(levels, 8),
  );
  const l3 = v128.xor(
    v128.load32_splat(levels, 8),
    v128.load32_splat(levels, 12),
  );
  let sum = f32x4.splat(0);
  for (const end = w + (<usize> n << 2); w < end; w += 16) {
    const value = v128.load(w);
    const x = f32x4.mul(value, inv);
    // Thresholds ascend, so the exclusive ors telescope to the bits of one level.
    let y = change(l0, f32x4.gt(x, t0), l1);
    y = change(y, f32x4.gt(x, t1), l2);
    y = change(y, f32x4.gt(x, t2), l3);
    sum = addSquares(
      sum,
      f32x4.mul(f32x4.sub(value, f32x4.mul(s, y)), u),
      weight,
    );
    if (weight) weight += 16;
  }
  return sum;
}

/** As {@linkcode errorOf4Levels} for up to sixteen levels. */
export function errorOf16Levels(
  w: usize,
  n: u32,
  weight: usize,
  scale: f32,
  inverse: f32,
  unit: f32,
): v128 {
  const s = f32x4.splat(scale);
  const inv = f32x4.splat(inverse);
  const u = f32x4.splat(unit);
  const t7 = v128.load32_splat(thresholds, 28);
  const t3 = v128.load32_splat(thresholds, 12);
  const t3to11 = v128.xor(t3, v128.load32_splat(thresholds, 44));
  const t1 = second(thresholds);
  const t0 = even(thresholds);
  const t0to8 = v128.xor(t0, even(thresholds + 32));
  const l0 = v128.load(levels);
  const l0to4 = v128.xor(l0, v128.load(levels, 16));
  const l8 = v128.load(levels, 32);
  const l8to12 = v128.xor(l8, v128.load(levels, 48));
  const eights = v128.load32_splat(CONSTANTS);
  const fours = v128.load32_splat(CONSTANTS, 4);
  const first = v128.load32_splat(CONSTANTS, 8);
  let sum = f32x4.splat(0);
  for (const end = w + (<usize> n << 2); w < end; w += 16) {
    const value = v128.load(w);
    const x = f32x4.mul(value, inv);
    const b3 = f32x4.gt(x, t7);
    const b2 = f32x4.gt(x, change(t3, b3, t3to11));
    const b1 = f32x4.gt(
      x,
      i8x16.relaxed_swizzle(t1, index(b3, b2, eights, fours, first)),
    );
    const low = index(b2, b1, eights, fours, first);
    const b0 = f32x4.gt(
      x,
      change(
        i8x16.relaxed_swizzle(t0, low),
        b3,
        i8x16.relaxed_swizzle(t0to8, low),
      ),
    );
    const lowest = index(b1, b0, eights, fours, first);
    const below = change(
      i8x16.relaxed_swizzle(l0, lowest),
      b2,
      i8x16.relaxed_swizzle(l0to4, lowest),
    );
    const above = change(
      i8x16.relaxed_swizzle(l8, lowest),
      b2,
      i8x16.relaxed_swizzle(l8to12, lowest),
    );
    const y = change(below, b3, v128.xor(below, above));
    sum = addSquares(
      sum,
      f32x4.mul(f32x4.sub(value, f32x4.mul(s, y)), u),
      weight,
    );
    if (weight) weight += 16;
  }
  return sum;
}
