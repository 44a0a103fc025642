/**
 * Dequantisation: runs of codes are unpacked to one a byte, then looked up sixteen at a time.
 *
 * The table of levels lies as four planes of sixteen bytes, plane `p` holding byte `p` of every level, so that one
 * byte shuffle a plane looks up sixteen codes; an affine format has the levels 0, 1, 2 … Codes of five bits, for which
 * there is no such table, are converted.
 */

import { share } from "../lib/args";
import {
  high16, high8, low16, low8, NIBBLE, number0, number1, number2, number3,
} from "./decode";
import { unpackCodes } from "./pack";

/** Codes that are unpacked at once. */
const RUN: u32 = 4096;

/** Looks up the levels of sixteen codes and puts them as {@linkcode put16} does. */
// @ts-ignore: decorator
@inline
function decode16(
  c: v128,
  p0: v128,
  p1: v128,
  p2: v128,
  p3: v128,
  s: v128,
  b: v128,
  affine: bool,
  from: usize,
  out: usize,
): void {
  const b0 = i8x16.relaxed_swizzle(p0, c);
  const b1 = i8x16.relaxed_swizzle(p1, c);
  const b2 = i8x16.relaxed_swizzle(p2, c);
  const b3 = i8x16.relaxed_swizzle(p3, c);
  const l01 = low8(b0, b1);
  const l23 = low8(b2, b3);
  const h01 = high8(b0, b1);
  const h23 = high8(b2, b3);
  put16(
    low16(l01, l23), high16(l01, l23), low16(h01, h23), high16(h01, h23),
    s, b, affine, from, out,
  );
}

/** Scales sixteen levels, or takes them from sixteen values, rounded as written. */
// @ts-ignore: decorator
@inline
function put16(
  l0: v128,
  l1: v128,
  l2: v128,
  l3: v128,
  s: v128,
  b: v128,
  affine: bool,
  from: usize,
  out: usize,
): void {
  let x0 = f32x4.mul(s, l0);
  let x1 = f32x4.mul(s, l1);
  let x2 = f32x4.mul(s, l2);
  let x3 = f32x4.mul(s, l3);
  if (affine) {
    x0 = f32x4.add(x0, b);
    x1 = f32x4.add(x1, b);
    x2 = f32x4.add(x2, b);
    x3 = f32x4.add(x3, b);
  }
  if (from) {
    x0 = f32x4.sub(v128.load(from), x0);
    x1 = f32x4.sub(v128.load(from, 16), x1);
    x2 = f32x4.sub(v128.load(from, 32), x2);
    x3 = f32x4.sub(v128.load(from, 48), x3);
  }
  v128.store(out, x0);
  v128.store(out, x1, 16);
  v128.store(out, x2, 32);
  v128.store(out, x3, 48);
}

/** `out = levels[code] * scale (+ bias)` or `from` less that for `n` codes, one a byte. */
function decode(
  codes: usize,
  n: u32,
  scale: f32,
  bias: f32,
  affine: bool,
  planes: usize,
  from: usize,
  out: usize,
): void {
  const p0 = v128.load(planes);
  const p1 = v128.load(planes, 16);
  const p2 = v128.load(planes, 32);
  const p3 = v128.load(planes, 48);
  const s = f32x4.splat(scale);
  const b = f32x4.splat(bias);
  const wide = codes + (n & ~15);
  const end = codes + n;
  for (; codes < wide; codes += 16, out += 64) {
    decode16(v128.load(codes), p0, p1, p2, p3, s, b, affine, from, out);
    if (from) from += 64;
  }
  for (; codes < end; codes++, out += 4) {
    const at = planes + load<u8>(codes);
    const level = reinterpret<f32>(
      <u32> load<u8>(at) | <u32> load<u8>(at, 16) << 8 |
        <u32> load<u8>(at, 32) << 16 | <u32> load<u8>(at, 48) << 24,
    );
    let x = scale * level;
    if (affine) x += bias;
    if (from) {
      x = load<f32>(from) - x;
      from += 4;
    }
    store<f32>(out, x);
  }
}

/** As {@linkcode decode} for codes that are their own levels. */
function decodeNumbers(
  codes: usize,
  n: u32,
  scale: f32,
  bias: f32,
  from: usize,
  out: usize,
): void {
  const s = f32x4.splat(scale);
  const b = f32x4.splat(bias);
  const wide = codes + (n & ~15);
  const end = codes + n;
  for (; codes < wide; codes += 16, out += 64) {
    const c = v128.load(codes);
    put16(
      number0(c), number1(c), number2(c), number3(c), s, b, true, from, out,
    );
    if (from) from += 64;
  }
  for (; codes < end; codes++, out += 4) {
    let x = scale * <f32> load<u8>(codes) + bias;
    if (from) {
      x = load<f32>(from) - x;
      from += 4;
    }
    store<f32>(out, x);
  }
}

/** As {@linkcode decode} for codes of four bits as they are stored, a multiple of sixteen. */
function decodeNibbles(
  codes: usize,
  n: u32,
  scale: f32,
  bias: f32,
  affine: bool,
  planes: usize,
  high: bool,
  from: usize,
  out: usize,
): void {
  const p0 = v128.load(planes);
  const p1 = v128.load(planes, 16);
  const p2 = v128.load(planes, 32);
  const p3 = v128.load(planes, 48);
  const s = f32x4.splat(scale);
  const b = f32x4.splat(bias);
  const nibble = v128.load32_splat(NIBBLE);
  for (const end = codes + (n >> 1); codes < end; codes += 8, out += 64) {
    const bytes = v128.load64_zero(codes);
    const lows = v128.and(bytes, nibble);
    const highs = v128.and(i16x8.shr_u(bytes, 4), nibble);
    const c = high ? low8(highs, lows) : low8(lows, highs);
    decode16(c, p0, p1, p2, p3, s, b, affine, from, out);
    if (from) from += 64;
  }
}

/** Words of {@linkcode dequantize}. `block` is not 0; `from` 0: none. */
// @ts-ignore: decorator
@unmanaged
class Dequantize {
  out: usize;
  outStride: usize;
  rows: u32;
  cols: u32;
  block: u32;
  bits: u32;
  planes: usize;
  affine: u32;
  high: u32;
  codes: usize;
  scales: usize;
  biases: usize;
  from: usize;
  fromStride: usize;
  flat: u32;
  scratch: usize;
  scratchBytes: u32;
}

export function dequantize(
  args: Dequantize,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const out = args.out;
  const outStride = args.outStride;
  const rows = args.rows;
  const cols = args.cols;
  const block = args.block;
  const bits = args.bits;
  const planes = args.planes;
  const affine = args.affine != 0;
  const high = args.high != 0;
  const codes = args.codes;
  const scales = args.scales;
  const biases = args.biases;
  const from = args.from;
  const fromStride = args.fromStride;
  const flat = args.flat != 0;
  const scratch = args.scratch + <usize> thread * args.scratchBytes;

  // A line is a stretch over which blocks and bits run on: the whole matrix, or a row.
  const lines: u32 = flat ? 1 : rows;
  const line = flat ? rows * cols : cols;
  const lineBlocks = (line + block - 1) / block;
  const lineBytes = (line >> 3) * bits + ((line & 7) * bits + 7 >> 3);
  const runs = (line + RUN - 1) / RUN;
  const dense = outStride == <usize> cols << 2 &&
    (from == 0 || fromStride == outStride);
  // Four bits need not be unpacked first where everything starts and ends at a multiple of sixteen codes.
  const nibbles = bits == 4 && ((block | line) & 15) == 0 &&
    (dense || (cols & 15) == 0);
  const end = share(lines * runs, part + 1, parts);
  for (let r = share(lines * runs, part, parts); r < end; r++) {
    const i = r / runs;
    const start = r % runs * RUN;
    const stop = min(line, start + RUN);
    const packed = codes + <usize> i * lineBytes + <usize> (start >> 3) * bits;
    if (!nibbles) unpackCodes(packed, stop - start, bits, high, scratch);
    let blockIndex = start / block;
    let blockEnd = (blockIndex + 1) * block;
    let row = flat ? start / cols : i;
    let col = flat ? start % cols : start;
    for (let e = start; e < stop;) {
      // As far as one block, and one row where rows are apart, reach.
      let n = min(stop, blockEnd) - e;
      if (!dense) n = min(n, cols - col);
      const at = <usize> (i * lineBlocks + blockIndex) << 2;
      const scale = load<f32>(scales + at);
      const bias: f32 = affine ? load<f32>(biases + at) : 0;
      const offset = <usize> col << 2;
      const x = from ? from + <usize> row * fromStride + offset : 0;
      const y = out + <usize> row * outStride + offset;
      if (nibbles) {
        decodeNibbles(
          packed + (e - start >> 1), n, scale, bias, affine, planes, high, x, y,
        );
      } else if (bits > 4) {
        decodeNumbers(scratch + (e - start), n, scale, bias, x, y);
      } else {
        decode(scratch + (e - start), n, scale, bias, affine, planes, x, y);
      }
      e += n;
      // With dense rows the column may run past the row: the address is the same.
      col += n;
      if (e == blockEnd) {
        blockIndex++;
        blockEnd += block;
      }
      if (!dense && col == cols) {
        col = 0;
        row++;
      }
    }
  }
}
