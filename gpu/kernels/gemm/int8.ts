/**
 * Products in 8 bits on the WebGPU device, where its shaders have the packed dot product. The kernels:
 * `gpu/kernels/gemm/int8.wgsl.ts`.
 *
 * Few rows on the left wait for the codes, not for the arithmetic: they are multiplied in f32. So are gradients of groups
 * that are no whole tiles, and all products on a software adapter, which is slower at this.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import { gemmQuantizedSizes } from "../../../src/device/contract/gemm.ts";
import { type Dispatch, grid, type Span, type Word } from "../../context.ts";
import { INT8_SIDE, int8Kernel, roundKernel } from "./int8.wgsl.ts";
import {
  GRADIENT_TILE,
  gradientKernel,
  scaleUnitsKernel,
  unitsKernel,
} from "./int8_gradient.wgsl.ts";
import { EACH_THREADS } from "./int8_text.wgsl.ts";
import { NARROW_ROWS } from "./quantized.wgsl.ts";
import { type DeviceBuffer, mat } from "../../../src/device/buffer.ts";
import {
  type QuantPart,
  quantParts,
} from "../../../src/device/gemm_quant_parts.ts";
import { groupSize, ROW_BLOCK, takenInInt8 } from "../../../src/device/int8.ts";
import { gemm } from "./gemm.ts";
import { gemmQuantized, leftParts, rowsReached } from "./quantized.ts";
import { same } from "../elementwise/map.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { bindRows } from "../quant/parts.ts";

type Args = OperationArgs<"gemmInt8">;

function gemmInt8(memory: WebGpuMemory, args: Args): void {
  const { m } = gemmQuantizedSizes(args);
  const { context } = memory;
  const { q, transQ } = args;
  const whole = rowsReached(memory, q);
  // Blocks of rows are rounded together.
  const part = transQ ? whole : whole - whole % ROW_BLOCK;
  const taken = context.packedDots && !context.software && m > NARROW_ROWS &&
    takenInInt8(args) && part > 0 &&
    (transQ || groupSize(q) % GRADIENT_TILE.cols === 0);
  if (!taken) return gemmQuantized(memory, args);
  for (const some of leftParts(memory, args)) {
    if (transQ) forward(memory, some, part);
    else gradient(memory, some, part);
  }
}

/** What both products say of the result: parameters behind those of the left side, and bindings. */
function resultOf(
  memory: WebGpuMemory,
  { c, add, alpha = 1, beta = 0 }: QuantPart["product"],
): { words: Word[]; spans: Span[]; written: Span[] } {
  const own = beta !== 0 && add && !same(add, c) ? memory.bind(add) : undefined;
  const result = memory.bind(c);
  return {
    words: [
      ...[result.first, result.stride, 0],
      ...(own ? [own.first, own.stride, 0] : [0, 0, 0]),
      ...[{ f32: alpha }, { f32: beta }],
    ],
    spans: own ? [own.span] : [],
    written: [result.span],
  };
}

/** `c = a * qᵀ` for rows that one dispatch reaches, `part` rows of `q` at a time. */
function forward(memory: WebGpuMemory, args: Args, part: number): void {
  const { q, a: { rows: m, cols: k } } = args;
  const { context } = memory;
  const group = groupSize(q);
  const groups = Math.ceil(k / group);
  using bytes = memory.alloc(m * k);
  using factors = memory.alloc(m * groups * 8);
  const [left, worth] = [memory.whole(bytes), memory.whole(factors)];
  const a = memory.bind(args.a);
  memory.enqueue(() =>
    context.run(roundKernel(), {
      params: [m * groups, groups, group, k, a.first, a.stride],
      reads: [a.span],
      writes: [left, worth],
      groups: grid(Math.ceil(m * groups / EACH_THREADS)),
      shape: `${m}x${k}`,
    })
  );
  // Groups and rows are whole sixteens.
  const depth = (group | k) % 32 === 0 ? 8 : 4;
  const { bits } = q.spec;
  for (const { row, rows, product } of quantParts(args, part)) {
    const bound = bindRows(memory, q, { row, rows });
    const { words, spans, written } = resultOf(memory, product);
    const kernel = int8Kernel({ bits, depth, addend: spans.length > 0 });
    const run: Dispatch = {
      params: [
        ...[group / 4, groups],
        ...[bound.firstBit, bound.lineBits, bound.firstScale],
        ...[m, rows, k / 4, k / 4, 1],
        ...[0, k / 4, 0],
        ...[0, 0, 0],
        ...words,
      ],
      reads: [left, worth, ...bound.reads, ...spans],
      writes: written,
      groups: [Math.ceil(rows / INT8_SIDE), Math.ceil(m / INT8_SIDE)],
      shape: `${m}x${rows}x${k}`,
    };
    memory.enqueue(() => context.run(kernel, run));
  }
}

/** `c = a * q`, likewise. */
function gradient(memory: WebGpuMemory, args: Args, part: number): void {
  const { q } = args;
  const { context } = memory;
  const { bits } = q.spec;
  const { cols: n } = q;
  const group = groupSize(q);
  const groups = Math.ceil(n / group);
  for (const { row, rows: k, product } of quantParts(args, part)) {
    const m = product.a.rows;
    const blocks = Math.ceil(k / ROW_BLOCK);
    using pairs = memory.alloc(m * k * 2);
    using mosts = memory.alloc(m * blocks * 4);
    using scales = memory.alloc(groups * k * 4);
    using mostScales = memory.alloc(blocks * groups * 4);
    using plain = memory.alloc(m * groups * 4);
    const spans = [pairs, mosts, scales, mostScales]
      .map((buffer) => memory.whole(buffer));
    const a = memory.bind(product.a);
    const bound = bindRows(memory, q, { row, rows: k });
    const [codes, stored] = bound.reads;
    memory.enqueue(() => {
      context.run(unitsKernel(), {
        params: [m * blocks, blocks, k, a.first, a.stride],
        reads: [a.span],
        writes: spans.slice(0, 2),
        groups: grid(Math.ceil(m * blocks / EACH_THREADS)),
        shape: `${m}x${k}`,
      });
      context.run(scaleUnitsKernel(), {
        params: [blocks * groups, groups, k, bound.firstScale],
        reads: [stored],
        writes: spans.slice(2),
        groups: grid(Math.ceil(blocks * groups / EACH_THREADS)),
        shape: `${k}x${groups}`,
      });
    });
    // What codes less their middle leave over: `a (b + middle s)`.
    const sums = mat(plain, m, groups);
    const perGroup = (buffer: DeviceBuffer) =>
      mat(buffer, k, groups, row * groups);
    gemm(memory, { a: product.a, b: perGroup(q.biases!), c: sums });
    gemm(memory, {
      ...{ a: product.a, b: perGroup(q.scales), c: sums },
      ...{ alpha: 2 ** (bits - 1), beta: 1, add: sums },
    });
    const result = resultOf(memory, product);
    const kernel = gradientKernel({ bits, addend: result.spans.length > 0 });
    const run: Dispatch = {
      params: [
        ...[group, groups, bound.firstBit, bound.lineBits, blocks],
        ...[m, n, k, k, 1],
        ...[0, 0, 0],
        ...[0, 0, 0],
        ...result.words,
      ],
      reads: [...spans, codes, memory.whole(plain), ...result.spans],
      writes: result.written,
      groups: [
        Math.ceil(n / GRADIENT_TILE.cols),
        Math.ceil(m / GRADIENT_TILE.rows),
      ],
      shape: `${m}x${n}x${k}`,
    };
    memory.enqueue(() => context.run(kernel, run));
  }
}

/** These operations, in a memory of the device. */
export const int8Operations = {
  gemmInt8,
} satisfies MemoryOperations<WebGpuMemory>;
