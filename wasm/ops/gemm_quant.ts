/**
 * Products with a quantised matrix on the WASM device: some rows of it at a time are turned into values that stay in
 * the cache until they are multiplied.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { gemmQuantizedSizes } from "../../src/device/contract/gemm.ts";
import { type Mat, mat } from "../../src/device/buffer.ts";
import type { QuantMat } from "../../src/device/quant_mat.ts";
import { quantParts } from "../../src/device/gemm_quant_parts.ts";
import { FEW_ROWS, gemm } from "./gemm.ts";
import { place } from "../words.ts";
import { putPlanes, type WasmMemory } from "../buffers.ts";
import { blockSize, decode, gcd } from "./quant.ts";

/** Bytes of values of a thread that should stay in its L2 cache. */
const TILE_BYTES = 1 << 20;

/** As the contract says. */
export function gemmQuantized(
  memory: WasmMemory,
  args: OperationArgs<"gemmQuantized">,
): void {
  const { m, n, k } = gemmQuantizedSizes(args);
  if (m === 0 || n === 0) return;
  const { a, q, c, transQ = false, alpha, beta, add } = args;
  if (m <= FEW_ROWS && transQ && inSixteens(q)) return product(memory, args);
  const { rows, cols } = q;
  // Where rows of q are inner indices, tiles are pieces of sums, and may not depend on the threads.
  const share = transQ ? memory.kernels.threads : 2;
  const tiles = Math.ceil(rows * cols * 4 / (TILE_BYTES * share));
  const count = Math.ceil(rows / Math.max(1, tiles));
  const lead = leadOf(q);
  using tile = memory.alloc((count * cols + lead) * 4);
  if (k === 0) {
    const b = mat(tile, ...(transQ ? [n, 0] : [0, n]) as [number, number]);
    gemm(memory, { a, b, c, transB: transQ, alpha, beta, add });
  }
  for (const { product, ...part } of quantParts(args, count)) {
    gemm(memory, { ...product, b: decodeRows(memory, { q, ...part, tile }) });
  }
}

/** True if rows begin with a block and blocks are whole sixteens of codes. */
function inSixteens(q: QuantMat): boolean {
  const block = blockSize(q);
  return q.cols > 0 && (q.cols | block) % 16 === 0 &&
    (q.spec.grouping === "row" || q.cols % block === 0);
}

/** The product with few rows, without values in memory. */
function product(
  memory: WasmMemory,
  { a, q, c, alpha = 1, beta = 0, add }: OperationArgs<"gemmQuantized">,
): void {
  const { kernels } = memory;
  const { spec, rows, cols } = q;
  const block = blockSize(q);
  const blocks = Math.ceil(cols / block);
  const scratchBytes = Math.ceil((a.rows * blocks * 4 + cols + 128) / 64) * 64;
  kernels.run("gemvQuantized", memory.parts(a.rows * rows * cols, 1 << 15), {
    ...{ m: a.rows, n: rows, k: cols, a: place(memory, a) },
    codes: memory.address(q.codes),
    rowBytes: cols / 8 * spec.bits,
    scales: memory.address(q.scales),
    biases: spec.levels === null ? memory.address(q.biases!) : 0,
    ...{ blocks, block, bits: spec.bits },
    high: spec.order === "high" ? 1 : 0,
    planes: putPlanes(kernels, spec),
    scratch: memory.scratch(scratchBytes),
    scratchBytes,
    c: place(memory, c),
    add: place(memory, beta ? add : undefined),
    ...{ alpha, beta },
  });
}

/** Elements from one place where both a block and a byte of codes begin to the next; 1 where rows begin so. */
function leadOf(q: QuantMat): number {
  if (q.spec.grouping === "row") return 1;
  const block = blockSize(q);
  // One block is the same everywhere.
  return block === q.rows * q.cols ? 8 : block * 8 / gcd(block, 8);
}

/** Values of some rows, in `tile`, which has room for a `leadOf` more. */
function decodeRows(
  memory: WasmMemory,
  { q, row, rows, tile }: {
    q: QuantMat;
    row: number;
    rows: number;
    tile: Mat["buffer"];
  },
): Mat {
  const { spec, cols } = q;
  const flat = spec.grouping === "flat";
  const block = blockSize(q);
  const codes = memory.address(q.codes);
  const scales = memory.address(q.scales);
  const biases = spec.levels === null ? memory.address(q.biases!) : 0;
  const out = memory.address(tile);
  if (!flat) {
    const first = row * Math.ceil(cols / block) * 4;
    decode(memory, {
      ...{ spec, rows, cols, block, out, stride: cols },
      codes: codes + row * Math.ceil(cols * spec.bits / 8),
      scales: scales + first,
      biases: biases && biases + first,
    });
    return mat(tile, rows, cols);
  }
  // A run of elements, from the last place before the row where decoding can begin.
  const start = row * cols;
  const lead = start % leadOf(q);
  const from = start - lead;
  const count = lead + rows * cols;
  const first = Math.floor(from / block) * 4;
  decode(memory, {
    ...{ spec, rows: 1, cols: count, out, stride: count },
    block: Math.min(block, count),
    codes: codes + from / 8 * spec.bits,
    scales: scales + first,
    biases: biases && biases + first,
  });
  return mat(tile, rows, cols, lead);
}

/** These operations, in a memory of the device. */
export const gemmQuantOperations = {
  gemmQuantized,
} satisfies MemoryOperations<WasmMemory>;
