/**
 * Products with few rows on the left: each value of the right matrix is used once or a few times, so that it is not
 * packed, and codes of a quantised one become values in registers only.
 */

import { share } from "../lib/args";
import {
  high16, high8, low16, low8, NIBBLE, number0, number1, number2, number3,
} from "../quant/decode";
import { unpackCodes } from "../quant/pack";
import { dotRows, sumLanes } from "../lib/vector";

/** Sums of four vectors. */
// @ts-ignore: decorator
@inline
export function sumFour(s0: v128, s1: v128, s2: v128, s3: v128): v128 {
  const s01 = f32x4.add(
    v128.shuffle<f32>(s0, s1, 0, 4, 1, 5),
    v128.shuffle<f32>(s0, s1, 2, 6, 3, 7),
  );
  const s23 = f32x4.add(
    v128.shuffle<f32>(s2, s3, 0, 4, 1, 5),
    v128.shuffle<f32>(s2, s3, 2, 6, 3, 7),
  );
  return f32x4.add(
    v128.shuffle<f32>(s01, s23, 0, 1, 4, 5),
    v128.shuffle<f32>(s01, s23, 2, 3, 6, 7),
  );
}

/** `x` times each of four rows of `n` values, `stride` bytes apart. */
export function dotFour(x: usize, y: usize, stride: usize, n: u32): v128 {
  const y1 = y + stride;
  const y2 = y1 + stride;
  const y3 = y2 + stride;
  const wide = <usize> (n & ~3) << 2;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (let at: usize = 0; at < wide; at += 16) {
    const v = v128.load(x + at);
    s0 = f32x4.relaxed_madd(v, v128.load(y + at), s0);
    s1 = f32x4.relaxed_madd(v, v128.load(y1 + at), s1);
    s2 = f32x4.relaxed_madd(v, v128.load(y2 + at), s2);
    s3 = f32x4.relaxed_madd(v, v128.load(y3 + at), s3);
  }
  let sums = sumFour(s0, s1, s2, s3);
  for (let at = wide; at < <usize> n << 2; at += 4) {
    let last = f32x4.splat(load<f32>(y + at));
    last = f32x4.replace_lane(last, 1, load<f32>(y1 + at));
    last = f32x4.replace_lane(last, 2, load<f32>(y2 + at));
    last = f32x4.replace_lane(last, 3, load<f32>(y3 + at));
    sums = f32x4.relaxed_madd(v128.load32_splat(x + at), last, sums);
  }
  return sums;
}

/** Words of {@linkcode gemv}. `c = alpha * a bᵀ + beta * add`. */
// @ts-ignore: decorator
@unmanaged
class Gemv {
  m: u32;
  n: u32;
  k: u32;
  a: usize;
  aStride: usize;
  b: usize;
  bStride: usize;
  c: usize;
  cStride: usize;
  add: usize; // 0: none
  addStride: usize;
  alpha: f32;
  beta: f32;
}

export function gemv(args: Gemv, part: u32, parts: u32): void {
  const m = args.m;
  const n = args.n;
  const k = args.k;
  const a = args.a;
  const lda = args.aStride;
  const b = args.b;
  const ldb = args.bStride;
  // Dealt out by fours, so that sums are the same for any number of parts.
  const fours = n >> 2;
  const end = share(fours, part + 1, parts) << 2;
  for (let j = share(fours, part, parts) << 2; j < end; j += 4) {
    for (let i: u32 = 0; i < m; i++) {
      const x = a + <usize> i * lda;
      putFour(args, i, j, dotFour(x, b + <usize> j * ldb, ldb, k));
    }
  }
  if (part + 1 < parts) return;
  for (let j = fours << 2; j < n; j++) {
    for (let i: u32 = 0; i < m; i++) {
      // One column four times: a column's sum is the same wherever it stands.
      const x = dotFour(a + <usize> i * lda, b + <usize> j * ldb, 0, k);
      put(args, i, j, f32x4.extract_lane(x, 0));
    }
  }
}

/** As {@linkcode put} for four columns from `j` on. */
// @ts-ignore: decorator
@inline
function putFour(args: Gemv, i: u32, j: u32, x: v128): void {
  const at = <usize> j << 2;
  const add = args.add;
  x = f32x4.mul(x, f32x4.splat(args.alpha));
  if (add) {
    const from = add + <usize> i * args.addStride + at;
    x = f32x4.relaxed_madd(
      f32x4.splat(args.beta),
      v128.load(from),
      x,
    );
  }
  v128.store(args.c + <usize> i * args.cStride + at, x);
}

/** Stores `alpha * x + beta * add` at (i, j) of `args.c`. */
// @ts-ignore: decorator
@inline
function put<Args>(args: Args, i: u32, j: u32, x: f32): void {
  const at = <usize> j << 2;
  const add = args.add;
  x *= args.alpha;
  if (add) {
    x += args.beta * load<f32>(add + <usize> i * args.addStride + at);
  }
  store<f32>(args.c + <usize> i * args.cStride + at, x);
}

/** Adds the products of sixteen values of `x` with the levels of sixteen codes to four times four sums. */
// @ts-ignore: decorator
@inline
function product16(
  x: usize,
  c: v128,
  p0: v128,
  p1: v128,
  p2: v128,
  p3: v128,
  s: v128,
): v128 {
  const b0 = i8x16.relaxed_swizzle(p0, c);
  const b1 = i8x16.relaxed_swizzle(p1, c);
  const b2 = i8x16.relaxed_swizzle(p2, c);
  const b3 = i8x16.relaxed_swizzle(p3, c);
  const l01 = low8(b0, b1);
  const l23 = low8(b2, b3);
  const h01 = high8(b0, b1);
  const h23 = high8(b2, b3);
  let t = f32x4.mul(v128.load(x), low16(l01, l23));
  t = f32x4.relaxed_madd(v128.load(x, 16), high16(l01, l23), t);
  s = f32x4.relaxed_madd(v128.load(x, 32), low16(h01, h23), s);
  t = f32x4.relaxed_madd(v128.load(x, 48), high16(h01, h23), t);
  return f32x4.add(s, t);
}

/**
 * Four partial sums of `x` times a row of values, `n` codes in blocks of `block` (both multiples of sixteen) with one
 * scale each. Codes lie one a byte.
 */
export function dotBytes(
  x: usize,
  codes: usize,
  n: u32,
  block: u32,
  scales: usize,
  planes: usize,
): v128 {
  const p0 = v128.load(planes);
  const p1 = v128.load(planes, 16);
  const p2 = v128.load(planes, 32);
  const p3 = v128.load(planes, 48);
  let total = f32x4.splat(0);
  for (const end = codes + n; codes < end; scales += 4) {
    let s = f32x4.splat(0);
    for (const stop = min(end, codes + block); codes < stop; codes += 16) {
      s = product16(x, v128.load(codes), p0, p1, p2, p3, s);
      x += 64;
    }
    total = f32x4.relaxed_madd(s, v128.load32_splat(scales), total);
  }
  return total;
}

/** As {@linkcode dotBytes} for codes that are their own levels. */
export function dotNumbers(
  x: usize,
  codes: usize,
  n: u32,
  block: u32,
  scales: usize,
): v128 {
  let total = f32x4.splat(0);
  for (const end = codes + n; codes < end; scales += 4) {
    let s = f32x4.splat(0);
    for (const stop = min(end, codes + block); codes < stop; codes += 16) {
      const c = v128.load(codes);
      let t = f32x4.mul(v128.load(x), number0(c));
      t = f32x4.relaxed_madd(v128.load(x, 16), number1(c), t);
      s = f32x4.relaxed_madd(v128.load(x, 32), number2(c), s);
      t = f32x4.relaxed_madd(v128.load(x, 48), number3(c), t);
      s = f32x4.add(s, t);
      x += 64;
    }
    total = f32x4.relaxed_madd(s, v128.load32_splat(scales), total);
  }
  return total;
}

/** As {@linkcode dotBytes} for codes of four bits as they are stored. */
export function dotNibbles(
  x: usize,
  codes: usize,
  n: u32,
  block: u32,
  scales: usize,
  planes: usize,
  high: bool,
): v128 {
  const p0 = v128.load(planes);
  const p1 = v128.load(planes, 16);
  const p2 = v128.load(planes, 32);
  const p3 = v128.load(planes, 48);
  const nibble = v128.load32_splat(NIBBLE);
  let total = f32x4.splat(0);
  for (const end = codes + (n >> 1); codes < end; scales += 4) {
    let s = f32x4.splat(0);
    for (const stop = min(end, codes + (block >> 1)); codes < stop; x += 64) {
      const bytes = v128.load64_zero(codes);
      const lows = v128.and(bytes, nibble);
      const highs = v128.and(i16x8.shr_u(bytes, 4), nibble);
      const c = high ? low8(highs, lows) : low8(lows, highs);
      s = product16(x, c, p0, p1, p2, p3, s);
      codes += 8;
    }
    total = f32x4.relaxed_madd(s, v128.load32_splat(scales), total);
  }
  return total;
}

/** Sums of a row of `n` values over its blocks. */
function blockSums(x: usize, n: u32, block: u32, sums: usize): void {
  for (const end = x + (<usize> n << 2); x < end; sums += 4) {
    let s = f32x4.splat(0);
    for (const stop = min(end, x + (<usize> block << 2)); x < stop; x += 16) {
      s = f32x4.add(s, v128.load(x));
    }
    store<f32>(sums, sumLanes(s));
  }
}

/**
 * Words of {@linkcode gemvQuantized}. `blocks`: of a row, each of `block` values, a multiple of sixteen, as k is; `biases` 0: none. Scratch holds the sums of
 * the blocks of each row of `a`, then a row of codes, one a byte.
 */
// @ts-ignore: decorator
@unmanaged
class GemvQuantized {
  m: u32;
  n: u32;
  k: u32;
  a: usize;
  aStride: usize;
  codes: usize;
  rowBytes: u32;
  scales: usize;
  biases: usize;
  blocks: u32;
  block: u32;
  bits: u32;
  high: u32;
  planes: usize;
  scratch: usize;
  scratchBytes: u32;
  c: usize;
  cStride: usize;
  add: usize; // 0: none
  addStride: usize;
  alpha: f32;
  beta: f32;
}

export function gemvQuantized(
  args: GemvQuantized,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const m = args.m;
  const n = args.n;
  const k = args.k;
  const a = args.a;
  const lda = args.aStride;
  const rowBytes = <usize> args.rowBytes;
  const blocks = args.blocks;
  const block = args.block;
  const bits = args.bits;
  const high = args.high != 0;
  const planes = args.planes;
  const sums = args.scratch + <usize> thread * args.scratchBytes;
  const sumBytes = <usize> blocks << 2;
  const unpacked = sums + (<usize> m * sumBytes + 63 & ~63);
  const affine = args.biases != 0;
  if (affine) {
    for (let i: u32 = 0; i < m; i++) {
      blockSums(a + <usize> i * lda, k, block, sums + <usize> i * sumBytes);
    }
  }
  const end = share(n, part + 1, parts);
  for (let j = share(n, part, parts); j < end; j++) {
    const codes = args.codes + <usize> j * rowBytes;
    const first = <usize> j * sumBytes;
    const scales = args.scales + first;
    if (bits != 4) unpackCodes(codes, k, bits, high, unpacked);
    for (let i: u32 = 0; i < m; i++) {
      const x = a + <usize> i * lda;
      let sum = sumLanes(
        bits == 4
          ? dotNibbles(x, codes, k, block, scales, planes, high)
          : bits > 4
          ? dotNumbers(x, unpacked, k, block, scales)
          : dotBytes(x, unpacked, k, block, scales, planes),
      );
      if (affine) {
        const biases = args.biases + first;
        sum += dotRows(sums + <usize> i * sumBytes, biases, blocks);
      }
      put(args, i, j, sum);
    }
  }
}
