/**
 * Eigenvectors of the Gram matrix in f64: Householder tridiagonalisation, then implicit QL (Golub and Van Loan, 8.3;
 * EISPACK's tql2). They turn the vectors of a matrix so nearly orthogonal that block Jacobi, which by itself would take
 * ten sweeps, has only the smallest ones left to do.
 *
 * Matrices are `[n, n]` with rows `line` bytes apart, `line` a multiple of 16 and zeros behind the last column.
 */

import { share } from "../lib/args";

/** `x . y` over bytes `from` to `line`, both rows. */
// @ts-ignore: decorator
@inline
function dot(x: usize, y: usize, from: usize, line: usize): f64 {
  let s = f64x2.splat(0);
  for (let at = from; at < line; at += 16) {
    s = f64x2.relaxed_madd(v128.load(x + at), v128.load(y + at), s);
  }
  return f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1);
}

/** Address of element `j` of a row. */
// @ts-ignore: decorator
@inline
function at(row: usize, j: u32): usize {
  return row + (<usize> j << 3);
}

/** Byte offset of the even column at or before `j`. */
// @ts-ignore: decorator
@inline
function evenFrom(j: u32): usize {
  return <usize> (j & ~1) << 3;
}

/**
 * Makes row `k`, right of the diagonal, a reflection that maps it to a multiple of the first unit vector. The vector
 * (first element 1) replaces the row. Returns its factor, and leaves the multiple in `e`.
 */
function reflect(row: usize, k: u32, n: u32, e: usize): f64 {
  const first = load<f64>(at(row, k + 1));
  let rest: f64 = 0;
  for (let j = k + 2; j < n; j++) {
    const x = load<f64>(at(row, j));
    rest += x * x;
  }
  // Nothing to reflect: the row is a multiple of the unit vector.
  if (!(rest > 0)) {
    store<f64>(at(e, k), first);
    return 0;
  }
  const length = sqrt(first * first + rest);
  const head = first <= 0 ? first - length : -rest / (first + length);
  store<f64>(at(e, k), length);
  store<f64>(at(row, k + 1), 1);
  const f = 1 / head;
  for (let j = k + 2; j < n; j++) {
    store<f64>(at(row, j), load<f64>(at(row, j)) * f);
  }
  return 2 * head * head / (rest + head * head);
}

/**
 * Tridiagonal form of the symmetric `a`, of which the upper triangle is read. `d` and `e` receive its diagonals,
 * `factors` those of the reflections, whose vectors stay in the rows of `a`; `p` is workspace for a row.
 */
export function tridiagonalize(
  a: usize,
  n: u32,
  line: usize,
  d: usize,
  e: usize,
  factors: usize,
  p: usize,
): void {
  // Loops over rows start at an even column, which for odd rows lies left of the diagonal.
  for (let i: u32 = 1; i < n; i += 2) store<f64>(at(a + i * line, i - 1), 0);
  for (let k: u32 = 0; k < n; k++) {
    const v = a + <usize> k * line;
    store<f64>(at(d, k), load<f64>(at(v, k)));
    store<f64>(at(v, k), 0);
    store<f64>(at(factors, k), 0);
    store<f64>(at(e, k), k + 1 < n ? load<f64>(at(v, k + 1)) : 0);
    if (k + 2 >= n) continue;
    const factor = reflect(v, k, n, e);
    store<f64>(at(factors, k), factor);
    if (factor == 0) continue;

    // p = a v, each element of the triangle used for both its places.
    memory.fill(p, 0, line);
    for (let i = k + 1; i < n; i++) {
      const row = a + <usize> i * line;
      const vi = load<f64>(at(v, i));
      const f = f64x2.splat(vi);
      let s = f64x2.splat(0);
      for (let j = evenFrom(i); j < line; j += 16) {
        const x = v128.load(row + j);
        s = f64x2.relaxed_madd(x, v128.load(v + j), s);
        v128.store(p + j, f64x2.relaxed_madd(f, x, v128.load(p + j)));
      }
      store<f64>(
        at(p, i),
        load<f64>(at(p, i)) + f64x2.extract_lane(s, 0) +
          f64x2.extract_lane(s, 1) - vi * load<f64>(at(row, i)),
      );
    }
    const from = evenFrom(k + 1);
    const half = 0.5 * factor * factor * dot(p, v, from, line);
    for (let j = from; j < line; j += 8) {
      store<f64>(p + j, factor * load<f64>(p + j) - half * load<f64>(v + j));
    }
    for (let i = k + 1; i < n; i++) {
      const row = a + <usize> i * line;
      const f = f64x2.splat(load<f64>(at(v, i)));
      const g = f64x2.splat(load<f64>(at(p, i)));
      for (let j = evenFrom(i); j < line; j += 16) {
        let x = f64x2.relaxed_nmadd(f, v128.load(p + j), v128.load(row + j));
        x = f64x2.relaxed_nmadd(g, v128.load(v + j), x);
        v128.store(row + j, x);
      }
      if (i & 1) store<f64>(at(row, i - 1), 0);
    }
  }
}

/** Words of {@linkcode svdBasis}. The product of the reflections, transposed, row by row; `a` has the vectors. */
// @ts-ignore: decorator
@unmanaged
class SvdBasis {
  a: usize;
  n: u32;
  line: u32;
  factors: usize;
  out: usize;
}

export function svdBasis(args: SvdBasis, part: u32, parts: u32): void {
  const a = args.a;
  const n = args.n;
  const line = <usize> args.line;
  const factors = args.factors;
  const end = share(n, part + 1, parts);
  for (let r = share(n, part, parts); r < end; r++) {
    const z = args.out + <usize> r * line;
    memory.fill(z, 0, line);
    store<f64>(at(z, r), 1);
    // Later reflections do not reach the element that is not zero yet.
    for (let k = <i32> r - 1; k >= 0; k--) {
      const factor = load<f64>(at(factors, k));
      if (factor == 0) continue;
      const v = a + <usize> k * line;
      const from = evenFrom(k + 1);
      const f = f64x2.splat(factor * dot(z, v, from, line));
      for (let j = from; j < line; j += 16) {
        v128.store(
          z + j,
          f64x2.relaxed_nmadd(f, v128.load(v + j), v128.load(z + j)),
        );
      }
    }
  }
}

/** Bytes of a recorded rotation: its first row (u32), cosine and sine (f64). */
const ROTATION: usize = 24;

/**
 * Diagonalises the tridiagonal matrix `d`, `e` as far as the rotations fit `capacity`, and records them. `progress`
 * (u32) is the first eigenvalue not found yet, 0 at first and `n` when all are. Returns the number of rotations.
 */
export function tridiagonalQl(
  d: usize,
  e: usize,
  n: u32,
  rotations: usize,
  capacity: u32,
  progress: usize,
): u32 {
  let count: u32 = 0;
  let l = load<u32>(progress);
  // Thirty steps an eigenvalue are plenty; a matrix with NaN never ends otherwise.
  for (let steps: u32 = 0; l < n && steps < 30 * n; steps++) {
    let m = l;
    for (; m < n - 1; m++) {
      const scale = abs(load<f64>(at(d, m))) + abs(load<f64>(at(d, m + 1)));
      if (!(abs(load<f64>(at(e, m))) > f64.EPSILON * scale)) break;
    }
    if (m == l) {
      l++;
      continue;
    }
    if (count + (m - l) > capacity) break;
    const el = load<f64>(at(e, l));
    let g = (load<f64>(at(d, l + 1)) - load<f64>(at(d, l))) / (2 * el);
    g = load<f64>(at(d, m)) - load<f64>(at(d, l)) +
      el / (g + copysign<f64>(sqrt(g * g + 1), g));
    let s: f64 = 1;
    let c: f64 = 1;
    let p: f64 = 0;
    let i = <i32> m - 1;
    for (; i >= <i32> l; i--) {
      const ei = load<f64>(at(e, i));
      const f = s * ei;
      const b = c * ei;
      const r = sqrt(f * f + g * g);
      store<f64>(at(e, i + 1), r);
      if (r == 0) {
        store<f64>(at(d, i + 1), load<f64>(at(d, i + 1)) - p);
        store<f64>(at(e, m), 0);
        break;
      }
      s = f / r;
      c = g / r;
      g = load<f64>(at(d, i + 1)) - p;
      const t = (load<f64>(at(d, i)) - g) * s + 2 * c * b;
      p = s * t;
      store<f64>(at(d, i + 1), g + p);
      g = c * t - b;
      const out = rotations + <usize> count * ROTATION;
      store<u32>(out, i);
      store<f64>(out, c, 8);
      store<f64>(out, s, 16);
      count++;
    }
    if (i >= <i32> l) continue;
    store<f64>(at(d, l), load<f64>(at(d, l)) - p);
    store<f64>(at(e, l), g);
    store<f64>(at(e, m), 0);
  }
  // Out of steps: what is there must do as a start for Jacobi.
  store<u32>(progress, count == 0 ? n : l);
  return count;
}

/**
 * Words of {@linkcode svdRotate}: applies `count` rotations to pairs of neighbouring rows of `z`. A part takes a slice of
 * columns, which stays in the L2 cache.
 */
// @ts-ignore: decorator
@unmanaged
class SvdRotate {
  z: usize;
  line: u32;
  rotations: usize;
  count: u32;
}

export function svdRotate(args: SvdRotate, part: u32, parts: u32): void {
  const z = args.z;
  const line = <usize> args.line;
  const from = <usize> share(<u32> line >> 4, part, parts) << 4;
  const to = <usize> share(<u32> line >> 4, part + 1, parts) << 4;
  let r = args.rotations;
  const end = r + <usize> args.count * ROTATION;
  for (; r < end; r += ROTATION) {
    const row = z + <usize> load<u32>(r) * line;
    const c = v128.load64_splat(r, 8);
    const s = v128.load64_splat(r, 16);
    let x = row + from;
    let y = x + line;
    for (const stop = row + to; x < stop; x += 16, y += 16) {
      const a = v128.load(x);
      const b = v128.load(y);
      v128.store(y, f64x2.relaxed_madd(s, a, f64x2.mul(c, b)));
      v128.store(x, f64x2.relaxed_nmadd(s, b, f64x2.mul(c, a)));
    }
  }
}
