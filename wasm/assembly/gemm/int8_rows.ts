/**
 * Products in 8 bits with few rows on the left: four rows of codes at a time, straight from where they are stored.
 */

import { share } from "../lib/args";
import { NIBBLE } from "../quant/decode";
import { dotFour, sumFour } from "./gemv";
import { addBytes, largest, lowBytes, ROUND, sumInts } from "./int8";
import { dot } from "./int8_micro";
import { unpackCodes } from "../quant/pack";

/** Sixteen values times `factor` as integers, in the low bits of sums with {@linkcode ROUND}; returns their bytes. */
// @ts-ignore: decorator
@inline
function round16(x: usize, factor: v128, round: v128): v128 {
  return lowBytes(
    f32x4.add(f32x4.mul(v128.load(x), factor), round),
    f32x4.add(f32x4.mul(v128.load(x, 16), factor), round),
    f32x4.add(f32x4.mul(v128.load(x, 32), factor), round),
    f32x4.add(f32x4.mul(v128.load(x, 48), factor), round),
  );
}

/**
 * Rounds `n` values, a multiple of sixteen, to bytes with one scale; returns the sum of the bytes. `split` (a multiple of
 * 32) puts the even ones of each 32 before the odd ones, as codes of four bits lie.
 */
function roundGroup(
  x: usize,
  n: u32,
  factor: f32,
  split: bool,
  out: usize,
): i32 {
  const f = f32x4.splat(factor);
  const round = f32x4.splat(ROUND);
  let sums = i32x4.splat(0);
  for (const end = out + n; out < end;) {
    const a = round16(x, f, round);
    sums = addBytes(a, sums);
    x += 64;
    if (!split) {
      v128.store(out, a);
      out += 16;
      continue;
    }
    const b = round16(x, f, round);
    sums = addBytes(b, sums);
    x += 64;
    v128.store(
      out,
      v128.shuffle<u8>(
        a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
      ),
    );
    v128.store(
      out,
      v128.shuffle<u8>(
        a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
      ),
      16,
    );
    out += 32;
  }
  return sumInts(sums);
}

/** Adds a group's integers to four sums, scaled. */
// @ts-ignore: decorator
@inline
function grow(t: v128, d: v128, s: usize, sa: v128): v128 {
  return f32x4.relaxed_madd(
    f32x4.convert_i32x4_s(d),
    f32x4.mul(v128.load32_splat(s), sa),
    t,
  );
}

/** `x` times four rows of codes of four bits; `n` codes in groups of `group`, both multiples of 32. */
export function fourNibbles(
  x: usize,
  scale: usize,
  n: u32,
  group: u32,
  codes: usize,
  rowBytes: usize,
  s: usize,
  rowScales: usize,
): v128 {
  const nibble = v128.load32_splat(NIBBLE);
  const codes1 = codes + rowBytes;
  const codes2 = codes1 + rowBytes;
  const codes3 = codes2 + rowBytes;
  const s1 = s + rowScales;
  const s2 = s1 + rowScales;
  const s3 = s2 + rowScales;
  let t0 = f32x4.splat(0);
  let t1 = t0;
  let t2 = t0;
  let t3 = t0;
  const bytes = <usize> n >> 1;
  let g: usize = 0;
  for (let at: usize = 0; at < bytes; g += 4) {
    let d0 = i32x4.splat(0);
    let d1 = d0;
    let d2 = d0;
    let d3 = d0;
    const stop = min(bytes, at + (group >> 1));
    for (; at < stop; at += 16, x += 32) {
      const even = v128.load(x);
      const odd = v128.load(x, 16);
      let c = v128.load(codes + at);
      d0 = dot(even, v128.and(c, nibble), d0);
      d0 = dot(odd, v128.and(i16x8.shr_u(c, 4), nibble), d0);
      c = v128.load(codes1 + at);
      d1 = dot(even, v128.and(c, nibble), d1);
      d1 = dot(odd, v128.and(i16x8.shr_u(c, 4), nibble), d1);
      c = v128.load(codes2 + at);
      d2 = dot(even, v128.and(c, nibble), d2);
      d2 = dot(odd, v128.and(i16x8.shr_u(c, 4), nibble), d2);
      c = v128.load(codes3 + at);
      d3 = dot(even, v128.and(c, nibble), d3);
      d3 = dot(odd, v128.and(i16x8.shr_u(c, 4), nibble), d3);
    }
    const sa = v128.load32_splat(scale + g);
    t0 = grow(t0, d0, s + g, sa);
    t1 = grow(t1, d1, s1 + g, sa);
    t2 = grow(t2, d2, s2 + g, sa);
    t3 = grow(t3, d3, s3 + g, sa);
  }
  return sumFour(t0, t1, t2, t3);
}

/** As {@linkcode fourNibbles} for codes one a byte, `n` and `group` multiples of sixteen. */
export function fourBytes(
  x: usize,
  scale: usize,
  n: u32,
  group: u32,
  codes: usize,
  rowBytes: usize,
  s: usize,
  rowScales: usize,
): v128 {
  const codes1 = codes + rowBytes;
  const codes2 = codes1 + rowBytes;
  const codes3 = codes2 + rowBytes;
  const s1 = s + rowScales;
  const s2 = s1 + rowScales;
  const s3 = s2 + rowScales;
  let t0 = f32x4.splat(0);
  let t1 = t0;
  let t2 = t0;
  let t3 = t0;
  let g: usize = 0;
  for (let at: usize = 0; at < <usize> n; g += 4) {
    let d0 = i32x4.splat(0);
    let d1 = d0;
    let d2 = d0;
    let d3 = d0;
    const stop = min(<usize> n, at + group);
    for (; at < stop; at += 16) {
      const v = v128.load(x + at);
      d0 = dot(v, v128.load(codes + at), d0);
      d1 = dot(v, v128.load(codes1 + at), d1);
      d2 = dot(v, v128.load(codes2 + at), d2);
      d3 = dot(v, v128.load(codes3 + at), d3);
    }
    const sa = v128.load32_splat(scale + g);
    t0 = grow(t0, d0, s + g, sa);
    t1 = grow(t1, d1, s1 + g, sa);
    t2 = grow(t2, d2, s2 + g, sa);
    t3 = grow(t3, d3, s3 + g, sa);
  }
  return sumFour(t0, t1, t2, t3);
}

/** Four columns of the result from `j` on, or one; see {@linkcode int8Gemv}. */
function columns(args: Int8Gemv, j: u32, four: bool, scratch: usize): void {
  const m = args.m;
  const k = args.k;
  const rowBytes = <usize> args.rowBytes;
  const bits = args.bits;
  const group = args.group;
  const groups = (k + group - 1) / group;
  const groupBytes = <usize> groups << 2;
  const xBytes = <usize> k + 2 * groupBytes + 15 & ~15;
  const unpacked = scratch + <usize> m * xBytes;
  const nibbles = bits == 4 && ((k | group) & 31) == 0;
  const codes = args.codes + <usize> j * rowBytes;
  const first = <usize> j * groupBytes;
  const scales = args.scales + first;
  const biases = args.biases + first;
  const at = <usize> j << 2;
  // Where there is one, it is taken four times.
  const step: usize = four ? 1 : 0;
  if (!nibbles) {
    const count: u32 = four ? 4 : 1;
    for (let r: u32 = 0; r < count; r++) {
      const to = unpacked + <usize> (r * k);
      unpackCodes(codes + <usize> r * rowBytes, k, bits, false, to);
    }
  }
  const stride = groupBytes * step;
  for (let i: u32 = 0; i < m; i++) {
    const x = scratch + <usize> i * xBytes;
    const factors = x + <usize> k;
    const rows = nibbles ? codes : unpacked;
    const next = (nibbles ? rowBytes : <usize> k) * step;
    const sums = nibbles
      ? fourNibbles(x, factors, k, group, rows, next, scales, stride)
      : fourBytes(x, factors, k, group, rows, next, scales, stride);
    let y = dotFour(factors + groupBytes, biases, stride, groups);
    y = f32x4.mul(f32x4.add(sums, y), f32x4.splat(args.alpha));
    const c = args.c + <usize> i * args.cStride + at;
    const add = args.add;
    const from = add + <usize> i * args.addStride + at;
    if (four) {
      if (add) {
        const beta = f32x4.splat(args.beta);
        y = f32x4.relaxed_madd(beta, v128.load(from), y);
      }
      v128.store(c, y);
    } else {
      let one = f32x4.extract_lane(y, 0);
      if (add) one += args.beta * load<f32>(from);
      store<f32>(c, one);
    }
  }
}

/**
 * Words of {@linkcode int8Gemv}. Scratch holds for each row of `a` its bytes, the scales of its groups and their sums, then four rows of codes.
 */
// @ts-ignore: decorator
@unmanaged
class Int8Gemv {
  m: u32;
  n: u32;
  k: u32;
  a: usize;
  aStride: usize;
  codes: usize;
  rowBytes: u32;
  scales: usize;
  biases: usize;
  bits: u32;
  group: u32;
  scratch: usize;
  scratchBytes: u32;
  c: usize;
  cStride: usize;
  add: usize; // 0: none
  addStride: usize;
  alpha: f32;
  beta: f32;
}

export function int8Gemv(
  args: Int8Gemv,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const m = args.m;
  const n = args.n;
  const k = args.k;
  const group = args.group;
  const scratch = args.scratch +
    <usize> thread * <usize> args.scratchBytes;
  const groupBytes = <usize> ((k + group - 1) / group) << 2;
  const xBytes = <usize> k + 2 * groupBytes + 15 & ~15;
  const split = args.bits == 4 && ((k | group) & 31) == 0;
  for (let i: u32 = 0; i < m; i++) {
    const x = args.a + <usize> i * args.aStride;
    const to = scratch + <usize> i * xBytes;
    let factors = to + <usize> k;
    for (let j: u32 = 0; j < k; j += group, factors += 4) {
      const count = min(group, k - j);
      const at = x + (<usize> j << 2);
      const most = largest(at, count);
      const factor: f32 = most > 0 ? 127 / most : 0;
      const sum = roundGroup(at, count, factor, split, to + <usize> j);
      store<f32>(factors, most / 127);
      store<f32>(factors + groupBytes, most / 127 * <f32> sum);
    }
  }
  // Dealt out by fours, so that sums are the same for any number of parts.
  const fours = n >> 2;
  const end = share(fours, part + 1, parts) << 2;
  for (let j = share(fours, part, parts) << 2; j < end; j += 4) {
    columns(args, j, true, scratch);
  }
  if (part + 1 < parts) return;
  for (let j = fours << 2; j < n; j++) columns(args, j, false, scratch);
}
