/**
 * `c[m, n] = alpha * op(a)[m, k] * op(b)[k, n] + beta * add`.
 *
 * Loops, from the outside: blocks of k, blocks of n whose packed `b` stays in the L2 cache, strips of five rows of `a`
 * (packed one at a time, they stay in L1), panels of `b` eight columns wide. `alpha` is multiplied in while packing.
 */

import { share } from "../lib/args";
import { micro, STEP, TILE_COLS, TILE_ROWS } from "./gemm_micro";
import {
  packPanelColumns,
  packPanelRows,
  packStripColumns,
  packStripRows,
} from "./gemm_pack";

/** Bytes at the start of a thread's scratch memory: one tile. */
const TILE_BYTES: usize = 192;

/** Adds `beta * add` to a tile and stores the `rows` x `cols` of it that exist. */
export function storeTile(
  tile: usize,
  rows: i32,
  cols: i32,
  c: usize,
  ldc: usize,
  add: usize,
  ldadd: usize,
  beta: f32,
): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      const at = <usize> j << 2;
      let x = load<f32>(tile + (<usize> (i * TILE_COLS) << 2) + at);
      if (add) x += beta * load<f32>(add + <usize> i * ldadd + at);
      store<f32>(c + <usize> i * ldc + at, x);
    }
  }
}

/** Words of {@linkcode gemm}. Strides in bytes; `scratchBytes`: of a thread. */
// @ts-ignore: decorator
@unmanaged
class Gemm {
  m: u32;
  n: u32;
  k: u32;
  a: usize;
  aStride: usize;
  transA: u32;
  b: usize;
  bStride: usize;
  transB: u32;
  c: usize;
  cStride: usize;
  add: usize; // 0: none
  addStride: usize;
  alpha: f32;
  beta: f32;
  scratch: usize;
  scratchBytes: u32;
  kBlock: u32;
  nBlock: u32;
}

export function gemm(
  args: Gemm,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  let m = <i32> args.m;
  let n = <i32> args.n;
  const k = <i32> args.k;
  let a = args.a;
  const lda = args.aStride;
  const transA = args.transA != 0;
  let b = args.b;
  const ldb = args.bStride;
  const transB = args.transB != 0;
  let c = args.c;
  const ldc = args.cStride;
  let add = args.add;
  const ldadd = args.addStride;
  const alpha = args.alpha;
  const beta = args.beta;
  const tile = args.scratch + <usize> thread * <usize> args.scratchBytes;
  const kBlock = <i32> args.kBlock;
  const nBlock = <i32> args.nBlock;
  const strip = tile + TILE_BYTES;
  const packed = strip + <usize> ((kBlock + STEP - 1) / STEP) * 80;

  // The longer side is dealt out in whole tiles, so that sums are the same for any number of parts.
  const strips = (m + TILE_ROWS - 1) / TILE_ROWS;
  const panels = (n + TILE_COLS - 1) / TILE_COLS;
  if (strips >= panels) {
    const from = <i32> share(strips, part, parts) * TILE_ROWS;
    m = min(m, <i32> share(strips, part + 1, parts) * TILE_ROWS) - from;
    a += <usize> from * (transA ? 4 : lda);
    c += <usize> from * ldc;
    if (add) add += <usize> from * ldadd;
  } else {
    const from = <i32> share(panels, part, parts) * TILE_COLS;
    n = min(n, <i32> share(panels, part + 1, parts) * TILE_COLS) - from;
    b += <usize> from * (transB ? ldb : 4);
    c += <usize> from << 2;
    if (add) add += <usize> from << 2;
  }

  let k0 = 0;
  do {
    const kc = min(kBlock, k - k0);
    const steps = (kc + STEP - 1) / STEP;
    const panelBytes = <usize> steps << 7;
    // Later blocks of k add to what the first one stored.
    const base = k0 == 0 ? add : c;
    const ldbase = k0 == 0 ? ldadd : ldc;
    const factor: f32 = k0 == 0 ? beta : 1;
    for (let j0 = 0; j0 < n; j0 += nBlock) {
      const nc = min(nBlock, n - j0);
      let p = packed;
      for (let j = 0; j < nc; j += TILE_COLS, p += panelBytes) {
        const cols = min(TILE_COLS, nc - j);
        const row = <usize> (j0 + j);
        if (transB) {
          packPanelRows(
            p,
            b + row * ldb + (<usize> k0 << 2),
            ldb,
            kc,
            cols,
            alpha,
          );
        } else {
          packPanelColumns(
            p,
            b + <usize> k0 * ldb + (row << 2),
            ldb,
            kc,
            cols,
            alpha,
          );
        }
      }
      for (let i = 0; i < m; i += TILE_ROWS) {
        const rows = min(TILE_ROWS, m - i);
        if (transA) {
          packStripColumns(
            strip,
            a + <usize> k0 * lda + (<usize> i << 2),
            lda,
            kc,
            rows,
          );
        } else {
          packStripRows(
            strip,
            a + <usize> i * lda + (<usize> k0 << 2),
            lda,
            kc,
            rows,
          );
        }
        p = packed;
        let at = c + <usize> i * ldc + (<usize> j0 << 2);
        let from = base ? base + <usize> i * ldbase + (<usize> j0 << 2) : 0;
        for (let j = 0; j < nc; j += TILE_COLS, p += panelBytes) {
          const cols = min(TILE_COLS, nc - j);
          if (rows == TILE_ROWS && cols == TILE_COLS) {
            micro(steps, strip, p, at, ldc, from, ldbase, factor);
          } else {
            micro(steps, strip, p, tile, 32, 0, 0, 0);
            storeTile(tile, rows, cols, at, ldc, from, ldbase, factor);
          }
          at += 32;
          if (from) from += 32;
        }
      }
    }
    k0 += kBlock;
  } while (k0 < k);
}
