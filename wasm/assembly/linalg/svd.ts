/**
 * Exact SVD of a small matrix: one-sided Jacobi in f64 (Hestenes 1958), on one thread.
 *
 * The shorter side's vectors lie as rows of `line` bytes: `len` values of the matrix, then `k` of the accumulated
 * rotations, each part rounded up to an even number with zeros. When the rows are orthogonal, their lengths are the
 * singular values, the first parts divided by them one side's vectors, the second parts the other's.
 */

import { share } from "../lib/args";

/**
 * Cosine of an angle between vectors that counts as zero: well below the rounding of f32. The error of the singular
 * values is its square.
 */
const ORTHOGONAL: f64 = 1e-9;

/** True if vectors of squared lengths `p` and `q` with the product `h` need no turn. */
// @ts-ignore: decorator
@inline
export function isOrthogonal(h: f64, p: f64, q: f64): bool {
  return h * h <= ORTHOGONAL * ORTHOGONAL * p * q;
}

/** Tangent of the smaller angle that makes them orthogonal. */
// @ts-ignore: decorator
@inline
export function tangent(h: f64, p: f64, q: f64): f64 {
  const d = p - q;
  const root = sqrt(d * d + 4 * h * h);
  return 2 * h / (d < 0 ? d - root : d + root);
}

/** Fills row `j` of the workspace: vector `j` of `a`, whose elements are `right` bytes apart, and row `j` of the unit matrix. */
function load1(
  a: usize,
  right: usize,
  len: u32,
  j: u32,
  k: u32,
  out: usize,
): void {
  const even = <usize> ((len + 1) & ~1) << 3;
  for (let i: u32 = 0; i < len; i++) {
    store<f64>(out + (<usize> i << 3), <f64> load<f32>(a + <usize> i * right));
  }
  if (len & 1) store<f64>(out + (<usize> len << 3), 0);
  memory.fill(out + even, 0, <usize> ((k + 1) & ~1) << 3);
  store<f64>(out + even + (<usize> j << 3), 1);
}

/** Product of two rows of `n` bytes. */
function dot(x: usize, y: usize, n: usize): f64 {
  let s0 = f64x2.splat(0);
  let s1 = s0;
  const end = x + n;
  const wide = x + (n & ~31);
  for (; x < wide; x += 32, y += 32) {
    s0 = f64x2.relaxed_madd(v128.load(x), v128.load(y), s0);
    s1 = f64x2.relaxed_madd(v128.load(x, 16), v128.load(y, 16), s1);
  }
  if (x < end) s0 = f64x2.relaxed_madd(v128.load(x), v128.load(y), s0);
  s0 = f64x2.add(s0, s1);
  return f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1);
}

/** `[x, y] <- [c x + s y, c y - s x]` on rows of `n` bytes. */
function rotate(x: usize, y: usize, n: usize, c: f64, s: f64): void {
  const cc = f64x2.splat(c);
  const ss = f64x2.splat(s);
  for (const end = x + n; x < end; x += 16, y += 16) {
    const a = v128.load(x);
    const b = v128.load(y);
    v128.store(x, f64x2.relaxed_madd(ss, b, f64x2.mul(cc, a)));
    v128.store(y, f64x2.relaxed_nmadd(ss, a, f64x2.mul(cc, b)));
  }
}

/**
 * Singular values and vectors in place: `a` has `k` vectors of `len` elements, `down` bytes apart, with elements
 * `right` bytes apart. `norms` receives the squared lengths.
 */
export function jacobi(
  a: usize,
  down: usize,
  right: usize,
  k: u32,
  len: u32,
  work: usize,
  line: usize,
  norms: usize,
): void {
  const n = <usize> ((len + 1) & ~1) << 3;
  for (let j: u32 = 0; j < k; j++) {
    load1(a + <usize> j * down, right, len, j, k, work + <usize> j * line);
  }
  const noise = <f64> max(len, k) * f64.EPSILON;
  for (let sweep = 0; sweep < 60; sweep++) {
    let largest: f64 = 0;
    // Lengths that were updated through a sweep drift: start each from new ones.
    for (let j: u32 = 0; j < k; j++) {
      const x = work + <usize> j * line;
      const p = dot(x, x, n);
      store<f64>(norms + (<usize> j << 3), p);
      largest = max(largest, p);
    }
    const nothing = largest * noise * noise;
    let rotated = false;
    for (let i: u32 = 0; i < k; i++) {
      const x = work + <usize> i * line;
      for (let j = i + 1; j < k; j++) {
        const p = load<f64>(norms + (<usize> i << 3));
        const q = load<f64>(norms + (<usize> j << 3));
        // Pure noise is never orthogonal to working precision: leave it.
        if (!(p > nothing && q > nothing)) continue;
        const y = work + <usize> j * line;
        const h = dot(x, y, n);
        if (isOrthogonal(h, p, q)) continue;
        rotated = true;
        const t = tangent(h, p, q);
        const c = 1 / sqrt(1 + t * t);
        let longer = p + t * h;
        let shorter = q - t * h;
        if (longer >= shorter) {
          rotate(x, y, line, c, c * t);
        } else {
          // A quarter turn more puts the longer row first, which saves sweeps (de Rijk 1989).
          const swap = longer;
          longer = shorter;
          shorter = swap;
          rotate(x, y, line, -c * t, c);
        }
        store<f64>(norms + (<usize> i << 3), longer);
        store<f64>(norms + (<usize> j << 3), max(shorter, 0));
      }
    }
    if (!rotated) break;
  }
}

/**
 * Words of {@linkcode svdStore}. Rounds chosen vectors into the results: a list of `k` addresses, the list of their `k` singular values (f64; 0 gives zero
 * vectors), bytes between elements, then of the long part and of the short one: where it goes, bytes to the next element,
 * bytes to the next vector.
 */
// @ts-ignore: decorator
@unmanaged
class SvdStore {
  list: usize;
  sigmas: usize;
  step: u32;
  len: u32;
  k: u32;
  long: usize;
  longRight: u32;
  longDown: u32;
  short: usize;
  shortRight: u32;
  shortDown: u32;
}

export function svdStore(args: SvdStore, part: u32, parts: u32): void {
  const list = args.list;
  const sigmas = args.sigmas;
  const step = <usize> args.step;
  const len = args.len;
  const k = args.k;
  const skip = <usize> ((len + 1) & ~1) * step;
  const end = share(k, part + 1, parts);
  for (let j = share(k, part, parts); j < end; j++) {
    const x = <usize> load<u32>(list + (<usize> j << 2));
    const sigma = load<f64>(sigmas + (<usize> j << 3));
    const f: f64 = sigma > 0 ? 1 / sigma : 0;
    const long = args.long + <usize> j * args.longDown;
    for (let i: u32 = 0; i < len; i++) {
      store<f32>(
        long + <usize> i * args.longRight,
        <f32> (load<f64>(x + <usize> i * step) * f),
      );
    }
    const one: f64 = sigma > 0 ? 1 : 0;
    const short = args.short + <usize> j * args.shortDown;
    for (let i: u32 = 0; i < k; i++) {
      store<f32>(
        short + <usize> i * args.shortRight,
        <f32> (load<f64>(x + skip + <usize> i * step) * one),
      );
    }
  }
}
