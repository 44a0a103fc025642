/**
 * Packing for the product's micro-kernel; the layouts are drawn in `gemm_micro.ts`.
 */

import { STEP, TILE_COLS, TILE_ROWS } from "./gemm_micro";

/** Stores the transpose of four vectors, with `gap` bytes between the starts of its rows. */
// @ts-ignore: decorator
@inline
function storeTransposed(
  p: usize,
  gap: usize,
  r0: v128,
  r1: v128,
  r2: v128,
  r3: v128,
): void {
  const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const t1 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const t2 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  v128.store(p, v128.shuffle<f64>(t0, t2, 0, 2));
  v128.store(p + gap, v128.shuffle<f64>(t0, t2, 1, 3));
  v128.store(p + 2 * gap, v128.shuffle<f64>(t1, t3, 0, 2));
  v128.store(p + 3 * gap, v128.shuffle<f64>(t1, t3, 1, 3));
}

/** Packs the last, partial step of a strip; `down` and `right` are the strides of `a` in bytes. */
function packStripEnd(
  p: usize,
  a: usize,
  down: usize,
  right: usize,
  rows: i32,
  count: i32,
): void {
  for (let k = 0; k < STEP; k++) {
    for (let i = 0; i < TILE_ROWS; i++) {
      const at = i < 4 ? k << 4 | i << 2 : 64 | k << 2;
      store<f32>(
        p + at,
        i < rows && k < count
          ? load<f32>(a + <usize> i * down + <usize> k * right)
          : 0,
      );
    }
  }
}

/** Packs a strip of `a` stored as `[m, k]`. Rows that do not exist repeat the first. */
export function packStripRows(
  p: usize,
  a: usize,
  lda: usize,
  kc: i32,
  rows: i32,
): void {
  let a1 = rows > 1 ? a + lda : a;
  let a2 = rows > 2 ? a + 2 * lda : a;
  let a3 = rows > 3 ? a + 3 * lda : a;
  let a4 = rows > 4 ? a + 4 * lda : a;
  for (const end = a + (<usize> (kc & ~3) << 2); a < end; p += 80) {
    storeTransposed(
      p,
      16,
      v128.load(a),
      v128.load(a1),
      v128.load(a2),
      v128.load(a3),
    );
    v128.store(p, v128.load(a4), 64);
    a += 16;
    a1 += 16;
    a2 += 16;
    a3 += 16;
    a4 += 16;
  }
  if (kc & 3) packStripEnd(p, a, lda, 4, rows, kc & 3);
}

/**
 * Packs a strip of `a` stored as `[k, m]`. Reads five values of each row even where the matrix has fewer left; the
 * arena keeps room for it behind the last buffer.
 */
export function packStripColumns(
  p: usize,
  a: usize,
  lda: usize,
  kc: i32,
  rows: i32,
): void {
  const a4: usize = rows > 4 ? 16 : 0;
  let k = kc;
  for (; k >= STEP; k -= STEP, p += 80) {
    v128.store(p, v128.load(a));
    store<f32>(p, load<f32>(a + a4), 64);
    a += lda;
    v128.store(p, v128.load(a), 16);
    store<f32>(p, load<f32>(a + a4), 68);
    a += lda;
    v128.store(p, v128.load(a), 32);
    store<f32>(p, load<f32>(a + a4), 72);
    a += lda;
    v128.store(p, v128.load(a), 48);
    store<f32>(p, load<f32>(a + a4), 76);
    a += lda;
  }
  if (k) packStripEnd(p, a, 4, lda, rows, k);
}

/** Packs `cols` (at most 8) columns of `b` stored as `[k, n]`, times `alpha`. */
export function packPanelColumns(
  p: usize,
  b: usize,
  ldb: usize,
  kc: i32,
  cols: i32,
  alpha: f32,
): void {
  const end = p + (<usize> kc << 5);
  if (cols == TILE_COLS) {
    const s = f32x4.splat(alpha);
    for (; p < end; p += 32, b += ldb) {
      v128.store(p, f32x4.mul(s, v128.load(b)));
      v128.store(p, f32x4.mul(s, v128.load(b, 16)), 16);
    }
  }
  for (; p < end; p += 32, b += ldb) {
    for (let j = 0; j < TILE_COLS; j++) {
      const at = <usize> j << 2;
      store<f32>(p + at, j < cols ? alpha * load<f32>(b + at) : 0);
    }
  }
  memory.fill(p, 0, <usize> (-kc & 3) << 5);
}

/** As {@linkcode packPanelColumns} for `b` stored as `[n, k]`: packs `cols` of its rows. */
export function packPanelRows(
  p: usize,
  b: usize,
  ldb: usize,
  kc: i32,
  cols: i32,
  alpha: f32,
): void {
  const end = p + (<usize> kc << 5);
  if (cols == TILE_COLS) {
    const s = f32x4.splat(alpha);
    let b4 = b + 4 * ldb;
    for (const wide = p + (<usize> (kc & ~3) << 5); p < wide; p += 128) {
      storeTransposed(
        p,
        32,
        f32x4.mul(s, v128.load(b)),
        f32x4.mul(s, v128.load(b + ldb)),
        f32x4.mul(s, v128.load(b + 2 * ldb)),
        f32x4.mul(s, v128.load(b + 3 * ldb)),
      );
      storeTransposed(
        p + 16,
        32,
        f32x4.mul(s, v128.load(b4)),
        f32x4.mul(s, v128.load(b4 + ldb)),
        f32x4.mul(s, v128.load(b4 + 2 * ldb)),
        f32x4.mul(s, v128.load(b4 + 3 * ldb)),
      );
      b += 16;
      b4 += 16;
    }
  }
  for (; p < end; p += 32, b += 4) {
    for (let j = 0; j < TILE_COLS; j++) {
      store<f32>(
        p + (<usize> j << 2),
        j < cols ? alpha * load<f32>(b + <usize> j * ldb) : 0,
      );
    }
  }
  memory.fill(p, 0, <usize> (-kc & 3) << 5);
}
