/**
 * Quantisation on the WASM device. The kernels: `wasm/assembly/quant/quantize.ts`, `wasm/assembly/quant/dequantize.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { QuantMat, ScaleRule } from "../../src/device/quant_mat.ts";
import { putFormat, putPlanes, type WasmMemory } from "../buffers.ts";
import { place } from "../words.ts";

/** Numbers of the rules in `wasm/assembly/quant/quantize_scale.ts`. */
const RULES: Readonly<Record<ScaleRule, number>> = {
  absmax: 0,
  minmax: 1,
  mse: 2,
  std: 3,
  clip: 4,
};

/** Values that a thread takes at once, with its codes about half of a usual L1 cache. */
const RUN = 4096;

/** Elements of a block; 0, and sizes beyond the row or the matrix, replaced by that. */
export function blockSize(q: QuantMat): number {
  const line = q.spec.grouping === "flat" ? q.rows * q.cols : q.cols;
  return Math.min(q.block || line, line);
}

function quantize(
  memory: WasmMemory,
  args: OperationArgs<"quantize">,
): void {
  const { w, q, scale, weight } = args;
  const { spec, rows, cols } = q;
  const size = rows * cols;
  if (size === 0) return;
  const { kernels } = memory;
  const block = blockSize(q);
  const flat = spec.grouping === "flat";
  // Blocks that together fill whole bytes for any number of bits.
  const unit = block === size ? 1 : 8 / gcd(block, 8);
  const run = Math.max(1, Math.floor(RUN / (unit * block)));
  const longest = flat ? Math.min(size, unit * run * block) : cols;
  const gathered = flat
    ? (w.stride === cols ? 0 : 4) + (weight === undefined ? 0 : 4)
    : 0;
  const scratchBytes = Math.ceil((longest * (1 + gathered) + 64) / 64) * 64;
  // The search tries 25 scales, each about as dear as the final codes.
  const parts = memory.parts(size, scale === "mse" ? 2048 : 32768);
  const [levels, thresholds] = putFormat(kernels, spec);
  kernels.run("quantize", parts, {
    w: place(memory, w),
    ...{ rows, cols, block, bits: spec.bits, levels, thresholds },
    high: spec.order === "high" ? 1 : 0,
    codes: memory.address(q.codes),
    scales: memory.address(q.scales),
    biases: q.biases && spec.levels === null ? memory.address(q.biases) : 0,
    rule: RULES[scale],
    weight: weight ? memory.address(weight) : 0,
    scratch: memory.scratch(scratchBytes),
    scratchBytes,
    ...{ flat: flat ? 1 : 0, unit, run },
  });
}

function dequantize(
  memory: WasmMemory,
  args: OperationArgs<"dequantize">,
): void {
  const { q, out, from } = args;
  decode(memory, {
    ...q,
    block: blockSize(q),
    codes: memory.address(q.codes),
    scales: memory.address(q.scales),
    biases: q.spec.levels === null ? memory.address(q.biases!) : 0,
    out: memory.origin(out),
    stride: out.stride,
    from: from && { address: memory.origin(from), stride: from.stride },
  });
}

/** A quantised matrix by addresses, and where its values go. */
export interface DecodeWork extends Pick<QuantMat, "spec" | "rows" | "cols"> {
  /** Elements of a block, at least 1. */
  readonly block: number;
  readonly codes: number;
  readonly scales: number;
  /** 0 for a codebook. */
  readonly biases: number;
  readonly out: number;
  /** Elements from the start of a row of the result to that of the next. */
  readonly stride: number;
  /** Minuend of the values. */
  readonly from?: { readonly address: number; readonly stride: number };
}

/** Writes the values of a quantised matrix, or `from` less them. */
export function decode(memory: WasmMemory, work: DecodeWork): void {
  const { spec, rows, cols, from } = work;
  if (rows === 0 || cols === 0) return;
  const { kernels } = memory;
  const scratchBytes = RUN + 64;
  const { block, codes, scales, biases } = work;
  kernels.run("dequantize", memory.parts(rows * cols, 32768), {
    out: { origin: work.out, stride: work.stride * 4 },
    ...{ rows, cols, block, bits: spec.bits },
    planes: putPlanes(kernels, spec),
    affine: spec.levels === null ? 1 : 0,
    high: spec.order === "high" ? 1 : 0,
    ...{ codes, scales, biases },
    from: from
      ? { origin: from.address, stride: from.stride * 4 }
      : { origin: 0, stride: 0 },
    flat: spec.grouping === "flat" ? 1 : 0,
    scratch: memory.scratch(scratchBytes),
    scratchBytes,
  });
}

/** Greatest common divisor. */
export function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** These operations, in a memory of the device. */
export const quantOperations = {
  quantize,
  dequantize,
} satisfies MemoryOperations<WasmMemory>;
