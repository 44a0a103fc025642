/**
 * Matrix products, in two shapes of kernel.
 *
 * `tiled` is for a GPU: a workgroup brings blocks of both matrices into its memory, the next pair while it works on
 * the present one, and each thread keeps a tile of the result in registers. `direct` is for a software adapter, where
 * a barrier costs more than it saves and a lane's load as much as ten of its products: each thread reads what it needs
 * from the matrices themselves, in vectors of four.
 *
 * The text of a kernel depends on how the operands lie in memory, on the register tile, and on whether there is an
 * addend; sizes of workgroups and blocks are `override` constants.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import { DIRECT_THREADS, directBody, directHelpers } from "./direct.wgsl.ts";
import {
  type GemmVariant,
  productOf,
  resultBindings,
  resultText,
  type Tile,
} from "./text.wgsl.ts";
import { storedAs, tiledBody, tiledHelpers } from "./tiled.wgsl.ts";

/**
 * Sizes of a `tiled` kernel: `lanesX * cols` columns and `lanesY * rows` rows of the result a workgroup. At least one
 * vector of four a thread, or less than one, of each operand's block.
 */
export interface GemmTile extends Tile {
  /** Threads along the columns, a multiple of 8. */
  readonly lanesX: number;
  /** Threads along the rows, a multiple of 8. */
  readonly lanesY: number;
  /** Inner indices of a block, 8 or 16. */
  readonly depth: number;
}

function nameOf({ a, b, vectors, addend, source }: GemmVariant): string {
  const transposed = `${a === "k" ? "" : "ᵀ"} ${b === "k" ? "ᵀ" : ""}`;
  return `a${transposed.replace(" ", " b")}${vectors ? ", vectors" : ""}${
    addend ? ", addend" : ""
  }${source ? `, b ${source.name}` : ""}`;
}

/** A product by tiles in the workgroup's memory. Groups: tiles across, down, and products times parts. */
export const tiledGemm = (variant: GemmVariant, tile: GemmTile) => {
  const { lanesX, lanesY, rows, cols, depth } = tile;
  const sizes = `${lanesX}x${lanesY} of ${rows}x${cols} by ${depth}`;
  const shares = {
    a: rows * depth / 4 / lanesX,
    b: cols * depth / 4 / lanesY,
  };
  return kernel({
    name: `gemm ${nameOf(variant)}, tiles ${sizes}`,
    constants: {
      LANES_X: lanesX,
      LANES_Y: lanesY,
      DEPTH: depth,
      ...variant.source?.constants,
    },
    ...productOf(variant, storedAs(variant)),
    workgroup: "LANES_X, LANES_Y",
    helpers: () => tiledHelpers(variant, tile),
    body: () => tiledBody(variant, tile, shares),
  });
};

/**
 * A product by threads on their own, each with 8 x 8 values. Groups: `grid` of tiles by 16, and products; parts is 1.
 * `ragged`: whether k is no multiple of four.
 */
export const directGemm = (
  variant: GemmVariant,
  { ragged }: { ragged: boolean },
) =>
  kernel({
    name: `gemm ${nameOf(variant)}, direct`,
    constants: { RAGGED: ragged ? 1 : 0 },
    ...productOf(variant, variant),
    workgroup: DIRECT_THREADS,
    helpers: () => directHelpers(variant),
    body: () => directBody(variant),
  });

/** Threads of a workgroup of {@linkcode gemmSum}, along the columns. */
export const SUM_THREADS = 64;

/**
 * `c = alpha * Σ part + beta * add`: what is left of a product whose inner indices were shared out, or that has none
 * (`empty`). Groups: columns by 64, rows or fewer, products. The parts lie one after the other in `shares`.
 */
export const gemmSum = (
  { addend, empty }: { addend: boolean; empty: boolean },
) => {
  const result = { vectors: false, addend };
  const { reads, writes } = resultBindings(result);
  return kernel({
    name: `gemm ${empty ? "of nothing" : "sum"}${addend ? ", addend" : ""}`,
    params: { m: "u32", n: "u32", parts: "u32", alpha: "f32", beta: "f32" },
    reads: { shares: !empty && "batch f32", ...reads },
    writes,
    workgroup: SUM_THREADS,
    helpers: resultText(result),
    body: `
  let z = invocation.z;
  let col = invocation.x;
  for (var row = invocation.y; row < p.m; row += groups.y) {
    var sum = 0.0;
    ${
      empty ? "" : `
    for (var i = 0u; i < p.parts; i += 1u) {
      sum += shares[p.shares + (z * p.parts + i) * p.sharesStep + row * p.sharesStride + col];
    }`
    }
    put(z, row, col, sum);
  }`,
  });
};
