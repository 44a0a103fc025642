/**
 * Cholesky factorisation and triangular solves: f32 in memory, sums in f64.
 *
 * Both work on blocks of {@linkcode BLOCK} columns. What earlier columns contribute to a block comes from dot products
 * of four rows with four, and the small triangle that is left is solved plainly.
 */

import { share } from "../lib/args";

/** Columns of a block. */
const BLOCK: u32 = 64;
/** Bytes between rows of a block's workspace, in f64. */
const LINE: usize = 64 << 3;

/** `x . y` over `n` values in f64; four rows of `x`, at `x + i * ldx`, with one of `y`; subtracted from `out + i * LINE`. */
function dots(
  x: usize,
  ldx: usize,
  y: usize,
  n: u32,
  out: usize,
): void {
  const x1 = x + ldx;
  const x2 = x1 + ldx;
  const x3 = x2 + ldx;
  let s0 = f64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  const wide = <usize> (n & ~1) << 2;
  let k: usize = 0;
  for (; k < wide; k += 8) {
    const b = f64x2.promote_low_f32x4(v128.load64_zero(y + k));
    s0 = f64x2.relaxed_madd(
      f64x2.promote_low_f32x4(v128.load64_zero(x + k)),
      b,
      s0,
    );
    s1 = f64x2.relaxed_madd(
      f64x2.promote_low_f32x4(v128.load64_zero(x1 + k)),
      b,
      s1,
    );
    s2 = f64x2.relaxed_madd(
      f64x2.promote_low_f32x4(v128.load64_zero(x2 + k)),
      b,
      s2,
    );
    s3 = f64x2.relaxed_madd(
      f64x2.promote_low_f32x4(v128.load64_zero(x3 + k)),
      b,
      s3,
    );
  }
  let d0 = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1);
  let d1 = f64x2.extract_lane(s1, 0) + f64x2.extract_lane(s1, 1);
  let d2 = f64x2.extract_lane(s2, 0) + f64x2.extract_lane(s2, 1);
  let d3 = f64x2.extract_lane(s3, 0) + f64x2.extract_lane(s3, 1);
  if (n & 1) {
    const b = <f64> load<f32>(y + k);
    d0 += <f64> load<f32>(x + k) * b;
    d1 += <f64> load<f32>(x1 + k) * b;
    d2 += <f64> load<f32>(x2 + k) * b;
    d3 += <f64> load<f32>(x3 + k) * b;
  }
  store<f64>(out, load<f64>(out) - d0);
  store<f64>(out + LINE, load<f64>(out + LINE) - d1);
  store<f64>(out + 2 * LINE, load<f64>(out + 2 * LINE) - d2);
  store<f64>(out + 3 * LINE, load<f64>(out + 3 * LINE) - d3);
}

/** One row of `x` with one of `y`. */
function dot(x: usize, y: usize, n: u32): f64 {
  let s = f64x2.splat(0);
  const wide = <usize> (n & ~1) << 2;
  let k: usize = 0;
  for (; k < wide; k += 8) {
    s = f64x2.relaxed_madd(
      f64x2.promote_low_f32x4(v128.load64_zero(x + k)),
      f64x2.promote_low_f32x4(v128.load64_zero(y + k)),
      s,
    );
  }
  let d = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1);
  if (n & 1) d += <f64> load<f32>(x + k) * <f64> load<f32>(y + k);
  return d;
}

/** Subtracts from `count` workspace rows what the `n` values left of the block contribute: rows of `x` times rows of `y`. */
function reduce(
  x: usize,
  ldx: usize,
  count: u32,
  y: usize,
  ldy: usize,
  width: u32,
  n: u32,
  out: usize,
): void {
  for (let j: u32 = 0; j < width; j++) {
    const yj = y + <usize> j * ldy;
    const at = out + (<usize> j << 3);
    if (count == 4) {
      dots(x, ldx, yj, n, at);
      continue;
    }
    for (let i: u32 = 0; i < count; i++) {
      const o = at + <usize> i * LINE;
      store<f64>(o, load<f64>(o) - dot(x + <usize> i * ldx, yj, n));
    }
  }
}

/** Widens `width` values. */
function widen(x: usize, width: u32, out: usize): void {
  for (let j: u32 = 0; j < width; j++) {
    store<f64>(out + (<usize> j << 3), <f64> load<f32>(x + (<usize> j << 2)));
  }
}

/** Rounds `width` values. */
function narrow(x: usize, width: u32, out: usize): void {
  for (let j: u32 = 0; j < width; j++) {
    store<f32>(out + (<usize> j << 2), <f32> load<f64>(x + (<usize> j << 3)));
  }
}

/** Solves `z * tᵀ = z` for a row of `width` values; `t` lower triangular in f64 with rows LINE apart. */
function solveTransposed(z: usize, t: usize, width: u32): void {
  for (let j: u32 = 0; j < width; j++) {
    const row = t + <usize> j * LINE;
    let s = load<f64>(z + (<usize> j << 3));
    for (let k: u32 = 0; k < j; k++) {
      s -= load<f64>(z + (<usize> k << 3)) * load<f64>(row + (<usize> k << 3));
    }
    store<f64>(z + (<usize> j << 3), s / load<f64>(row + (<usize> j << 3)));
  }
}

/**
 * First step of a block column from `from` on, on one thread: factors its diagonal block.
 *
 * `l` holds the finished columns left of `from`, and `h` below and right of it. The factor goes to `triangle` (f64)
 * and `l`, with zeros above the diagonal. `shift` was added to the diagonal of `h`.
 */
export function choleskyDiagonal(
  h: usize,
  ldh: usize,
  l: usize,
  ldl: usize,
  n: u32,
  from: u32,
  shift: f64,
  triangle: usize,
): void {
  const width = min(BLOCK, n - from);
  const rows = l + <usize> from * ldl;
  for (let i: u32 = 0; i < width; i++) {
    widen(
      h + <usize> (from + i) * ldh + (<usize> from << 2),
      i + 1,
      triangle + <usize> i * LINE,
    );
  }
  for (let i: u32 = 0; i < width; i++) {
    const t = triangle + <usize> i * LINE;
    const d = t + (<usize> i << 3);
    store<f64>(d, load<f64>(d) + shift);
    for (let j: u32 = 0; j <= i; j++) {
      const o = t + (<usize> j << 3);
      store<f64>(
        o,
        load<f64>(o) -
          dot(rows + <usize> i * ldl, rows + <usize> j * ldl, from),
      );
    }
  }
  for (let i: u32 = 0; i < width; i++) {
    const t = triangle + <usize> i * LINE;
    solveTransposed(t, triangle, i);
    const d = t + (<usize> i << 3);
    let pivot = load<f64>(d);
    for (let k: u32 = 0; k < i; k++) {
      const x = load<f64>(t + (<usize> k << 3));
      pivot -= x * x;
    }
    store<f64>(d, pivot > 0 ? sqrt(pivot) : NaN);
    const out = rows + <usize> i * ldl + (<usize> from << 2);
    narrow(t, i + 1, out);
    memory.fill(
      out + (<usize> (i + 1) << 2),
      0,
      <usize> (n - from - i - 1) << 2,
    );
  }
}

/** Words of {@linkcode choleskyRows}. The second step: the rows below the diagonal block. */
// @ts-ignore: decorator
@unmanaged
class CholeskyRows {
  h: usize;
  hStride: usize;
  l: usize;
  lStride: usize;
  n: u32;
  from: u32;
  triangle: usize;
  scratch: usize;
  scratchBytes: u32;
}

export function choleskyRows(
  args: CholeskyRows,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const ldh = args.hStride;
  const l = args.l;
  const ldl = args.lStride;
  const n = args.n;
  const from = args.from;
  const triangle = args.triangle;
  const scratch = args.scratch + <usize> thread * args.scratchBytes;
  const width = min(BLOCK, n - from);
  const below = from + width;
  const quads = (n - below + 3) >> 2;
  const end = share(quads, part + 1, parts);
  for (let q = share(quads, part, parts); q < end; q++) {
    const i = below + (q << 2);
    const count = min<u32>(4, n - i);
    for (let t: u32 = 0; t < count; t++) {
      widen(
        args.h + <usize> (i + t) * ldh + (<usize> from << 2),
        width,
        scratch + <usize> t * LINE,
      );
    }
    const rows = l + <usize> i * ldl;
    reduce(rows, ldl, count, l + <usize> from * ldl, ldl, width, from, scratch);
    for (let t: u32 = 0; t < count; t++) {
      solveTransposed(scratch + <usize> t * LINE, triangle, width);
      narrow(
        scratch + <usize> t * LINE,
        width,
        rows + <usize> t * ldl + (<usize> from << 2),
      );
    }
  }
}

/** Words of {@linkcode solveRight}. `x <- x * l⁻ᵀ` (transpose) or `x * l⁻¹`, rows dealt out. */
// @ts-ignore: decorator
@unmanaged
class SolveRight {
  x: usize;
  xStride: usize;
  rows: u32;
  n: u32;
  l: usize;
  lStride: usize;
  transpose: u32;
  scratch: usize;
  scratchBytes: u32;
}

export function solveRight(
  args: SolveRight,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const x = args.x;
  const ldx = args.xStride;
  const rows = args.rows;
  const n = args.n;
  const l = args.l;
  const ldl = args.lStride;
  const transpose = args.transpose != 0;
  const scratch = args.scratch + <usize> thread * args.scratchBytes;
  const triangle = scratch + 4 * LINE;
  const quads = (rows + 3) >> 2;
  const first = share(quads, part, parts);
  const end = share(quads, part + 1, parts);
  const blocks = (n + BLOCK - 1) / BLOCK;
  for (let step: u32 = 0; step < blocks; step++) {
    const from = (transpose ? step : blocks - 1 - step) * BLOCK;
    const width = min(BLOCK, n - from);
    const diagonal = l + <usize> from * ldl + (<usize> from << 2);
    for (let i: u32 = 0; i < width; i++) {
      widen(diagonal + <usize> i * ldl, i + 1, triangle + <usize> i * LINE);
    }
    for (let q = first; q < end; q++) {
      const count = min<u32>(4, rows - (q << 2));
      const lines = x + <usize> (q << 2) * ldx;
      for (let t: u32 = 0; t < count; t++) {
        widen(
          lines + <usize> t * ldx + (<usize> from << 2),
          width,
          scratch + <usize> t * LINE,
        );
      }
      if (transpose) {
        reduce(
          lines,
          ldx,
          count,
          l + <usize> from * ldl,
          ldl,
          width,
          from,
          scratch,
        );
      } else {
        reduceBelow(
          lines,
          ldx,
          count,
          l + (<usize> from << 2),
          ldl,
          width,
          from + width,
          n,
          scratch,
        );
      }
      for (let t: u32 = 0; t < count; t++) {
        const z = scratch + <usize> t * LINE;
        if (transpose) solveTransposed(z, triangle, width);
        else solvePlain(z, triangle, width);
        narrow(z, width, lines + <usize> t * ldx + (<usize> from << 2));
      }
    }
  }
}

/** Solves `z * t = z` for a row of `width` values, the last first. */
function solvePlain(z: usize, t: usize, width: u32): void {
  for (let j = <i32> width - 1; j >= 0; j--) {
    const row = t + <usize> j * LINE;
    const v = load<f64>(z + (<usize> j << 3)) /
      load<f64>(row + (<usize> j << 3));
    store<f64>(z + (<usize> j << 3), v);
    for (let k = 0; k < j; k++) {
      const o = z + (<usize> k << 3);
      store<f64>(o, load<f64>(o) - v * load<f64>(row + (<usize> k << 3)));
    }
  }
}

/** Subtracts from workspace rows what columns `below` to `n` of `x` contribute through rows of `l`. */
function reduceBelow(
  x: usize,
  ldx: usize,
  count: u32,
  l: usize,
  ldl: usize,
  width: u32,
  below: u32,
  n: u32,
  out: usize,
): void {
  // Four values wide, so that sums stay in registers over all rows of l; rows that do not exist repeat the first.
  const x1 = count > 1 ? x + ldx : x;
  const x2 = count > 2 ? x + 2 * ldx : x;
  const x3 = count > 3 ? x + 3 * ldx : x;
  for (let j: u32 = 0; j < width; j += 4) {
    if (width - j < 4) {
      for (; j < width; j++) {
        for (let i: u32 = 0; i < count; i++) {
          let s: f64 = 0;
          for (let k = below; k < n; k++) {
            s += <f64> load<f32>(x + <usize> i * ldx + (<usize> k << 2)) *
              <f64> load<f32>(l + <usize> k * ldl + (<usize> j << 2));
          }
          const o = out + <usize> i * LINE + (<usize> j << 3);
          store<f64>(o, load<f64>(o) - s);
        }
      }
      return;
    }
    let c00 = f64x2.splat(0);
    let c01 = c00;
    let c10 = c00;
    let c11 = c00;
    let c20 = c00;
    let c21 = c00;
    let c30 = c00;
    let c31 = c00;
    let row = l + <usize> below * ldl + (<usize> j << 2);
    for (let k = <usize> below << 2, end = <usize> n << 2; k < end; k += 4) {
      const b0 = f64x2.promote_low_f32x4(v128.load64_zero(row));
      const b1 = f64x2.promote_low_f32x4(v128.load64_zero(row, 8));
      let s = f64x2.splat(<f64> load<f32>(x + k));
      c00 = f64x2.relaxed_madd(s, b0, c00);
      c01 = f64x2.relaxed_madd(s, b1, c01);
      s = f64x2.splat(<f64> load<f32>(x1 + k));
      c10 = f64x2.relaxed_madd(s, b0, c10);
      c11 = f64x2.relaxed_madd(s, b1, c11);
      s = f64x2.splat(<f64> load<f32>(x2 + k));
      c20 = f64x2.relaxed_madd(s, b0, c20);
      c21 = f64x2.relaxed_madd(s, b1, c21);
      s = f64x2.splat(<f64> load<f32>(x3 + k));
      c30 = f64x2.relaxed_madd(s, b0, c30);
      c31 = f64x2.relaxed_madd(s, b1, c31);
      row += ldl;
    }
    const o = out + (<usize> j << 3);
    subtract(o, c00, c01);
    if (count > 1) subtract(o + LINE, c10, c11);
    if (count > 2) subtract(o + 2 * LINE, c20, c21);
    if (count > 3) subtract(o + 3 * LINE, c30, c31);
  }
}

// @ts-ignore: decorator
@inline
function subtract(o: usize, c0: v128, c1: v128): void {
  v128.store(o, f64x2.sub(v128.load(o), c0));
  v128.store(o, f64x2.sub(v128.load(o, 16), c1), 16);
}
