/**
 * Products on the WASM device. The kernels: `wasm/assembly/gemm/*.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { gemmProducts, gemmSizes } from "../../src/device/contract/gemm.ts";
import type { WasmMemory } from "../buffers.ts";
import { place } from "../words.ts";

/** Inner indices of a block: eight columns and five rows of this length fill half of a usual L1 cache. */
const K_BLOCK = 320;

/** Bytes of packed columns that should stay in a thread's L2 cache. */
const PACKED_BYTES = 1 << 19;

/** Rows or columns of a part of a product, if there are more parts than threads. */
const LEAST_SIDE = 384;

/** Rows on the left up to which packing the right side costs more than it saves. */
export const FEW_ROWS = 4;

/** Scratch memory that a thread keeps a partial tile in. */
const TILE_BYTES = 192;

/** As the contract says. */
export function gemm(
  memory: WasmMemory,
  args: OperationArgs<"gemm">,
): void {
  const sizes = gemmSizes(args);
  if (sizes.m === 0 || sizes.n === 0) return;
  for (const product of gemmProducts(args)) multiply(memory, product, sizes);
}

function multiply(
  memory: WasmMemory,
  args: OperationArgs<"gemm">,
  { m, n, k }: { m: number; n: number; k: number },
): void {
  const { a, b, c, transA = false, transB = false } = args;
  const { alpha = 1, beta = 0 } = args;
  const add = beta === 0 ? undefined : args.add;
  const { kernels } = memory;
  if (m <= FEW_ROWS && transB && !transA) {
    kernels.run("gemv", memory.parts(m * n * k, 1 << 16), {
      ...{ m, n, k, a: place(memory, a), b: place(memory, b) },
      ...{ c: place(memory, c), add: place(memory, add), alpha, beta },
    });
    return;
  }
  const kBlock = Math.ceil(k / Math.max(1, Math.ceil(k / K_BLOCK)) / 4) * 4;
  const panels = Math.ceil(n / 8);
  const blocks = Math.max(1, Math.ceil(panels * kBlock * 32 / PACKED_BYTES));
  const nBlock = Math.ceil(panels / blocks) * 8;
  const scratchBytes = TILE_BYTES + kBlock * 20 + nBlock * kBlock * 4;
  // Every part packs the shorter side anew, which costs as much as the products of some dozens of rows. As many parts
  // for each thread: what one does alone at the end, the others wait for.
  const { threads } = kernels;
  const rounds = Math.ceil(Math.max(m, n) / (LEAST_SIDE * threads));
  const parts = Math.min(
    memory.parts(m * n * k, 1 << 18),
    threads * Math.max(1, rounds),
  );
  kernels.run("gemm", parts, {
    m,
    n,
    k,
    a: place(memory, a),
    transA: transA ? 1 : 0,
    b: place(memory, b),
    transB: transB ? 1 : 0,
    c: place(memory, c),
    add: place(memory, add),
    alpha,
    beta,
    scratch: memory.scratch(scratchBytes),
    scratchBytes,
    kBlock,
    nBlock,
  });
}

/** These operations, in a memory of the device. */
export const gemmOperations = {
  gemm,
} satisfies MemoryOperations<WasmMemory>;
