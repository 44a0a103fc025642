/**
 * Tiles of a product on a GPU.
 *
 * @module
 */

import type { GemmTile } from "./gemm.wgsl.ts";

/** Sizes of a product, and the number of products. */
export interface GemmSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly count: number;
}

// All of these keep to 256 threads and 16 KiB of a workgroup's memory, which every device has.

/** 128 x 128, 64 values a thread: 4 flops for each byte that leaves the workgroup's memory. */
const LARGE: GemmTile = { lanesX: 16, lanesY: 16, rows: 8, cols: 8, depth: 8 };

/** 64 x 64, for results that do not make enough large tiles. */
const MEDIUM: GemmTile = { ...LARGE, rows: 4, cols: 4, depth: 16 };

/** 128 x 32, for the few columns of a randomised SVD. */
const TALL: GemmTile = { ...MEDIUM, lanesX: 8, lanesY: 32, depth: 8 };

/** 32 x 128. */
const WIDE: GemmTile = { ...TALL, lanesX: 32, lanesY: 8 };

/** Every tile that {@linkcode chooseTile} gives. */
export const TILES: readonly GemmTile[] = [LARGE, MEDIUM, TALL, WIDE];

/** Workgroups that a large GPU runs at once, about; with fewer, smaller tiles and shared-out inner indices pay. */
const BUSY = 128;

/** Rows or columns that count as few. */
const FEW = 96;

/** Blocks of inner indices that are worth a workgroup. */
const LEAST_BLOCKS = 8;

/** The most shares of the inner indices: each is written, and read again. */
const MOST_PARTS = 32;

/** The tile of a product. */
export function chooseTile({ m, n, count }: GemmSizes): GemmTile {
  if (n <= FEW && n <= m) return TALL;
  if (m <= FEW) return WIDE;
  const large = Math.ceil(m / 128) * Math.ceil(n / 128) * count;
  return large >= BUSY / 2 ? LARGE : MEDIUM;
}

/**
 * Shares of the inner indices among workgroups: `parts` of `part` each, the last one the rest; as many as
 * keep a GPU busy, as far as the shares' results fit into `most` bytes.
 */
export function shareOut(
  { m, n, k, count }: GemmSizes,
  { lanesX, lanesY, rows, cols, depth }: GemmTile,
  { most }: { most: number },
): { part: number; parts: number } {
  const groups = Math.ceil(m / (lanesY * rows)) *
    Math.ceil(n / (lanesX * cols)) * count;
  const wanted = Math.min(
    Math.floor(BUSY / groups),
    Math.floor(k / (LEAST_BLOCKS * depth)),
    MOST_PARTS,
    Math.floor(most / (4 * m * n * count)),
  );
  if (wanted < 2) return { part: k, parts: 1 };
  const part = Math.ceil(k / wanted / depth) * depth;
  return { part, parts: Math.ceil(k / part) };
}
