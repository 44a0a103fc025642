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
import { grid } from "../../context.ts";
import { run } from "../../kernel.ts";
import { INT8_SIDE, int8Kernel, roundKernel } from "./int8.wgsl.ts";
import {
  GRADIENT_TILE,
  gradientKernel,
  scaleUnitsKernel,
  unitsKernel,
} from "./int8_gradient.wgsl.ts";
import { EACH_THREADS } from "./int8_text.wgsl.ts";
import { NARROW_ROWS } from "./quantized.wgsl.ts";
import {
  type DeviceBuffer,
  type Mat,
  mat,
} from "../../../src/device/buffer.ts";
import {
  type QuantPart,
  quantParts,
} from "../../../src/device/gemm_quant_parts.ts";
import {
  groupWidth,
  ROW_BLOCK,
  takenInInt8,
} from "../../../src/device/int8.ts";
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
    (transQ || groupWidth(q) % GRADIENT_TILE.cols === 0);
  if (!taken) return gemmQuantized(memory, args);
  for (const some of leftParts(memory, args)) {
    if (transQ) forward(memory, some, part);
    else gradient(memory, some, part);
  }
}

/** Parameters and bindings of the result, of both products. */
function resultOf(
  memory: WebGpuMemory,
  { c, add, alpha = 1, beta = 0 }: QuantPart["product"],
) {
  const bound = (x: Mat) => ({ ...memory.bind(x), step: 0 });
  const own = beta !== 0 && add && !same(add, c) ? bound(add) : undefined;
  return { params: { alpha, beta }, bind: { addend: own, c: bound(c) } };
}

/** `c = a * qᵀ` for rows that one dispatch reaches, `part` rows of `q` at a time. */
function forward(memory: WebGpuMemory, args: Args, part: number): void {
  const { q, a: { rows: m, cols: k } } = args;
  const group = groupWidth(q);
  const groups = Math.ceil(k / group);
  using bytes = memory.alloc(m * k);
  using factors = memory.alloc(m * groups * 8);
  const left = { bytes: memory.whole(bytes), factors: memory.whole(factors) };
  run(memory, roundKernel(), {
    params: { count: m * groups, groups, group, cols: k },
    bind: { a: memory.bind(args.a), ...left },
    groups: grid(Math.ceil(m * groups / EACH_THREADS)),
    shape: `${m}x${k}`,
  });
  // Groups and rows are whole sixteens.
  const depth = (group | k) % 32 === 0 ? 8 : 4;
  const { bits } = q.spec;
  for (const { row, rows, product } of quantParts(args, part)) {
    const { params: { firstBit, lineBits, firstBlock: first }, bind } =
      bindRows(memory, q, { row, rows });
    const result = resultOf(memory, product);
    const addend = result.bind.addend !== undefined;
    run(memory, int8Kernel({ bits, depth, addend }), {
      params: {
        ...{ group: group / 4, groups, firstBit, lineBits },
        ...{ m, n: rows, k: k / 4, ...result.params },
      },
      bind: {
        ...left,
        codes: bind.codes,
        scales: { span: bind.scales, first },
        biases: { span: bind.biases!, first },
        ...result.bind,
      },
      groups: [Math.ceil(rows / INT8_SIDE), Math.ceil(m / INT8_SIDE)],
      shape: `${m}x${rows}x${k}`,
    });
  }
}

/** `c = a * q`, likewise. */
function gradient(memory: WebGpuMemory, args: Args, part: number): void {
  const { q } = args;
  const { bits } = q.spec;
  const { cols: n } = q;
  const group = groupWidth(q);
  const groups = Math.ceil(n / group);
  for (const { row, rows: k, product } of quantParts(args, part)) {
    const m = product.a.rows;
    const blocks = Math.ceil(k / ROW_BLOCK);
    using pairs = memory.alloc(m * k * 2);
    using mosts = memory.alloc(m * blocks * 4);
    using scales = memory.alloc(groups * k * 4);
    using mostScales = memory.alloc(blocks * groups * 4);
    using plain = memory.alloc(m * groups * 4);
    const units = { pairs: memory.whole(pairs), mosts: memory.whole(mosts) };
    const ofScales = {
      scales: memory.whole(scales),
      mostScales: memory.whole(mostScales),
    };
    const { params: { firstBit, lineBits, firstBlock: first }, bind } =
      bindRows(memory, q, { row, rows: k });
    run(memory, unitsKernel(), {
      params: { count: m * blocks, blocks, cols: k },
      bind: { a: memory.bind(product.a), ...units },
      groups: grid(Math.ceil(m * blocks / EACH_THREADS)),
      shape: `${m}x${k}`,
    });
    run(memory, scaleUnitsKernel(), {
      params: { count: blocks * groups, groups, rows: k },
      bind: {
        scales: { span: bind.scales, first },
        found: ofScales.scales,
        mosts: ofScales.mostScales,
      },
      groups: grid(Math.ceil(blocks * groups / EACH_THREADS)),
      shape: `${k}x${groups}`,
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
    const addend = result.bind.addend !== undefined;
    run(memory, gradientKernel({ bits, addend }), {
      params: {
        ...{ group, groups, firstBit, lineBits, blocks },
        ...{ m, n, k, ...result.params },
      },
      bind: {
        ...units,
        ...ofScales,
        codes: bind.codes,
        plain: memory.whole(plain),
        ...result.bind,
      },
      groups: [
        Math.ceil(n / GRADIENT_TILE.cols),
        Math.ceil(m / GRADIENT_TILE.rows),
      ],
      shape: `${m}x${n}x${k}`,
    });
  }
}

/** These operations, in a memory of the device. */
export const int8Operations = {
  gemmInt8,
} satisfies MemoryOperations<WebGpuMemory>;
