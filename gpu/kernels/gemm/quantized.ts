/**
 * Products with a quantised matrix on the WebGPU device. The kernels: `gpu/kernels/gemm/quantized.wgsl.ts`, `gemm.ts`.
 *
 * On a GPU codes are turned into values on their way into a workgroup's memory. A software adapter has no such memory,
 * and working out a value costs it as much as a dozen products: it reads codes for one or two rows on the left, and for
 * more works out some rows of the matrix first.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import { gemmQuantizedSizes } from "../../../src/device/contract/gemm.ts";
import { grid } from "../../context.ts";
import type { QuantTraits } from "../quant/quant.wgsl.ts";
import {
  NARROW_ROWS,
  narrowColumns,
  narrowKernel,
  quantSource,
} from "./quantized.wgsl.ts";
import { mat } from "../../../src/device/buffer.ts";
import type { QuantMat } from "../../../src/device/quant_mat.ts";
import { quantParts } from "../../../src/device/gemm_quant_parts.ts";
import { type BoundSource, gemm, prepare } from "./gemm.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { decodeRows } from "../quant/quant.ts";
import {
  bindRows,
  blockSize,
  MOST_ELEMENTS,
  rowsBound,
  rowsOf,
  traitsOf,
} from "../quant/parts.ts";

type Args = OperationArgs<"gemmQuantized">;

/** The most values that are there at once where the matrix is dequantised first. */
const MOST_VALUES = 2 ** 22;

/** The most rows on the left for which a software adapter reads codes. */
const SOFTWARE_ROWS = 2;

/** The most rows of an operand, as workgroups or turns of a loop: see `gemm.ts`. */
const MOST_ROWS = 2 ** 17;

/** As the contract says. */
export function gemmQuantized(memory: WebGpuMemory, args: Args): void {
  const { m, n, k } = gemmQuantizedSizes(args);
  if (m === 0 || n === 0) return;
  const { a, c, transQ: transB, alpha, beta, add } = args;
  if (k === 0) {
    const b = transB ? mat(a.buffer, n, 0) : mat(a.buffer, 0, n, 0, n);
    gemm(memory, { a, b, c, transB, alpha, beta, add });
  } else if (memory.context.software && m > SOFTWARE_ROWS) {
    unfused(memory, args);
  } else {
    for (const part of leftParts(memory, args)) fused(memory, part);
  }
}

/** The product as several with some rows of the left side each, which bindings and dispatches reach. */
export function* leftParts(
  memory: WebGpuMemory,
  args: Args,
): Generator<Args> {
  const { a, c, add } = args;
  const strides = [a.stride, c.stride, add?.stride ?? 0];
  const most = Math.min(MOST_ROWS, rowsBound(memory, Math.max(...strides)));
  for (let i = 0; i < a.rows; i += most) {
    const rows = Math.min(most, a.rows - i);
    yield {
      ...args,
      a: rowsOf(a, i, rows),
      c: rowsOf(c, i, rows),
      add: add && rowsOf(add, i, rows),
    };
  }
}

/** Some rows of `q` at a time become values, which are multiplied. */
function unfused(memory: WebGpuMemory, args: Args): void {
  const { q } = args;
  const most = Math.max(1, Math.floor(MOST_VALUES / q.cols));
  using values = memory.alloc(Math.min(most, q.rows) * q.cols * 4);
  for (const { row, rows, product } of quantParts(args, most)) {
    const b = mat(values, rows, q.cols);
    decodeRows(memory, { q, row, out: b });
    gemm(memory, { ...product, b });
  }
}

/** Rows of `q` whose codes, and whose scales, one binding reaches. */
export function rowsReached(memory: WebGpuMemory, q: QuantMat): number {
  const perElement = Math.max(q.spec.bits / 8, 4 / blockSize(q));
  const elements = Math.min(
    (memory.context.mostBound - 512) / perElement,
    MOST_ELEMENTS,
  );
  return Math.max(1, Math.min(MOST_ROWS, Math.floor(elements / q.cols)));
}

/** Kernels that read codes. */
function fused(memory: WebGpuMemory, args: Args): void {
  const { q } = args;
  const traits = traitsOf(q);
  const source = quantSource(traits);
  const narrow = memory.context.software ||
    (args.a.rows <= NARROW_ROWS && args.transQ === true);
  for (
    const { row, rows, product } of quantParts(args, rowsReached(memory, q))
  ) {
    const { params, bind } = bindRows(memory, q, { row, rows });
    const { alpha = 1, beta = 0, transB } = product;
    const sizes = {
      m: product.a.rows,
      ...(transB ? { n: rows, k: q.cols } : { n: q.cols, k: rows }),
    };
    const b: BoundSource = {
      source,
      params: {
        ...params,
        ...{ b: 0, bStep: 0 },
        bStride: 2 ** Math.ceil(Math.log2(Math.max(4, q.cols))),
      },
      bind,
      kernel: narrow
        ? (found) => narrowRun(memory, { ...found, ...sizes, traits, transB })
        : undefined,
    };
    memory.enqueue(prepare(memory, {
      ...product,
      ...sizes,
      ...{ b, alpha, beta, transA: false },
      add: beta === 0 ? undefined : product.add,
      batch: { count: 1, a: 0, b: 0, c: 0, add: 0 },
    }));
  }
}

/** Threads that share the inner indices of a value: a vector of a CPU, or of a GPU. */
const LANES = { software: 8, hardware: 32 };

/** The kernel for few rows, and its workgroups. */
function narrowRun(
  { context }: WebGpuMemory,
  { traits, transB, m, n, k, vectors, addend }: {
    traits: QuantTraits;
    transB: boolean;
    m: number;
    n: number;
    k: number;
    vectors: boolean;
    addend: boolean;
  },
): ReturnType<NonNullable<BoundSource["kernel"]>> {
  // One, two, four or eight rows a thread.
  const rows = Math.min(NARROW_ROWS, 2 ** Math.ceil(Math.log2(m)));
  const variant = {
    rows,
    transposed: transB,
    vectors: vectors && k % 4 === 0,
    addend,
    lanes: context.software ? LANES.software : LANES.hardware,
  };
  const [x, y] = grid(Math.ceil(n / narrowColumns(variant)));
  return {
    kernel: narrowKernel(traits, variant),
    groups: [x, y, Math.ceil(m / rows)],
  };
}

/** These operations, in a memory of the device. */
export const gemmQuantOperations = {
  gemmQuantized,
} satisfies MemoryOperations<WebGpuMemory>;
