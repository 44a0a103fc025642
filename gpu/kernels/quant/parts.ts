/**
 * Parts of matrices that one binding reaches, for the quantisation of the WebGPU device.
 *
 * @module
 */

import type { Span } from "../../context.ts";
import type { Values } from "../../kernel.ts";
import type { QuantTraits, READER_PARAMS } from "./quant.wgsl.ts";
import type { Mat } from "../../../src/device/buffer.ts";
import type { QuantMat, QuantSpec } from "../../../src/device/quant_mat.ts";
import type { WebGpuMemory } from "../../buffers.ts";

/** Elements between the start of a binding and its first used one, at most. */
const SLACK = 64;

/** The most elements of one dispatch, so that bits of codes are counted in 32 bits. */
export const MOST_ELEMENTS = 2 ** 28;

/** The largest f32 number. */
const LARGEST = 3.4028234663852886e38;

/** Elements of a block; 0, and sizes beyond the row or the matrix, replaced by that. */
export function blockSize(q: QuantMat): number {
  const line = q.spec.grouping === "flat" ? q.rows * q.cols : q.cols;
  return Math.min(q.block || line, line);
}

/** Traits that a kernel is compiled for. */
export function traitsOf(q: QuantMat): QuantTraits {
  return {
    bits: q.spec.bits,
    affine: q.spec.levels === null,
    high: q.spec.order === "high",
    flat: q.spec.grouping === "flat",
    block: blockSize(q),
    cols: q.cols,
  };
}

/** Sixteen parameters: the levels of a codebook, or 0. */
export function levelsOf({ levels }: QuantSpec): number[] {
  return Array.from({ length: 16 }, (_, i) => levels?.[i] ?? 0);
}

/** Sixteen parameters: the thresholds of a codebook, and then what no value is above. */
export function thresholdsOf({ thresholds }: QuantSpec): number[] {
  return Array.from({ length: 16 }, (_, i) => thresholds?.[i] ?? LARGEST);
}

/** Rows of a quantised matrix as a reader of `quant.wgsl.ts` takes them. */
export interface BoundRows {
  readonly params: Values<typeof READER_PARAMS>;
  readonly bind: {
    readonly codes: Span;
    readonly scales: Span;
    readonly biases?: Span;
  };
}

/** Binds rows of a quantised matrix, `row` the first of them. */
export function bindRows(
  memory: WebGpuMemory,
  q: QuantMat,
  { row, rows }: { row: number; rows: number },
): BoundRows {
  const { spec, cols } = q;
  const { bits, flat, block } = traitsOf(q);
  const lineBlocks = flat ? 0 : Math.ceil(cols / block);
  const lineBits = flat ? cols * bits : 8 * Math.ceil(cols * bits / 8);
  const start = row * lineBits;
  const firstBlock = flat ? Math.floor(row * cols / block) : row * lineBlocks;
  const endBlock = flat
    ? Math.ceil((row + rows) * cols / block)
    : (row + rows) * lineBlocks;
  const byte = Math.floor(start / 8);
  const codes = memory.part(
    q.codes,
    byte,
    Math.ceil((row + rows) * lineBits / 8) - byte,
  );
  const ranges = { at: firstBlock, count: endBlock - firstBlock };
  const scales = memory.vector(q.scales, ranges);
  return {
    params: {
      levels: levelsOf(spec),
      ...{ width: cols, block, lineBits, lineBlocks },
      firstBit: codes.first * 8 + start % 8,
      phase: flat ? row * cols % block : 0,
      firstBlock: scales.first,
    },
    bind: {
      codes: codes.span,
      scales: scales.span,
      biases: spec.levels === null
        ? memory.vector(q.biases!, ranges).span
        : undefined,
    },
  };
}

/** Rows of `x` from row `from` on. */
export function rowsOf(x: Mat, from: number, rows: number): Mat {
  return { ...x, rows, offset: x.offset + from * x.stride };
}

/** Rows that one binding reaches where `stride` elements lie between them, at least 1. */
export function rowsBound(memory: WebGpuMemory, stride: number): number {
  const elements = Math.min(
    memory.context.mostBound / 4 - 2 * SLACK,
    MOST_ELEMENTS,
  );
  return Math.max(1, Math.floor(elements / Math.max(stride, 1)));
}

/** Elements of `x`, row after row, that one binding reaches from any one on. */
export function elementsBound(memory: WebGpuMemory, x: Mat): number {
  const rows = rowsBound(memory, x.stride);
  // Where rows are apart, the first and the last may be there in part.
  return x.stride === x.cols
    ? rowsBound(memory, 1)
    : Math.max(1, rows - 1) * x.cols;
}

/** Elements `[from, to)` of `x` as a binding; `origin` is what an offset inside the matrix loses in it, modulo 2^32. */
export function bindElements(
  memory: WebGpuMemory,
  x: Mat,
  { from, to }: { from: number; to: number },
): { span: Span; origin: number } {
  const place = (element: number) =>
    Math.floor(element / x.cols) * x.stride + element % x.cols;
  const first = place(from);
  const bound = memory.part(
    x.buffer,
    (x.offset + first) * 4,
    (place(to - 1) + 1 - first) * 4,
  );
  return { span: bound.span, origin: (first - (bound.first >> 2)) >>> 0 };
}
