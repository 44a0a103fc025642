/**
 * One-sided block Jacobi in f64, for matrices too large for plain Jacobi.
 *
 * Vectors lie in panels of {@linkcode PANEL}: `[len + k rows, PANEL]`, the matrix's values first (rounded up to an even
 * number of rows, then to four, with zeros), the accumulated rotations below. A pair of panels is made orthogonal
 * within itself through its Gram matrix, whose eigenvectors then turn both panels by matrix products. Pairs that share no
 * panel are dealt out to threads.
 */

import { share, word } from "../lib/args";
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
 * Job: words are a, bytes to the next vector, to the next element, k, len, panels, bytes of a panel, their number.
 */
export function svdLoad(args: usize, part: u32, parts: u32): void {
  const down = <usize> word(args, 1);
  const right = <usize> word(args, 2);
  const k = word(args, 3);
  const len = word(args, 4);
  const size = <usize> word(args, 6);
  const skip = <usize> ((len + 1) & ~1) * ROW;
  const end = share(word(args, 7), part + 1, parts);
  for (let p = share(word(args, 7), part, parts); p < end; p++) {
    const panel = <usize> word(args, 5) + <usize> p * size;
    memory.fill(panel, 0, size);
    const first = p * PANEL;
    const count = min(PANEL, k - first);
    for (let i: u32 = 0; i < len; i++) {
      const from = <usize> word(args, 0) + <usize> i * right;
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

/** Job: squared lengths of all vectors, from the panels. Words are panels, bytes of a panel, number, `len`, out. */
export function svdNorms(args: usize, part: u32, parts: u32): void {
  const size = <usize> word(args, 1);
  const len = word(args, 3);
  const end = share(word(args, 2), part + 1, parts);
  for (let p = share(word(args, 2), part, parts); p < end; p++) {
    const panel = <usize> word(args, 0) + <usize> p * size;
    const out = <usize> word(args, 4) + <usize> p * ROW;
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
 * Job: the upper triangle of the vectors' Gram matrix. Words are panels, bytes of a panel, number, `len`, g, bytes of a
 * row of g. A part takes rows of blocks.
 */
export function svdGram(args: usize, part: u32, parts: u32): void {
  const panels = <usize> word(args, 0);
  const size = <usize> word(args, 1);
  const count = word(args, 2);
  const len = word(args, 3);
  const ldg = <usize> word(args, 5);
  const all = count * (count + 1) / 2;
  const end = share(all, part + 1, parts);
  let p: u32 = 0;
  let q: u32 = 0;
  for (let block: u32 = 0; block < end; block++) {
    if (block >= share(all, part, parts)) {
      const g = <usize> word(args, 4) + <usize> (p * PANEL) * ldg +
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
 * Job: turns the vectors by an orthogonal matrix, from one set of panels to another. Words are panels, new panels, bytes
 * of a panel, number, k, `len`, z (row `i` of it is column `i` of the matrix), bytes of its rows, order (u32:
 * which row of z each column takes).
 */
export function svdTurn(args: usize, part: u32, parts: u32): void {
  const from = <usize> word(args, 0);
  const size = <usize> word(args, 2);
  const count = word(args, 3);
  const k = word(args, 4);
  const len = word(args, 5);
  const z = <usize> word(args, 6);
  const ldz = <usize> word(args, 7);
  const order = <usize> word(args, 8);
  const skip = <usize> ((len + 1) & ~1) * ROW;
  const end = share(count, part + 1, parts);
  for (let q = share(count, part, parts); q < end; q++) {
    const panel = <usize> word(args, 1) + <usize> q * size;
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
 * Job: one round of a sweep. Words are panels, bytes of a panel, `len`, rows, pairs (a list of panel numbers, two a
 * pair), their number, address of the squared length that counts as nothing (f64), a flag (u32) a thread, set
 * where something was turned, scratch, its size a thread.
 */
export function svdRound(
  args: usize,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const panels = <usize> word(args, 0);
  const size = <usize> word(args, 1);
  const pairs = <usize> word(args, 4);
  const nothing = load<f64>(word(args, 6));
  const flag = <usize> word(args, 7) + (<usize> thread << 2);
  const scratch = <usize> word(args, 8) + <usize> thread * word(args, 9);
  const end = share(word(args, 5), part + 1, parts);
  for (let i = share(word(args, 5), part, parts); i < end; i++) {
    const pair = pairs + (<usize> i << 3);
    const turned = turnPair(
      panels + <usize> load<u32>(pair) * size,
      panels + <usize> load<u32>(pair, 4) * size,
      word(args, 2),
      word(args, 3),
      nothing,
      scratch,
    );
    if (turned) store<u32>(flag, 1);
  }
}
