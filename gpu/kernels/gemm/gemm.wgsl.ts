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

import type { Kernel } from "../../context.ts";
import { directText } from "./direct.wgsl.ts";
import {
  type GemmVariant,
  operandText,
  paramsText,
  resultText,
  type Tile,
} from "./text.wgsl.ts";
import { kept } from "../../kernel_cache.ts";
import { tiledText } from "./tiled.wgsl.ts";

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

/**
 * A product by tiles in the workgroup's memory. Groups: tiles across, down, and products times parts. Parameters as in
 * `text.wgsl.ts`; reads a, b and the addend if there is one; writes c.
 */
export function tiledGemm(variant: GemmVariant, tile: GemmTile): Kernel {
  const { lanesX, lanesY, rows, cols, depth } = tile;
  const sizes = `${lanesX}x${lanesY} of ${rows}x${cols} by ${depth}`;
  return kept({
    name: `gemm ${nameOf(variant)}, tiles ${sizes}`,
    constants: {
      LANES_X: lanesX,
      LANES_Y: lanesY,
      DEPTH: depth,
      ...variant.source?.constants,
    },
  }, () =>
    tiledText(variant, tile, {
      a: rows * depth / 4 / lanesX,
      b: cols * depth / 4 / lanesY,
    }));
}

/**
 * A product by threads on their own, each with 8 x 8 values. Groups: `grid` of tiles by 16, and products; parts is 1.
 * `ragged`: whether k is no multiple of four. Otherwise as {@linkcode tiledGemm}.
 */
export function directGemm(
  variant: GemmVariant,
  { ragged }: { ragged: boolean },
): Kernel {
  return kept({
    name: `gemm ${nameOf(variant)}, direct`,
    constants: { RAGGED: ragged ? 1 : 0 },
  }, () => directText(variant));
}

/** Threads of a workgroup of {@linkcode gemmSum}, along the columns. */
export const SUM_THREADS = 64;

/**
 * `c = alpha * Σ part + beta * add`: what is left of a product whose inner indices were shared out, or that has none
 * (`empty`). Groups: columns by 64, rows or fewer, products. Parameters as in `text.wgsl.ts`; reads the parts, one
 * after the other in a (none, if empty), and the addend; writes c.
 */
export function gemmSum(
  { addend, empty }: { addend: boolean; empty: boolean },
): Kernel {
  const name = `gemm ${empty ? "of nothing" : "sum"}${
    addend ? ", addend" : ""
  }`;
  return kept({ name }, () =>
    `${paramsText()}
${empty ? "" : operandText("a", { vectors: false })}
${resultText({ vectors: false, addend }, empty ? 1 : 2)}

@compute @workgroup_size(${SUM_THREADS})
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  for (var row = id.y; row < p.m; row += groups.y) {
    var sum = 0.0;
    ${
      empty ? "" : `
    for (var i = 0u; i < p.parts; i += 1u) {
      sum += a[p.a + (id.z * p.parts + i) * p.aStep + row * p.n + id.x];
    }`
    }
    put(id.z, row, id.x, sum);
  }
}`);
}
