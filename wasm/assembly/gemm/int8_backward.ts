/**
 * The input gradient of a product in 8 bits: sums over the rows of the weight, whose scales differ within each sum.
 *
 * The gradient times the scales of a group of columns, `dy[i, o] * s[o, g]`, is rounded in blocks of {@linkcode BLOCK}
 * rows `o`. To round it once a group costs little where the largest value of a block need not be looked for: the product
 * of the largest gradient and the largest scale bounds it. Both are made 16-bit units of these beforehand. Biases are a product in f32 with one column a group.
 */

import { share } from "../lib/args";
import { storeTile } from "./gemm";
import { largest, ROUND, TILE_BYTES } from "./int8";
import { FACTOR_BYTES, micro16Signed, micro8 } from "./int8_micro";
import { fitsShort, startOf } from "./int8_short";
import { unpackCodes } from "../quant/pack";

/** Rows of the weight that the gradient is rounded with together. */
const BLOCK: u32 = 128;

/** Units of the largest gradient and of the largest scale of a block: a product of units is 127 * 256 * 2^15 at the most. */
const TOP: f32 = 32767;
const SCALE_TOP: f32 = 32512;

/** Value of a byte of such a product. */
const UNIT: f32 = <f32> (256.0 * 32768.0 / (32767.0 * 32512.0));

/**
 * Words of {@linkcode int8Fold}. Takes a weight's scales and biases apart: n rows, `groups` of a row, the middle code. Out: units `[groups, n]`, 16 bits;
 * mosts `[groups, blocks]`; middles `[n, groups]`, `b + middle * s`.
 */
// @ts-ignore: decorator
@unmanaged
class Int8Fold {
  n: u32;
  groups: u32;
  scales: usize;
  biases: usize;
  middle: f32;
  units: usize;
  mosts: usize;
  middles: usize;
}

export function int8Fold(args: Int8Fold, part: u32, parts: u32): void {
  const n = args.n;
  const groups = args.groups;
  const middle = args.middle;
  const blocks = (n + BLOCK - 1) / BLOCK;
  const end = share(groups, part + 1, parts);
  for (let g = share(groups, part, parts); g < end; g++) {
    const units = args.units + (<usize> (g * n) << 1);
    for (let from: u32 = 0; from < n; from += BLOCK) {
      const to = min(n, from + BLOCK);
      let most: f32 = 0;
      for (let o = from; o < to; o++) {
        const at = <usize> (o * groups + g) << 2;
        const s = load<f32>(args.scales + at);
        const b = load<f32>(args.biases + at);
        store<f32>(args.middles + at, b + middle * s);
        most = max(most, abs(s));
      }
      const factor: f32 = most > 0 ? SCALE_TOP / most : 0;
      for (let o = from; o < to; o++) {
        const at = <usize> (o * groups + g) << 2;
        const s = load<f32>(args.scales + at);
        store<i16>(units + (<usize> o << 1), <i16> nearest(s * factor));
      }
      const block = g * blocks + from / BLOCK;
      store<f32>(args.mosts + (<usize> block << 2), most);
    }
  }
}

/**
 * Words of {@linkcode int8Units}. Makes rows units of 16 bits of the largest magnitude of each block. `rows`: to write, zeros from `m` on; n is a multiple
 * of sixteen. Out: units `[rows, n]`; mosts `[rows, blocks]`, times `alpha`; sums `[rows]`, of the magnitudes of bytes in a
 * lane of 16 bits, at the most.
 */
// @ts-ignore: decorator
@unmanaged
class Int8Units {
  m: u32;
  rows: u32;
  n: u32;
  x: usize;
  xStride: usize;
  units: usize;
  mosts: usize;
  alpha: f32;
  sums: usize;
}

export function int8Units(args: Int8Units, part: u32, parts: u32): void {
  const m = args.m;
  const rows = args.rows;
  const n = args.n;
  const blocks = (n + BLOCK - 1) / BLOCK;
  const round = f32x4.splat(ROUND);
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    let x = args.x + <usize> i * args.xStride;
    let unit = args.units + (<usize> (i * n) << 1);
    let mosts = args.mosts + (<usize> (i * blocks) << 2);
    const sums = args.sums + (<usize> i << 2);
    if (i >= m) {
      memory.fill(unit, 0, <usize> n << 1);
      memory.fill(mosts, 0, <usize> blocks << 2);
      store<i32>(sums, 0);
      continue;
    }
    let sum: i32 = 0;
    for (let from: u32 = 0; from < n; from += BLOCK, mosts += 4) {
      const count = min(BLOCK, n - from);
      const most = largest(x, count);
      const factor = f32x4.splat(most > 0 ? TOP / most : 0);
      let total = i32x4.splat(0);
      for (const stop = x + (<usize> count << 2); x < stop; x += 32) {
        const a = f32x4.add(f32x4.mul(v128.load(x), factor), round);
        const b = f32x4.add(f32x4.mul(v128.load(x, 16), factor), round);
        const units = v128.shuffle<u16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
        v128.store(unit, units);
        unit += 16;
        total = i32x4.add(
          total,
          i32x4.extadd_pairwise_i16x8_u(i16x8.abs(units)),
        );
      }
      store<f32>(mosts, args.alpha * most);
      total = i32x4.add(total, v128.shuffle<i32>(total, total, 2, 3, 2, 3));
      const larger = max(
        i32x4.extract_lane(total, 0),
        i32x4.extract_lane(total, 1),
      );
      // A byte is at most 1/256 of its unit, and half of one more by rounding.
      sum = max(sum, (larger >> 8) + <i32> (count >> 1) + 1);
    }
    store<i32>(sums, sum);
  }
}

/** Packs the codes of some columns, `width` from `from` on, as panels of eight columns with four rows to a lane. */
function packBackward(
  codes: usize,
  rowBytes: usize,
  n: u32,
  bits: u32,
  from: u32,
  width: u32,
  rows: usize,
  panels: usize,
): void {
  const first = codes + <usize> (from >> 3) * bits;
  const panelBytes = <usize> n << 3;
  for (let o: u32 = 0; o < n; o += 4, panels += 32) {
    for (let r: u32 = 0; r < 4; r++) {
      const row = first + <usize> (o + r) * rowBytes;
      unpackCodes(row, width, bits, false, rows + <usize> (r * width));
    }
    let to = panels;
    for (let at = rows; at < rows + width; at += 8, to += panelBytes) {
      const a = v128.load64_zero(at);
      const b = v128.load64_zero(at + <usize> width);
      const c = v128.load64_zero(at + <usize> (2 * width));
      const d = v128.load64_zero(at + <usize> (3 * width));
      const ab = v128.shuffle<u8>(
        a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
      );
      const cd = v128.shuffle<u8>(
        c, d, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
      );
      v128.store(to, v128.shuffle<u16>(ab, cd, 0, 8, 1, 9, 2, 10, 3, 11));
      v128.store(to, v128.shuffle<u16>(ab, cd, 4, 12, 5, 13, 6, 14, 7, 15), 16);
    }
  }
}

/** Sixteen products of a unit and a unit of the scales, as bytes. */
// @ts-ignore: decorator
@inline
function round16(x: usize, by0: v128, by1: v128): v128 {
  const half = i16x8.splat(128);
  // No two are -2^15, so that the relaxed product is exact everywhere.
  const a = i16x8.add(i16x8.relaxed_q15mulr_s(v128.load(x), by0), half);
  const b = i16x8.add(i16x8.relaxed_q15mulr_s(v128.load(x, 16), by1), half);
  return i8x16.narrow_i16x8_s(i16x8.shr_s(a, 8), i16x8.shr_s(b, 8));
}

/** Adds the sums of neighbours of sixteen bytes. */
// @ts-ignore: decorator
@inline
function addPairs(bytes: v128, sums: v128): v128 {
  return i16x8.add(sums, i16x8.extadd_pairwise_i8x16_s(bytes));
}

/** Initial values of a row's sums: in both lanes of 16 bits, or in 32. */
// @ts-ignore: decorator
@inline
function begin(sums: v128, middle: i32, short: bool): i32 {
  const start = startOf(sums, middle);
  return short ? start : (start << 16 >> 16) + (start >> 16);
}

/**
 * Rounds five rows of a block, `stride` bytes apart, into a strip, and sets what their sums begin with in the factors `p`:
 * `-middle` times those of their bytes.
 */
export function roundFive(
  x: usize,
  stride: usize,
  by: usize,
  n: u32,
  step: usize,
  middle: i32,
  short: bool,
  p: usize,
): void {
  let x1 = x + stride;
  let x2 = x1 + stride;
  let x3 = x2 + stride;
  let x4 = x3 + stride;
  let s0 = i16x8.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let s4 = s0;
  for (const end = x + (<usize> n << 1); x < end; step += 80) {
    const by0 = v128.load(by);
    const by1 = v128.load(by, 16);
    const a = round16(x, by0, by1);
    s0 = addPairs(a, s0);
    const b = round16(x1, by0, by1);
    s1 = addPairs(b, s1);
    const c = round16(x2, by0, by1);
    s2 = addPairs(c, s2);
    const d = round16(x3, by0, by1);
    s3 = addPairs(d, s3);
    const e = round16(x4, by0, by1);
    s4 = addPairs(e, s4);
    const abLow = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
    const cdLow = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
    const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
    const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
    v128.store(step, v128.shuffle<i64>(abLow, cdLow, 0, 2));
    v128.store32_lane(step, e, 0, 16);
    v128.store(step, v128.shuffle<i64>(abLow, cdLow, 1, 3), 20);
    v128.store32_lane(step, e, 1, 36);
    v128.store(step, v128.shuffle<i64>(abHigh, cdHigh, 0, 2), 40);
    v128.store32_lane(step, e, 2, 56);
    v128.store(step, v128.shuffle<i64>(abHigh, cdHigh, 1, 3), 60);
    v128.store32_lane(step, e, 3, 76);
    by += 32;
    x += 32;
    x1 += 32;
    x2 += 32;
    x3 += 32;
    x4 += 32;
  }
  store<i32>(p, begin(s0, middle, short), 48);
  store<i32>(p, begin(s1, middle, short), 52);
  store<i32>(p, begin(s2, middle, short), 56);
  store<i32>(p, begin(s3, middle, short), 60);
  store<i32>(p, begin(s4, middle, short), 40);
}

/** Rounds a strip of five rows, the first of which is `first`, for a group of columns, with the factors of its blocks. */
function roundStrip(
  args: Int8Backward,
  first: u32,
  g: u32,
  short: bool,
  strip: usize,
  factors: usize,
): void {
  const n = args.n;
  const blocks = (n + BLOCK - 1) / BLOCK;
  const middle = <i32> args.middle;
  const stride = <usize> n << 1;
  const mostStride = <usize> blocks << 2;
  const x = args.units + <usize> first * stride;
  let mosts = args.mosts + <usize> first * mostStride;
  const by = args.scaleUnits + <usize> g * stride;
  let scales = args.scaleMosts + <usize> g * mostStride;
  for (let from: u32 = 0; from < n; from += BLOCK) {
    const count = min(BLOCK, n - from);
    const at = <usize> from << 1;
    const step = strip + <usize> (from >> 4) * 80;
    roundFive(x + at, stride, by + at, count, step, middle, short, factors);
    const scale = load<f32>(scales) * UNIT;
    let four = f32x4.splat(load<f32>(mosts));
    four = f32x4.replace_lane(four, 1, load<f32>(mosts + mostStride));
    four = f32x4.replace_lane(four, 2, load<f32>(mosts + 2 * mostStride));
    four = f32x4.replace_lane(four, 3, load<f32>(mosts + 3 * mostStride));
    v128.store(factors, f32x4.mul(four, f32x4.splat(scale)));
    v128.store(factors, f32x4.splat(0), 16);
    store<f32>(factors, load<f32>(mosts + 4 * mostStride) * scale, 32);
    store<f32>(factors, 0, 36);
    factors += FACTOR_BYTES;
    mosts += 4;
    scales += 4;
  }
}

/** True if the sums of five rows, the first of which is `first`, fit into 16 bits. */
// @ts-ignore: decorator
@inline
function fitStrip(sums: usize, first: u32, middle: i32): bool {
  if (!sums) return false;
  let most: i32 = 0;
  for (let i: u32 = 0; i < 5; i++) {
    most = max(most, load<i32>(sums + (<usize> (first + i) << 2)));
  }
  return fitsShort(most, middle);
}

/** The micro-kernel with sums of 16 bits or of 32, for a block of the weight's rows at a time. */
// @ts-ignore: decorator
@inline
function multiply(
  short: bool,
  steps: u32,
  a: usize,
  factors: usize,
  b: usize,
  ones: usize,
  c: usize,
  ldc: usize,
  add: usize,
  ldadd: usize,
  beta: f32,
  row: usize,
  ldrow: usize,
): void {
  if (short) {
    micro16Signed(
      steps, BLOCK >> 4, a, factors, b, c, ldc, add, ldadd, beta, row, ldrow,
    );
  } else {
    micro8(
      steps, BLOCK >> 4, a, factors, b, ones, 0,
      c, ldc, add, ldadd, beta, row, ldrow,
    );
  }
}

/**
 * Words of {@linkcode int8Backward}. n: rows of the weight, a multiple of sixteen. `units` and `mosts` of the left side, `scaleUnits` and `scaleMosts` of the
 * scales; `plain`: the part of the biases, `[m rounded up to five, groups]`; `middle`: the middle code; `turn`: groups of a
 * turn; `sums` of the left side (0: sums are of 32 bits). Scratch holds a tile, eight ones and eight zeros, a strip, its
 * factors, four rows of codes, then the panels of a turn.
 */
// @ts-ignore: decorator
@unmanaged
class Int8Backward {
  m: u32;
  n: u32;
  k: u32;
  units: usize;
  mosts: usize;
  scaleUnits: usize;
  scaleMosts: usize;
  plain: usize;
  codes: usize;
  rowBytes: u32;
  bits: u32;
  group: u32;
  middle: u32;
  turn: u32;
  scratch: usize;
  scratchBytes: u32;
  c: usize;
  cStride: usize;
  add: usize; // 0: none
  addStride: usize;
  beta: f32;
  sums: usize;
}

export function int8Backward(
  args: Int8Backward,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const m = args.m;
  const n = args.n;
  const k = args.k;
  const rowBytes = <usize> args.rowBytes;
  const group = args.group;
  const turn = args.turn;
  const tile = args.scratch + <usize> thread * <usize> args.scratchBytes;
  const ldc = args.cStride;
  const ldadd = args.addStride;
  const beta = args.beta;
  const groups = (k + group - 1) / group;
  const steps = n >> 4;
  const ones = tile + TILE_BYTES;
  const strip = ones + 64;
  const factors = strip + <usize> steps * 80;
  const rows = factors + <usize> ((n + BLOCK - 1) / BLOCK) * FACTOR_BYTES;
  const panels = rows + <usize> (4 * group);
  const panelBytes = <usize> n << 3;
  v128.store(ones, f32x4.splat(1));
  v128.store(ones, f32x4.splat(1), 16);
  v128.store(ones, f32x4.splat(0), 32);
  v128.store(ones, f32x4.splat(0), 48);

  const end = share(groups, part + 1, parts);
  for (let g0 = share(groups, part, parts); g0 < end; g0 += turn) {
    const g1 = min(end, g0 + turn);
    for (let g = g0; g < g1; g++) {
      const from = g * group;
      packBackward(
        args.codes, rowBytes, n, args.bits, from,
        min(group, k - from), rows,
        panels + <usize> ((g - g0) * (group >> 3)) * panelBytes,
      );
    }
    for (let i: u32 = 0; i < m; i += 5) {
      const height = min(5, m - i);
      const short = fitStrip(args.sums, i, <i32> args.middle);
      for (let g = g0; g < g1; g++) {
        roundStrip(args, i, g, short, strip, factors);
        const row = args.plain + (<usize> (i * groups + g) << 2);
        let p = panels + <usize> ((g - g0) * (group >> 3)) * panelBytes;
        const stop = min(k, (g + 1) * group);
        for (let j = g * group; j < stop; j += 8, p += panelBytes) {
          const o = <usize> j << 2;
          const c = args.c + <usize> i * ldc + o;
          let add = args.add;
          if (add) add += <usize> i * ldadd + o;
          if (height == 5) {
            multiply(
              short, steps, strip, factors, p, ones,
              c, ldc, add, ldadd, beta, row, <usize> groups << 2,
            );
          } else {
            multiply(
              short, steps, strip, factors, p, ones,
              tile, 32, 0, 0, 0, row, <usize> groups << 2,
            );
            storeTile(tile, height, 8, c, ldc, add, ldadd, beta);
          }
        }
      }
    }
  }
}
