/**
 * Scale and bias of a block, and the codes of a block with a given scale.
 *
 * Every rounding here is that of plain f32 arithmetic in the order of `src/device/reference/quant.ts`: no fused
 * multiply-add, so that all devices choose the same codes.
 */

import {
  addSquares,
  encodeLevels,
  errorOf16Levels,
  errorOf4Levels,
  levelOf,
  setCodebook,
} from "./codebook";

/** `absmax` … `clip`, as `wasm/ops/quant.ts` numbers them. */
export const ABSMAX: u32 = 0;
export const MINMAX: u32 = 1;
export const MSE: u32 = 2;
export const STD: u32 = 3;
export const CLIP: u32 = 4;

/** Smallest magnitude that a scale is inverted at, as in bitsandbytes: 1 / less is not finite. */
const TINY: f32 = 1e-38;

/** Constants of all blocks of a job. */
let bits: u32 = 0;
let top: f32 = 0;
let affine: bool = false;

/** Sets the format. `levels` and `thresholds` are sixteen f32 each, the latter padded with infinity; 0 for an affine one. */
export function setFormat(
  bits_: u32,
  levels: usize,
  thresholds: usize,
): void {
  bits = bits_;
  top = <f32> ((1 << bits_) - 1);
  affine = levels == 0;
  setCodebook(levels, thresholds);
}

/** Scale that {@linkcode chooseScale} chose. */
export let chosenScale: f32 = 0;
/** Bias that it chose; 0 for a codebook. */
export let chosenBias: f32 = 0;

let low: f32 = 0;
let high: f32 = 0;

// @ts-ignore: decorator
@inline
function reciprocal(scale: f32): f32 {
  return 1 / (abs(scale) < TINY ? TINY : scale);
}

/** The mask of a magnitude, loaded before a loop; why, `codebook.ts` says. */
const MAGNITUDE: usize = memory.data<i32>([0x7fffffff]);

/** Largest magnitude; NaN where there is one. Magnitudes order as integers, which takes one operation, not seven. */
function absmax(w: usize, n: u32): f32 {
  const mask = v128.load32_splat(MAGNITUDE);
  let m0 = i32x4.splat(0);
  let m1 = m0;
  let m2 = m0;
  let m3 = m0;
  const end = w + (<usize> n << 2);
  const wide = w + (<usize> (n & ~15) << 2);
  for (; w < wide; w += 64) {
    m0 = i32x4.max_s(m0, v128.and(v128.load(w), mask));
    m1 = i32x4.max_s(m1, v128.and(v128.load(w, 16), mask));
    m2 = i32x4.max_s(m2, v128.and(v128.load(w, 32), mask));
    m3 = i32x4.max_s(m3, v128.and(v128.load(w, 48), mask));
  }
  m0 = i32x4.max_s(i32x4.max_s(m0, m1), i32x4.max_s(m2, m3));
  m0 = i32x4.max_s(m0, v128.shuffle<i32>(m0, m0, 2, 3, 0, 1));
  m0 = i32x4.max_s(m0, v128.shuffle<i32>(m0, m0, 1, 0, 3, 2));
  let m = i32x4.extract_lane(m0, 0);
  for (; w < end; w += 4) m = max(m, load<i32>(w) & 0x7fffffff);
  return reinterpret<f32>(m);
}

/** Sets `low` and `high`. Floats with their magnitude bits flipped where negative order as integers. */
function minmax(w: usize, n: u32): void {
  const mask = v128.load32_splat(MAGNITUDE);
  let least = i32x4.splat(i32.MAX_VALUE);
  let most = i32x4.splat(i32.MIN_VALUE);
  const end = w + (<usize> n << 2);
  const wide = w + (<usize> (n & ~3) << 2);
  for (; w < wide; w += 16) {
    const x = v128.load(w);
    const key = v128.xor(x, v128.and(i32x4.shr_s(x, 31), mask));
    least = i32x4.min_s(least, key);
    most = i32x4.max_s(most, key);
  }
  least = i32x4.min_s(least, v128.shuffle<i32>(least, least, 2, 3, 0, 1));
  least = i32x4.min_s(least, v128.shuffle<i32>(least, least, 1, 0, 3, 2));
  most = i32x4.max_s(most, v128.shuffle<i32>(most, most, 2, 3, 0, 1));
  most = i32x4.max_s(most, v128.shuffle<i32>(most, most, 1, 0, 3, 2));
  let a = i32x4.extract_lane(least, 0);
  let b = i32x4.extract_lane(most, 0);
  for (; w < end; w += 4) {
    const x = load<i32>(w);
    const key = x ^ (x >> 31 & 0x7fffffff);
    a = min(a, key);
    b = max(b, key);
  }
  low = reinterpret<f32>(a ^ (a >> 31 & 0x7fffffff));
  high = reinterpret<f32>(b ^ (b >> 31 & 0x7fffffff));
}

/** Takes the affine range from `a` to `b`. */
function between(a: f32, b: f32): void {
  chosenScale = (b - a) / top;
  chosenBias = a;
}

/** Mean and unbiased deviation by the sums of the reference, in its order. */
function moments(w: usize, n: u32, rule: u32): void {
  let sum: f64 = 0;
  for (let i: u32 = 0; i < n; i++) sum += <f64> load<f32>(w + (i << 2));
  const mean = sum / <f64> n;
  let squares: f64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const d = <f64> load<f32>(w + (i << 2)) - mean;
    squares += d * d;
  }
  const std = sqrt(squares / <f64> max<u32>(n - 1, 1));
  if (rule == STD) {
    chosenScale = <f32> (mean + 2.5 * std);
    return;
  }
  minmax(w, n);
  between(max(low, <f32> (mean - 2 * std)), min(high, <f32> (mean + 2 * std)));
}

/** Dequantised value of the code of `w`. */
function roundTrip(w: f32, scale: f32, bias: f32, inverse: f32): f32 {
  if (!affine) return scale * levelOf(w * inverse);
  const x = (w - bias) * inverse;
  return scale * nearest(min(max(x, 0), top)) + bias;
}

/** Per-lane sums of the squared errors of `n` values (a multiple of four) of an affine block, times `unit²`. */
function errorOfAffine(
  w: usize,
  n: u32,
  weight: usize,
  scale: f32,
  bias: f32,
  inverse: f32,
  unit: f32,
): v128 {
  const s = f32x4.splat(scale);
  const b = f32x4.splat(bias);
  const inv = f32x4.splat(inverse);
  const u = f32x4.splat(unit);
  const zero = f32x4.splat(0);
  const most = f32x4.splat(top);
  let sum = f32x4.splat(0);
  for (const end = w + (<usize> n << 2); w < end; w += 16) {
    const x = v128.load(w);
    const q = f32x4.mul(f32x4.sub(x, b), inv);
    const code = f32x4.nearest(f32x4.pmin(most, f32x4.pmax(zero, q)));
    const y = f32x4.add(f32x4.mul(s, code), b);
    sum = addSquares(sum, f32x4.mul(f32x4.sub(x, y), u), weight);
    if (weight) weight += 16;
  }
  return sum;
}

/** Values whose squared errors are summed in f32, 32 a lane, before f64 takes over: large blocks lose nothing. */
const PIECE: u32 = 128;

/**
 * Squared error of a block, weighted if `weight` is not 0, for one candidate; in units of `1 / unit`, a power of two
 * that keeps squares within f32.
 */
function squaredError(
  w: usize,
  n: u32,
  weight: usize,
  scale: f32,
  bias: f32,
  unit: f32,
): f64 {
  const inverse = reciprocal(scale);
  const wide = n & ~3;
  let total: f64 = 0;
  for (let i: u32 = 0; i < wide; i += PIECE) {
    const count = min(PIECE, wide - i);
    const at = w + (i << 2);
    const weightAt = weight ? weight + (i << 2) : 0;
    let sum: v128;
    if (affine) {
      sum = errorOfAffine(at, count, weightAt, scale, bias, inverse, unit);
    } else if (bits == 2) {
      sum = errorOf4Levels(at, count, weightAt, scale, inverse, unit);
    } else {
      sum = errorOf16Levels(at, count, weightAt, scale, inverse, unit);
    }
    const pair = f64x2.add(
      f64x2.promote_low_f32x4(sum),
      f64x2.promote_low_f32x4(v128.shuffle<i32>(sum, sum, 2, 3, 0, 1)),
    );
    total += f64x2.extract_lane(pair, 0) + f64x2.extract_lane(pair, 1);
  }
  for (let i = wide; i < n; i++) {
    const x = load<f32>(w + (i << 2));
    const d = <f64> unit *
      (<f64> x - <f64> roundTrip(x, scale, bias, inverse));
    total += weight ? <f64> load<f32>(weight + (i << 2)) * d * d : d * d;
  }
  return total;
}

/** The best of 25 shrink factors. */
function search(w: usize, n: u32, weight: usize): void {
  let middle: f64 = 0;
  let half: f64 = 0;
  if (!affine) {
    chosenScale = absmax(w, n);
    chosenBias = 0;
  } else {
    minmax(w, n);
    between(low, high);
    middle = (<f64> low + <f64> high) / 2;
    half = (<f64> high - <f64> low) / 2;
  }
  const full = <f64> chosenScale;
  const exponent = reinterpret<i32>(chosenScale) >> 23 & 255;
  const unit = reinterpret<f32>(254 - min(max(exponent, 1), 253) << 23);
  let least: f64 = Infinity;
  for (let i = 0; i < 25; i++) {
    const f = <f64> (40 - i) / 40;
    const scale = <f32> (f * full);
    const bias = <f32> (middle - f * half);
    const error = squaredError(w, n, weight, scale, bias, unit);
    if (error < least) {
      least = error;
      chosenScale = scale;
      chosenBias = bias;
    }
  }
}

/** Chooses scale and bias of the `n` values at `w` by `rule`; `weight` is 0 or one f32 a value. */
export function chooseScale(w: usize, n: u32, weight: usize, rule: u32): void {
  chosenBias = 0;
  if (rule == ABSMAX) {
    const most = absmax(w, n);
    if (affine) between(-most, most);
    else chosenScale = most;
  } else if (rule == MINMAX) {
    minmax(w, n);
    between(low, high);
  } else if (rule == MSE) {
    search(w, n, weight);
  } else {
    moments(w, n, rule);
  }
}

/** Sixteen 32-bit codes as bytes. */
// @ts-ignore: decorator
@inline
function storeCodes(
  out: usize,
  c0: v128,
  c1: v128,
  c2: v128,
  c3: v128,
): void {
  v128.store(
    out,
    i8x16.narrow_i16x8_u(
      i16x8.narrow_i32x4_s(c0, c1),
      i16x8.narrow_i32x4_s(c2, c3),
    ),
  );
}

/** Codes, one a byte, of the `n` values of a block with the scale and bias that were chosen. */
export function encode(w: usize, n: u32, out: usize): void {
  if (affine) encodeAffine(w, n, chosenScale, chosenBias, out);
  else encodeLevels(w, n, reciprocal(chosenScale), out);
}

/** Codes, one a byte, of `n` values of an affine block. */
function encodeAffine(
  w: usize,
  n: u32,
  scale: f32,
  bias: f32,
  out: usize,
): void {
  const inverse = reciprocal(scale);
  const inv = f32x4.splat(inverse);
  const b = f32x4.splat(bias);
  const zero = f32x4.splat(0);
  const most = f32x4.splat(top);
  const end = w + (<usize> n << 2);
  const wide = w + (<usize> (n & ~15) << 2);
  for (; w < wide; w += 64, out += 16) {
    storeCodes(
      out,
      affine4(v128.load(w), b, inv, zero, most),
      affine4(v128.load(w, 16), b, inv, zero, most),
      affine4(v128.load(w, 32), b, inv, zero, most),
      affine4(v128.load(w, 48), b, inv, zero, most),
    );
  }
  for (; w < end; w += 4) {
    const x = (load<f32>(w) - bias) * inverse;
    const q = nearest(min(max(x, 0), top));
    store<u8>(out++, q == q ? <u8> <i32> q : 0);
  }
}

/** The pseudo-minimum and -maximum turn NaN into 0, so that the conversion is exact on every machine. */
// @ts-ignore: decorator
@inline
function affine4(x: v128, b: v128, inv: v128, zero: v128, most: v128): v128 {
  const q = f32x4.mul(f32x4.sub(x, b), inv);
  return i32x4.relaxed_trunc_f32x4_s(
    f32x4.nearest(f32x4.pmin(most, f32x4.pmax(zero, q))),
  );
}
