/**
 * Products of a matrix rounded to 8 bits with codes: jobs that round, and jobs that multiply.
 *
 * A row of the left side is rounded group by group, `x ≈ scale * byte`, so that `Σ w x` over a group is
 * `scale * (s * Σ code byte + b * Σ byte)` with one scale and bias of the weight. For the gradient the sum runs over the
 * rows of the weight, whose scales are multiplied into the left side before it is rounded.
 */

import { share } from "../lib/args";
import { FACTOR_BYTES, micro16, micro8 } from "./int8_micro";
import { fitsShort, mostOf, startOf } from "./int8_short";
import { unpackCodes } from "../quant/pack";
import { storeTile } from "./gemm";

/** 1.5 * 2^23: added to a small value, it leaves the nearest integer in the low bits. */
export const ROUND: f32 = 12582912;

/** Where the factors of a strip's first group say that its sums fit into 16 bits. */
const SHORT_AT: usize = 44;

/** Elements of the longest group whose bytes sum up in 16 bits. */
const LONGEST: u32 = 512;

/** Bytes at the start of a thread's scratch memory: one tile. */
export const TILE_BYTES: usize = 192;

/** The low bytes of sixteen integers. */
// @ts-ignore: decorator
@inline
export function lowBytes(x0: v128, x1: v128, x2: v128, x3: v128): v128 {
  const a = v128.shuffle<u8>(
    x0, x1, 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0,
  );
  const b = v128.shuffle<u8>(
    x2, x3, 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0,
  );
  return v128.shuffle<u64>(a, b, 0, 2);
}

/** Adds sixteen signed bytes to four sums. */
// @ts-ignore: decorator
@inline
export function addBytes(bytes: v128, sums: v128): v128 {
  return i32x4.add(
    sums,
    i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(bytes)),
  );
}

/** Puts sixteen bytes of row `i` of a strip where its step has them. */
// @ts-ignore: decorator
@inline
function storeStrip(step: usize, i: u32, bytes: v128): void {
  step += <usize> i << 2;
  v128.store32_lane(step, bytes, 0);
  v128.store32_lane(step, bytes, 1, 20);
  v128.store32_lane(step, bytes, 2, 40);
  v128.store32_lane(step, bytes, 3, 60);
}

/** Sum of four integers. */
// @ts-ignore: decorator
@inline
export function sumInts(v: v128): i32 {
  const two = i32x4.add(v, v128.shuffle<i32>(v, v, 2, 3, 2, 3));
  return i32x4.extract_lane(two, 0) + i32x4.extract_lane(two, 1);
}

/** The largest magnitude of `n` values, a multiple of four. */
export function largest(x: usize, n: u32): f32 {
  let most = f32x4.splat(0);
  for (const end = x + (<usize> n << 2); x < end; x += 16) {
    most = f32x4.pmax(most, f32x4.abs(v128.load(x)));
  }
  most = f32x4.pmax(most, v128.shuffle<f32>(most, most, 2, 3, 2, 3));
  return max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1));
}

/** Rounds `n` values times `factor`, a multiple of sixteen, to bytes of row `i` of a strip; returns their sum. */
export function roundRow(
  x: usize,
  factor: f32,
  n: u32,
  step: usize,
  i: u32,
): i32 {
  const round = f32x4.splat(ROUND);
  const f = f32x4.splat(factor);
  let sums = i32x4.splat(0);
  for (const end = x + (<usize> n << 2); x < end; x += 64, step += 80) {
    const x0 = f32x4.add(f32x4.mul(v128.load(x), f), round);
    const x1 = f32x4.add(f32x4.mul(v128.load(x, 16), f), round);
    const x2 = f32x4.add(f32x4.mul(v128.load(x, 32), f), round);
    const x3 = f32x4.add(f32x4.mul(v128.load(x, 48), f), round);
    sums = i32x4.add(
      sums,
      i32x4.add(i32x4.add(x0, x1), i32x4.add(x2, x3)),
    );
    storeStrip(step, i, lowBytes(x0, x1, x2, x3));
  }
  // Each integer has the bits of ROUND in it.
  return sumInts(sums) - <i32> n * reinterpret<i32>(ROUND);
}

/** Sets the factors of row `i` of a group. */
// @ts-ignore: decorator
@inline
function setFactors(p: usize, i: u32, scale: f32, bias: f32): void {
  if (i == 4) {
    store<f32>(p, scale, 32);
    store<f32>(p, bias, 36);
    store<i32>(p, 0, 40);
    return;
  }
  p += <usize> i << 2;
  store<f32>(p, scale);
  store<f32>(p, bias, 16);
  store<i32>(p, 0, 48);
}

/** Has the sums of row `i` of a group begin with those of its bytes times `-middle`; returns whether they fit into 16 bits. */
function beginRow(step: usize, i: u32, n: u32, middle: i32, p: usize): bool {
  let at = step + (<usize> i << 2);
  let sums = i16x8.splat(0);
  let most = i16x8.splat(0);
  for (const end = at + <usize> (n >> 4) * 80; at < end; at += 80) {
    let x = v128.load32_zero(at);
    x = v128.load32_lane(at, x, 1, 20);
    x = v128.load32_lane(at, x, 2, 40);
    x = v128.load32_lane(at, x, 3, 60);
    sums = i16x8.add(sums, i16x8.extadd_pairwise_i8x16_s(x));
    most = i16x8.add(most, i16x8.extadd_pairwise_i8x16_u(i8x16.abs(x)));
  }
  const to = i == 4 ? p + 40 : p + 48 + (<usize> i << 2);
  store<i32>(to, startOf(sums, middle));
  return fitsShort(mostOf(most), middle);
}

/**
 * Words of {@linkcode int8Rows}. Rounds rows by groups, into strips; k and group are multiples of sixteen. `middle`: the middle code where sums are
 * of 16 bits, or 0.
 */
// @ts-ignore: decorator
@unmanaged
class Int8Rows {
  m: u32;
  k: u32;
  x: usize;
  xStride: usize;
  group: u32;
  strips: usize;
  factors: usize;
  alpha: f32;
  middle: u32;
}

export function int8Rows(args: Int8Rows, part: u32, parts: u32): void {
  const m = args.m;
  const k = args.k;
  const ldx = args.xStride;
  const group = args.group;
  const alpha = args.alpha;
  const middle = args.middle;
  const groups = (k + group - 1) / group;
  const strips = (m + 4) / 5;
  const end = share(strips, part + 1, parts);
  for (let s = share(strips, part, parts); s < end; s++) {
    const strip = args.strips + <usize> s * <usize> (k >> 4) * 80;
    const factors = args.factors + <usize> (s * groups) * FACTOR_BYTES;
    let fits = middle != 0 && group <= LONGEST;
    for (let i: u32 = 0; i < 5; i++) {
      const row = s * 5 + i;
      const x = args.x + <usize> row * ldx;
      for (let g: u32 = 0; g < groups; g++) {
        const from = g * group;
        const n = min(group, k - from);
        const step = strip + <usize> (from >> 4) * 80;
        const to = factors + <usize> g * FACTOR_BYTES;
        if (row >= m) {
          for (let j: u32 = 0; j < n; j += 16) {
            storeStrip(step + <usize> (j >> 4) * 80, i, i32x4.splat(0));
          }
          setFactors(to, i, 0, 0);
          continue;
        }
        const at = x + (<usize> from << 2);
        const most = largest(at, n);
        const sum = roundRow(at, most > 0 ? 127 / most : 0, n, step, i);
        const scale = alpha * (most / 127);
        setFactors(to, i, scale, scale * <f32> sum);
        if (fits) fits = beginRow(step, i, n, <i32> middle, to);
      }
    }
    store<i32>(factors, fits, SHORT_AT);
    if (fits) continue;
    for (let g: u32 = 0; g < groups; g++) {
      const to = factors + <usize> g * FACTOR_BYTES;
      store<i32>(to, 0, 40);
      v128.store(to, i32x4.splat(0), 48);
    }
  }
}

/** Packs rows of codes, one a byte, as columns of a panel; `rows` of eight exist. */
function packForward(
  codes: usize,
  rowBytes: usize,
  rows: u32,
  k: u32,
  bits: u32,
  panel: usize,
  row: usize,
): void {
  for (let r: u32 = 0; r < 8; r++) {
    let to = panel + (<usize> r << 2);
    if (r < rows) unpackCodes(codes + <usize> r * rowBytes, k, bits, false, row);
    else memory.fill(row, 0, k);
    for (let at = row; at < row + k; at += 16, to += 128) {
      const x = v128.load(at);
      v128.store32_lane(to, x, 0);
      v128.store32_lane(to, x, 1, 32);
      v128.store32_lane(to, x, 2, 64);
      v128.store32_lane(to, x, 3, 96);
    }
  }
}

/** The micro-kernel with sums of 16 bits or of 32. */
// @ts-ignore: decorator
@inline
function multiply(
  short: bool,
  steps: u32,
  groupSteps: u32,
  a: usize,
  factors: usize,
  b: usize,
  affine: usize,
  c: usize,
  ldc: usize,
  add: usize,
  ldadd: usize,
  beta: f32,
): void {
  if (short) {
    micro16(
      steps, groupSteps, a, factors, b, affine, c, ldc, add, ldadd, beta,
    );
  } else {
    micro8(
      steps, groupSteps, a, factors, b, affine, 64,
      c, ldc, add, ldadd, beta, 0, 0,
    );
  }
}

/**
 * Words of {@linkcode int8Forward}. `block`: columns of a block; `short`: whether sums are of 16 bits. Scratch holds a tile, a row of codes, then for each
 * panel of a block its codes, scales and biases.
 */
// @ts-ignore: decorator
@unmanaged
class Int8Forward {
  m: u32;
  n: u32;
  k: u32;
  strips: usize;
  factors: usize;
  codes: usize;
  rowBytes: u32;
  scales: usize;
  biases: usize;
  bits: u32;
  group: u32;
  block: u32;
  scratch: usize;
  scratchBytes: u32;
  c: usize;
  cStride: usize;
  add: usize; // 0: none
  addStride: usize;
  beta: f32;
  short: u32;
}

export function int8Forward(
  args: Int8Forward,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const m = args.m;
  const k = args.k;
  const strips = args.strips;
  const factors = args.factors;
  const rowBytes = <usize> args.rowBytes;
  const bits = args.bits;
  const group = args.group;
  const block = args.block;
  const tile = args.scratch + <usize> thread * <usize> args.scratchBytes;
  const c = args.c;
  const ldc = args.cStride;
  const add = args.add;
  const ldadd = args.addStride;
  const beta = args.beta;
  const short = args.short != 0;
  const steps = k >> 4;
  const groups = (k + group - 1) / group;
  const stripBytes = <usize> steps * 80;
  const factorBytes = <usize> groups * FACTOR_BYTES;
  const row = tile + TILE_BYTES;
  const panels = row + <usize> k;
  const codeBytes = <usize> k << 3;
  const panelBytes = codeBytes + (<usize> groups << 6);

  const all = args.n;
  const count = (all + 7) >> 3;
  const from = share(count, part, parts) << 3;
  const to = min(all, share(count, part + 1, parts) << 3);
  for (let j0 = from; j0 < to; j0 += block) {
    const cols = min(block, to - j0);
    let p = panels;
    for (let j: u32 = 0; j < cols; j += 8, p += panelBytes) {
      const first = j0 + j;
      const width = min(8, all - first);
      packForward(
        args.codes + <usize> first * rowBytes,
        rowBytes, width, k, bits, p, row,
      );
      const affine = p + codeBytes;
      for (let r: u32 = 0; r < 8; r++) {
        const at = <usize> ((first + r) * groups) << 2;
        for (let g: u32 = 0; g < groups; g++) {
          const on = affine + (<usize> g << 6) + (<usize> r << 2);
          const there = at + (<usize> g << 2);
          const within = r < width;
          store<f32>(on, within ? load<f32>(args.scales + there) : 0);
          store<f32>(
            on, within ? load<f32>(args.biases + there) : 0, 32,
          );
        }
      }
    }
    let x = strips;
    let f = factors;
    for (let i: u32 = 0; i < m; i += 5, x += stripBytes, f += factorBytes) {
      const rows = min(5, m - i);
      const fits = short && load<i32>(f, SHORT_AT) != 0;
      const at = c + <usize> i * ldc + (<usize> j0 << 2);
      const base = add ? add + <usize> i * ldadd + (<usize> j0 << 2) : 0;
      p = panels;
      for (let j: u32 = 0; j < cols; j += 8, p += panelBytes) {
        const o = <usize> j << 2;
        const b = base ? base + o : 0;
        if (rows == 5 && cols - j >= 8) {
          multiply(
            fits, steps, group >> 4, x, f, p, p + codeBytes,
            at + o, ldc, b, ldadd, beta,
          );
        } else {
          multiply(
            fits, steps, group >> 4, x, f, p, p + codeBytes,
            tile, 32, 0, 0, 0,
          );
          storeTile(
            tile, rows, min(8, cols - j), at + o, ldc, b, ldadd, beta,
          );
        }
      }
    }
  }
}
