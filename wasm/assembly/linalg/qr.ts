/**
 * Orthonormal columns by Cholesky factorisation of the Gram matrix, in f64 ("CholeskyQR2", Yamamoto et al. 2015).
 *
 * f64 carries the squared condition of an f32 matrix, so that one pass serves for a condition up to about 1e4;
 * {@linkcode factor} says when a second is needed. Workspace: `y` in f64, rows of `width` values (the columns rounded
 * up to four, with zeros), and rows rounded up to four a thread.
 */

import { share } from "../lib/args";
import { microF64 } from "./f64_micro";

/**
 * A column whose part outside the span of those before it is less than 3e-7 of its length is rounding noise of f32
 * data. Squared, as the Gram matrix has it.
 */
const DEPENDENT: f64 = 1e-13;

/** Rows of the Gram matrix are summed in slices of this many, which stay in the L1 cache for all its tiles. */
const SLICE: u32 = 64;

/** Copies one f32 row into the workspace. */
function widen(y: usize, cols: u32, out: usize, width: u32): void {
  let j: u32 = 0;
  for (; j + 4 <= cols; j += 4) {
    v128.store(out, f64x2.promote_low_f32x4(v128.load64_zero(y)));
    v128.store(out, f64x2.promote_low_f32x4(v128.load64_zero(y, 8)), 16);
    y += 16;
    out += 32;
  }
  for (; j < width; j++, y += 4, out += 8) {
    store<f64>(out, j < cols ? <f64> load<f32>(y) : 0);
  }
}

/**
 * Words of {@linkcode gram}. `fill`: whether to fill the workspace. Each part writes its rows' share of the upper triangle of yᵀy, in tiles, to its own
 * `[width, width]` matrix.
 */
// @ts-ignore: decorator
@unmanaged
class Gram {
  y: usize;
  yStride: usize;
  rows: u32;
  cols: u32;
  work: usize;
  width: u32;
  grams: usize;
  fill: u32;
}

export function gram(args: Gram, part: u32, parts: u32): void {
  const stride = args.yStride;
  const rows = args.rows;
  const cols = args.cols;
  const work = args.work;
  const width = args.width;
  const line = <usize> width << 3;
  const g = args.grams + <usize> part * width * line;
  const fill = args.fill != 0;
  memory.fill(g, 0, <usize> width * line);
  // Parts are multiples of four rows, as in applying the factor.
  const quads = (rows + 3) >> 2;
  const end = min(rows, share(quads, part + 1, parts) << 2);
  for (let i = share(quads, part, parts) << 2; i < end; i += SLICE) {
    const count = min(SLICE, end - i);
    const slice = work + <usize> i * line;
    if (fill) {
      for (let t: u32 = 0; t < count; t++) {
        widen(
          args.y + <usize> (i + t) * stride,
          cols,
          slice + <usize> t * line,
          width,
        );
      }
    }
    for (let a: u32 = 0; a < width; a += 4) {
      for (let b = a; b < width; b += 4) {
        microF64(
          <i32> count,
          slice + (<usize> a << 3),
          8,
          line,
          slice + (<usize> b << 3),
          line,
          g + <usize> a * line + (<usize> b << 3),
          line,
          1,
        );
      }
    }
  }
}

/** Row operation `x += f * y` on `n` (even) values. */
// @ts-ignore: decorator
@inline
function axpy(x: usize, f: f64, y: usize, n: u32): void {
  const s = f64x2.splat(f);
  for (const end = x + (<usize> n << 3); x < end; x += 16, y += 16) {
    v128.store(x, f64x2.relaxed_madd(s, v128.load(y), v128.load(x)));
  }
}

/**
 * Sums `parts` Gram matrices into the first, replaces it by its upper Cholesky factor `r`, and writes `r⁻¹`. Dependent
 * columns get zero columns of `r⁻¹` and zero rows of `r`. `total` becomes `r` on the first pass, `r * total` later.
 * All are `[width, width]`; `total` and `work` may be used freely.
 *
 * Returns the squared condition of `y` with columns scaled to length one, in Frobenius norms: a bound, not a guess.
 */
export function factor(
  g: usize,
  parts: u32,
  width: u32,
  inverse: usize,
  total: usize,
  first: i32,
): f64 {
  const line = <usize> width << 3;
  const size = <usize> width * line;
  for (let p: u32 = 1; p < parts; p++) {
    for (let at: usize = 0; at < size; at += 16) {
      v128.store(
        g + at,
        f64x2.add(v128.load(g + at), v128.load(g + p * size + at)),
      );
    }
  }
  memory.fill(inverse, 0, size);
  // The inverse's diagonal holds the squared column lengths until its rows are computed.
  for (let k: u32 = 0; k < width; k++) {
    const d = <usize> k * (line + 8);
    store<f64>(inverse + d, load<f64>(g + d));
  }
  for (let k: u32 = 0; k < width; k++) {
    const row = g + <usize> k * line;
    const at = row + (<usize> k << 3);
    const pivot = load<f64>(at);
    // Zeros left of the diagonal, where tiles of the Gram matrix reach over.
    memory.fill(row, 0, <usize> k << 3);
    if (pivot <= DEPENDENT * load<f64>(inverse + <usize> k * (line + 8))) {
      memory.fill(at, 0, <usize> (width - k) << 3);
      continue;
    }
    const d = sqrt(pivot);
    const f = 1 / d;
    store<f64>(at, d);
    for (let j = k + 1; j < width; j++) {
      const x = row + (<usize> j << 3);
      store<f64>(x, load<f64>(x) * f);
    }
    for (let i = k + 1; i < width; i++) {
      const h = load<f64>(row + (<usize> i << 3));
      // From the even column at or before i on; what lies left of i is not read again.
      const from = <usize> (i & ~1) << 3;
      axpy(g + <usize> i * line + from, -h, row + from, width - (i & ~1));
    }
  }
  let condition: f64 = 0;
  for (let i = <i32> width - 1; i >= 0; i--) {
    const x = inverse + <usize> i * line;
    const r = g + <usize> i * line;
    const at = <usize> i << 3;
    const d = load<f64>(r + at);
    const length2 = load<f64>(x + at);
    if (d == 0) {
      store<f64>(x + at, 0);
      continue;
    }
    store<f64>(x + at, 1);
    for (let k = <u32> i + 1; k < width; k++) {
      const h = load<f64>(r + (<usize> k << 3));
      if (h == 0) continue;
      const from = k & ~1;
      axpy(
        x + (<usize> from << 3),
        -h,
        inverse + <usize> k * line + (<usize> from << 3),
        width - from,
      );
    }
    const f = 1 / d;
    let squares: f64 = 0;
    for (let j = <u32> i; j < width; j++) {
      const v = load<f64>(x + (<usize> j << 3)) * f;
      store<f64>(x + (<usize> j << 3), v);
      squares += v * v;
    }
    condition += length2 * squares;
  }
  if (first) {
    memory.copy(total, g, size);
    return condition;
  }
  // total = g * total, both upper triangular: row i of the product needs rows from i on only, so it may go in place.
  for (let i: u32 = 0; i < width; i++) {
    const out = total + <usize> i * line;
    const d = load<f64>(g + <usize> i * (line + 8));
    for (let j: u32 = 0; j < width; j++) {
      const x = out + (<usize> j << 3);
      store<f64>(x, load<f64>(x) * d);
    }
    for (let k = i + 1; k < width; k++) {
      axpy(
        out,
        load<f64>(g + <usize> i * line + (<usize> k << 3)),
        total + <usize> k * line,
        width,
      );
    }
  }
  return condition;
}

/**
 * Words of {@linkcode applyInverse}. The workspace becomes itself times `inverse`, r⁻¹; on the last pass it is rounded into `y` too.
 */
// @ts-ignore: decorator
@unmanaged
class ApplyInverse {
  y: usize;
  yStride: usize;
  rows: u32;
  cols: u32;
  work: usize;
  width: u32;
  inverse: usize;
  last: u32;
}

export function applyInverse(args: ApplyInverse, part: u32, parts: u32): void {
  const stride = args.yStride;
  const rows = args.rows;
  const cols = args.cols;
  const work = args.work;
  const width = args.width;
  const line = <usize> width << 3;
  const inverse = args.inverse;
  const last = args.last != 0;
  const quads = (rows + 3) >> 2;
  const end = share(quads, part + 1, parts);
  for (let q = share(quads, part, parts); q < end; q++) {
    const four = work + <usize> (q << 2) * line;
    // From the right: column j of the product needs columns up to j only.
    for (let j = <i32> width - 4; j >= 0; j -= 4) {
      const at = <usize> j << 3;
      microF64(j + 4, four, line, 8, inverse + at, line, four + at, line, 0);
    }
    if (!last) continue;
    for (let t: u32 = 0; t < 4 && (q << 2) + t < rows; t++) {
      let x = four + <usize> t * line;
      let y = args.y + <usize> ((q << 2) + t) * stride;
      for (let j: u32 = 0; j < cols; j++, x += 8, y += 4) {
        store<f32>(y, <f32> load<f64>(x));
      }
    }
  }
}
