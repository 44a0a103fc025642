/**
 * Products and elementwise operations on the WASM device. The kernels: `wasm/assembly/gemm.ts`, `elementwise.ts`.
 *
 * @module
 */

import { f32 } from "../../wasm/loader.ts";
import { checkGemm, checkRowSquares, checkScaleColumns } from "./check.ts";
import type { Operations } from "./device.ts";
import type { WasmMemory } from "./wasm_memory.ts";

/** Inner indices of a block: eight columns and five rows of this length fill half of a usual L1 cache. */
const K_BLOCK = 320;

/** Bytes of packed columns that should stay in a thread's L2 cache. */
const PACKED_BYTES = 1 << 19;

/** Rows or columns of a part of a product, if there are more parts than threads. */
const LEAST_SIDE = 384;

/** Scratch memory that a thread keeps a partial tile in. */
const TILE_BYTES = 192;

/** As the contract says. */
export function gemm(
  memory: WasmMemory,
  args: Parameters<Operations["gemm"]>[0],
): void {
  const { m, n, k } = checkGemm(args);
  if (m === 0 || n === 0) return;
  const { a, b, c, transA = false, transB = false } = args;
  const { alpha = 1, beta = 0 } = args;
  const add = beta === 0 ? undefined : args.add;
  const { kernels } = memory;
  const kBlock = Math.ceil(k / Math.max(1, Math.ceil(k / K_BLOCK)) / 4) * 4;
  const panels = Math.ceil(n / 8);
  const blocks = Math.max(1, Math.ceil(panels * kBlock * 32 / PACKED_BYTES));
  const nBlock = Math.ceil(panels / blocks) * 8;
  const scratchBytes = TILE_BYTES + kBlock * 20 + nBlock * kBlock * 4;
  // Every part packs the shorter side anew, which costs as much as the products of some dozens of rows.
  const parts = Math.min(
    memory.parts(m * n * k, 1 << 18),
    Math.max(kernels.threads, Math.ceil(Math.max(m, n) / LEAST_SIDE)),
  );
  kernels.run("gemm", parts, [
    m,
    n,
    k,
    memory.origin(a),
    a.stride * 4,
    transA ? 1 : 0,
    memory.origin(b),
    b.stride * 4,
    transB ? 1 : 0,
    memory.origin(c),
    c.stride * 4,
    add ? memory.origin(add) : 0,
    add ? add.stride * 4 : 0,
    f32(alpha),
    f32(beta),
    memory.scratch(scratchBytes),
    scratchBytes,
    kBlock,
    nBlock,
  ]);
}

/** As the contract says. */
export function rowSquares(
  memory: WasmMemory,
  args: Parameters<Operations["rowSquares"]>[0],
): void {
  checkRowSquares(args);
  const { x, out } = args;
  memory.kernels.run("rowSquares", memory.parts(x.rows * x.cols, 32768), [
    memory.origin(x),
    x.stride * 4,
    x.rows,
    x.cols,
    memory.address(out),
  ]);
}

/** As the contract says. */
export function scaleColumns(
  memory: WasmMemory,
  args: Parameters<Operations["scaleColumns"]>[0],
): void {
  checkScaleColumns(args);
  const { x, by, out } = args;
  memory.kernels.run("scaleColumns", memory.parts(x.rows * x.cols, 32768), [
    memory.origin(x),
    x.stride * 4,
    x.rows,
    x.cols,
    memory.address(by),
    memory.origin(out),
    out.stride * 4,
  ]);
}
