/**
 * One-sided block Jacobi in f64, for matrices too large for plain Jacobi.
 *
 * Vectors lie in panels of {@linkcode PANEL}: `[len + k rows, PANEL]`, the matrix's values first (rounded up to an even
 * number of rows, then to four, with zeros), the accumulated rotations below. A pair of panels is made orthogonal
 * within itself through its Gram matrix, whose eigenvectors then turn both panels by matrix products. Pairs that share no
 * panel are dealt out to threads.
 */

import { share } from "../lib/args";
import { microF64 } from "./f64_micro";
import { isOrthogonal, tangent } from "./svd";

/** Vectors of a panel. */
const PANEL: u32 = 16;
/** Bytes of a row of a panel. */
const ROW: usize = 128;
/** Vectors of a pair of panels, and bytes of a row of its matrices. */
const PAIR: u32 = 32;
const WIDE: usize = 256;
/** Rows of two panels that stay in the L1 cache. */
const SLICE: u32 = 128;

/**
 * Words of {@linkcode svdLoad}: `a`, bytes to the next vector and to the next element, `k`, `len`, then `count` panels of
 * `size` bytes.
 */
// @ts-ignore: decorator
@unmanaged
class SvdLoad {
  a: usize;
  down: u32;
  right: u32;
  k: u32;
  len: u32;
  panels: usize;
  size: u32;
  count: u32;
}

export function svdLoad(args: SvdLoad, part: u32, parts: u32): void {
  const down = <usize> args.down;
  const right = <usize> args.right;
  const k = args.k;
  const len = args.len;
  const size = <usize> args.size;
  const skip = <usize> ((len + 1) & ~1) * ROW;
  const end = share(args.count, part + 1, parts);
  for (let p = share(args.count, part, parts); p < end; p++) {
    const panel = args.panels + <usize> p * size;
    memory.fill(panel, 0, size);
    const first = p * PANEL;
    const count = min(PANEL, k - first);
    for (let i: u32 = 0; i < len; i++) {
      const from = args.a + <usize> i * right;
      const out = panel + <usize> i * ROW;
      for (let j: u32 = 0; j < count; j++) {
        store<f64>(
          out + (<usize> j << 3),
          <f64> load<f32>(from + <usize> (first + j) * down),
        );
      }
    }
    for (let j: u32 = 0; j < count; j++) {
      store<f64>(
        panel + skip + <usize> (first + j) * ROW + (<usize> j << 3),
        1,
      );
    }
  }
}

/** Words of {@linkcode svdNorms}. Squared lengths of all vectors, from `count` panels of `size` bytes. */
// @ts-ignore: decorator
@unmanaged
class SvdNorms {
  panels: usize;
  size: u32;
  count: u32;
  len: u32;
  out: usize;
}

export function svdNorms(args: SvdNorms, part: u32, parts: u32): void {
  const size = <usize> args.size;
  const len = args.len;
  const end = share(args.count, part + 1, parts);
  for (let p = share(args.count, part, parts); p < end; p++) {
    const panel = args.panels + <usize> p * size;
    const out = args.out + <usize> p * ROW;
    for (let j: usize = 0; j < ROW; j += 16) {
      let s = f64x2.splat(0);
      let x = panel + j;
      for (let i: u32 = 0; i < len; i++, x += ROW) {
        const v = v128.load(x);
        s = f64x2.relaxed_madd(v, v, s);
      }
      v128.store(out + j, s);
    }
  }
}

/**
 * Eigenvectors of the symmetric `g` by Jacobi, one pass over all pairs: `g <- jᵀ g j`, and `v` (rows are columns of
 * the product of rotations) `<- jᵀ v`. Returns whether anything was rotated.
 */
function diagonalize(g: usize, v: usize, nothing: f64): bool {
  let rotated = false;
  for (let p: u32 = 0; p < PAIR - 1; p++) {
    const rp = g + <usize> p * WIDE;
    for (let q = p + 1; q < PAIR; q++) {
      const rq = g + <usize> q * WIDE;
      const h = load<f64>(rp + (<usize> q << 3));
      const a = load<f64>(rp + (<usize> p << 3));
      const b = load<f64>(rq + (<usize> q << 3));
      if (!(a > nothing && b > nothing)) continue;
      if (isOrthogonal(h, a, b)) continue;
      rotated = true;
      const t = tangent(h, a, b);
      let c = 1 / sqrt(1 + t * t);
      let s = c * t;
      let longer = a + t * h;
      let shorter = b - t * h;
      if (longer < shorter) {
        const swap = longer;
        longer = shorter;
        shorter = swap;
        const quarter = c;
        c = -s;
        s = quarter;
      }
      const cc = f64x2.splat(c);
      const ss = f64x2.splat(s);
      const vp = v + <usize> p * WIDE;
      const vq = v + <usize> q * WIDE;
      for (let at: usize = 0; at < WIDE; at += 16) {
        let x = v128.load(rp + at);
        let y = v128.load(rq + at);
        v128.store(rp + at, f64x2.relaxed_madd(ss, y, f64x2.mul(cc, x)));
        v128.store(rq + at, f64x2.relaxed_nmadd(ss, x, f64x2.mul(cc, y)));
        x = v128.load(vp + at);
        y = v128.load(vq + at);
        v128.store(vp + at, f64x2.relaxed_madd(ss, y, f64x2.mul(cc, x)));
        v128.store(vq + at, f64x2.relaxed_nmadd(ss, x, f64x2.mul(cc, y)));
      }
      store<f64>(rp + (<usize> p << 3), longer);
      store<f64>(rp + (<usize> q << 3), 0);
      store<f64>(rq + (<usize> p << 3), 0);
      store<f64>(rq + (<usize> q << 3), max(shorter, 0));
      // Columns p and q from the rows, by symmetry.
      let up = g + (<usize> p << 3);
      let uq = g + (<usize> q << 3);
      for (let at: usize = 0; at < WIDE; at += 8) {
        store<f64>(up, load<f64>(rp + at));
        store<f64>(uq, load<f64>(rq + at));
        up += WIDE;
        uq += WIDE;
      }
    }
  }
  return rotated;
}

/** Adds the product `xᵀ y` of `len` rows of two panels to `g`, whose rows are `ldg` bytes apart. */
function gramTiles(
  x: usize,
  y: usize,
  len: u32,
  g: usize,
  ldg: usize,
  upper: bool,
): void {
  for (let a: u32 = 0; a < PANEL; a += 4) {
    for (let b: u32 = upper ? a : 0; b < PANEL; b += 4) {
      microF64(
        <i32> len,
        x + (<usize> a << 3),
        8,
        ROW,
        y + (<usize> b << 3),
        ROW,
        g + <usize> a * ldg + (<usize> b << 3),
        ldg,
        1,
      );
    }
  }
}

/**
 * Words of {@linkcode svdGram}. The upper triangle of the vectors' Gram matrix, from `count` panels of `size` bytes. A part takes rows of blocks.
 */
// @ts-ignore: decorator
@unmanaged
class SvdGram {
  panels: usize;
  size: u32;
  count: u32;
  len: u32;
  g: usize;
  gStride: usize;
}

export function svdGram(args: SvdGram, part: u32, parts: u32): void {
  const panels = args.panels;
  const size = <usize> args.size;
  const count = args.count;
  const len = args.len;
  const ldg = args.gStride;
  const all = count * (count + 1) / 2;
  const end = share(all, part + 1, parts);
  let p: u32 = 0;
  let q: u32 = 0;
  for (let block: u32 = 0; block < end; block++) {
    if (block >= share(all, part, parts)) {
      const g = args.g + <usize> (p * PANEL) * ldg +
        <usize> q * ROW;
      // The last block of a row clears what lies behind it too.
      const clear = q == count - 1 ? ldg - <usize> q * ROW : ROW;
      for (let i: u32 = 0; i < PANEL; i++) memory.fill(g + i * ldg, 0, clear);
      for (let i: u32 = 0; i < len; i += SLICE) {
        const at = <usize> i * ROW;
        gramTiles(
          panels + <usize> p * size + at,
          panels + <usize> q * size + at,
          min(SLICE, len - i),
          g,
          ldg,
          p == q,
        );
      }
    }
    if (++q == count) q = ++p;
  }
}

/**
 * Words of {@linkcode svdTurn}: turns the vectors by an orthogonal matrix, from one set of `count` panels of `size` bytes to
 * another. Row `i` of z is column `i` of the matrix; `order` (u32): which row of z each column takes.
 */
// @ts-ignore: decorator
@unmanaged
class SvdTurn {
  panels: usize;
  turned: usize;
  size: u32;
  count: u32;
  k: u32;
  len: u32;
  z: usize;
  zStride: usize;
  order: usize;
}

export function svdTurn(args: SvdTurn, part: u32, parts: u32): void {
  const from = args.panels;
  const size = <usize> args.size;
  const count = args.count;
  const k = args.k;
  const len = args.len;
  const z = args.z;
  const ldz = args.zStride;
  const order = args.order;
  const skip = <usize> ((len + 1) & ~1) * ROW;
  const end = share(count, part + 1, parts);
  for (let q = share(count, part, parts); q < end; q++) {
    const panel = args.turned + <usize> q * size;
    memory.fill(panel, 0, size);
    const basis = panel + skip;
    for (let j = q * PANEL; j < min(k, (q + 1) * PANEL); j++) {
      const row = z + <usize> load<u32>(order + (<usize> j << 2)) * ldz;
      const out = basis + (<usize> (j & (PANEL - 1)) << 3);
      for (let i: u32 = 0; i < k; i++) {
        store<f64>(out + <usize> i * ROW, load<f64>(row + (<usize> i << 3)));
      }
    }
    // The last rows singly: four would reach into the basis.
    for (let i: u32 = 0; i + 4 <= len; i += 4) {
      turnRows(from, size, count, k, i, basis, panel);
    }
    for (let i = len & ~3; i < len; i++) {
      turnRow(from, size, k, i, basis, panel);
    }
  }
}

/** Four rows of a turned panel. */
function turnRows(
  from: usize,
  size: usize,
  count: u32,
  k: u32,
  i: u32,
  basis: usize,
  panel: usize,
): void {
  const at = <usize> i * ROW;
  for (let p: u32 = 0; p < count; p++) {
    const n = <i32> min(PANEL, k - p * PANEL);
    for (let j: usize = 0; j < ROW; j += 32) {
      microF64(
        n,
        from + <usize> p * size + at,
        ROW,
        8,
        basis + <usize> (p * PANEL) * ROW + j,
        ROW,
        panel + at + j,
        ROW,
        1,
      );
    }
  }
}

/** One of the last rows. */
function turnRow(
  from: usize,
  size: usize,
  k: u32,
  i: u32,
  basis: usize,
  panel: usize,
): void {
  for (let t: u32 = 0; t < k; t++) {
    const f = v128.load64_splat(
      from + <usize> (t / PANEL) * size + <usize> i * ROW +
        (<usize> (t & (PANEL - 1)) << 3),
    );
    for (let j: usize = 0; j < ROW; j += 16) {
      const out = panel + <usize> i * ROW + j;
      v128.store(
        out,
        f64x2.relaxed_madd(
          f,
          v128.load(basis + <usize> t * ROW + j),
          v128.load(out),
        ),
      );
    }
  }
}

/** Makes one pair of panels orthogonal; returns whether it was not. */
function turnPair(
  x: usize,
  y: usize,
  len: u32,
  rows: u32,
  nothing: f64,
  scratch: usize,
): bool {
  const g = scratch;
  const v = g + PAIR * WIDE;
  const turn = v + PAIR * WIDE;
  const four = turn + PAIR * WIDE;
  memory.fill(g, 0, PAIR * WIDE);
  for (let i: u32 = 0; i < len; i += SLICE) {
    const n = min(SLICE, len - i);
    const at = <usize> i * ROW;
    gramTiles(x + at, x + at, n, g, WIDE, true);
    gramTiles(x + at, y + at, n, g + ROW, WIDE, false);
    gramTiles(y + at, y + at, n, g + PANEL * WIDE + ROW, WIDE, true);
  }
  for (let i: u32 = 0; i < PAIR; i++) {
    for (let j: u32 = 0; j < i; j++) {
      store<f64>(
        g + <usize> i * WIDE + (<usize> j << 3),
        load<f64>(g + <usize> j * WIDE + (<usize> i << 3)),
      );
    }
  }
  memory.fill(v, 0, PAIR * WIDE);
  for (let i: u32 = 0; i < PAIR; i++) store<f64>(v + <usize> i * (WIDE + 8), 1);
  // A second pass over so small a matrix costs little and saves whole sweeps; a third does not.
  if (!diagonalize(g, v, nothing)) return false;
  diagonalize(g, v, nothing);
  for (let i: u32 = 0; i < PAIR; i++) {
    for (let j: u32 = 0; j < PAIR; j++) {
      store<f64>(
        turn + <usize> i * WIDE + (<usize> j << 3),
        load<f64>(v + <usize> j * WIDE + (<usize> i << 3)),
      );
    }
  }
  for (let i: u32 = 0; i < rows; i += 4) {
    const xi = x + <usize> i * ROW;
    const yi = y + <usize> i * ROW;
    for (let j: u32 = 0; j < PAIR; j += 4) {
      const at = <usize> j << 3;
      microF64(PANEL, xi, ROW, 8, turn + at, WIDE, four + at, WIDE, 0);
      microF64(
        PANEL,
        yi,
        ROW,
        8,
        turn + PANEL * WIDE + at,
        WIDE,
        four + at,
        WIDE,
        1,
      );
    }
    for (let t: usize = 0; t < 4; t++) {
      memory.copy(xi + t * ROW, four + t * WIDE, ROW);
      memory.copy(yi + t * ROW, four + t * WIDE + ROW, ROW);
    }
  }
  return true;
}

/**
 * Words of {@linkcode svdRound}. One round of a sweep: `count` pairs of panel numbers; `nothing`: address of the squared length that counts as nothing
 * (f64); `flags`: a word a thread, set where something was turned.
 */
// @ts-ignore: decorator
@unmanaged
class SvdRound {
  panels: usize;
  size: u32;
  len: u32;
  rows: u32;
  pairs: usize;
  count: u32;
  nothing: usize;
  flags: usize;
  scratch: usize;
  scratchBytes: u32;
}

export function svdRound(
  args: SvdRound,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const panels = args.panels;
  const size = <usize> args.size;
  const pairs = args.pairs;
  const nothing = load<f64>(args.nothing);
  const flag = args.flags + (<usize> thread << 2);
  const scratch = args.scratch + <usize> thread * args.scratchBytes;
  const end = share(args.count, part + 1, parts);
  for (let i = share(args.count, part, parts); i < end; i++) {
    const pair = pairs + (<usize> i << 3);
    const turned = turnPair(
      panels + <usize> load<u32>(pair) * size,
      panels + <usize> load<u32>(pair, 4) * size,
      args.len,
      args.rows,
      nothing,
      scratch,
    );
    if (turned) store<u32>(flag, 1);
  }
}
