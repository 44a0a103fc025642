/**
 * Quantisation on the WebGPU device. The kernels: `*.wgsl.ts` beside it, `quant.wgsl.ts`.
 *
 * Codes, scales and biases are those of the reference device, bit for bit (of the search, but for near ties), whatever
 * the GPU does with subnormal numbers and divisions. Dequantised values are too, except that a GPU may take subnormal
 * scales, biases and values for 0. The bytes that fill the last word of the codes are written with it.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import { grid } from "../../context.ts";
import { run } from "../../kernel.ts";
import { DECODE_SPAN, type DecodeFrom, decodeKernel } from "./decode.wgsl.ts";
import { encodeKernel } from "./encode.wgsl.ts";
import { quantSizes } from "../../../src/device/quant_mat.ts";
import { quantizeValues } from "../../../src/device/reference/quant.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import {
  bindElements,
  bindRows,
  blockSize,
  elementsBound,
  rowsBound,
  rowsOf,
  thresholdsOf,
  traitsOf,
} from "./parts.ts";
import { chooseRanges } from "./range.ts";

function quantize(
  memory: WebGpuMemory,
  args: OperationArgs<"quantize">,
): void {
  const { q, scale } = args;
  if (q.rows === 0 || q.cols === 0) return;
  // The compatibility rules sum in f64, in one order.
  if (scale === "std" || scale === "clip") {
    quantizeOnHost(memory, args);
  } else {
    chooseRanges(memory, { ...args, rule: scale });
    encode(memory, args);
  }
}

/** Reads the matrix, quantises it with the code of the reference device, writes the result. */
function quantizeOnHost(
  memory: WebGpuMemory,
  { w, q, scale: rule, weight }: OperationArgs<"quantize">,
): void {
  const { context } = memory;
  const from = {
    buffer: memory.gpu(w.buffer),
    at: w.offset * 4,
    bytes: memory.extent(w),
  };
  const by = weight && memory.gpu(weight);
  const [codes, scales] = [memory.gpu(q.codes), memory.gpu(q.scales)];
  const biases = q.spec.levels === null ? memory.gpu(q.biases!) : null;
  const { codeBytes } = quantSizes(q.spec, q.rows, q.cols, q.block);
  memory.enqueue(async () => {
    const [bytes, weights] = await Promise.all([
      context.read(from.buffer, from.at, from.bytes),
      by && context.read(by, 0, w.cols * 4),
    ]);
    const strided = new Float32Array(bytes.buffer);
    const values = new Float32Array(w.rows * w.cols);
    for (let i = 0; i < w.rows; i++) {
      values.set(
        strided.subarray(i * w.stride, i * w.stride + w.cols),
        i * w.cols,
      );
    }
    const result = quantizeValues(q, values, {
      rule,
      weights: weights && new Float32Array(weights.buffer),
    });
    const padded = new Uint8Array(Math.ceil(codeBytes / 4) * 4);
    padded.set(result.codes);
    context.write(codes, 0, padded);
    context.write(scales, 0, new Uint8Array(result.scales.buffer));
    if (biases) {
      context.write(biases, 0, new Uint8Array(result.biases!.buffer));
    }
  });
}

/** Packs the codes that the scales and biases ask for. */
function encode(
  memory: WebGpuMemory,
  { w, q }: OperationArgs<"quantize">,
): void {
  const { spec, rows, cols } = q;
  const { bits } = spec;
  const affine = spec.levels === null;
  const flat = spec.grouping === "flat";
  const block = blockSize(q);
  const size = rows * cols;
  const lineBytes = Math.ceil(cols * bits / 8);
  const kernel = encodeKernel(traitsOf(q), { dense: w.stride === cols });
  // Where a run of elements begins, a word of codes does.
  const unit = flat ? 32 : 4 * cols;
  const most = Math.max(
    unit,
    Math.floor(elementsBound(memory, w) / unit) * unit,
  );
  for (let from = 0; from < size; from += most) {
    const to = Math.min(size, from + most);
    const { span, origin } = bindElements(memory, w, { from, to });
    const byte = flat ? from * bits / 8 : from / cols * lineBytes;
    const bytes = flat
      ? Math.ceil((to - from) * bits / 8)
      : (to - from) / cols * lineBytes;
    const lineBlocks = Math.ceil(cols / block);
    const [firstBlock, endBlock] = flat
      ? [Math.floor(from / block), Math.ceil(to / block)]
      : [from / cols * lineBlocks, to / cols * lineBlocks];
    const ranges = { at: firstBlock, count: endBlock - firstBlock };
    const words = Math.ceil(bytes / 4);
    run(memory, kernel, {
      params: {
        thresholds: thresholdsOf(spec),
        bytes,
        line: flat ? to - from : cols,
        lineBytes: flat ? bytes : lineBytes,
        lineBlocks: flat ? 0 : lineBlocks,
        block,
        phase: flat ? from % block : 0,
        ...{ first: from, cols, stride: w.stride, origin },
      },
      bind: {
        w: span,
        scales: memory.vector(q.scales, ranges),
        biases: affine ? memory.vector(q.biases!, ranges) : undefined,
        codes: memory.vector(q.codes, { at: byte / 4, count: bytes / 4 }),
      },
      groups: grid(Math.ceil(words / 64)),
      shape: `${rows}x${cols}`,
    });
  }
}

function dequantize(
  memory: WebGpuMemory,
  args: OperationArgs<"dequantize">,
): void {
  decodeRows(memory, { ...args, row: 0 });
}

/** `out = dequantise(q)`, or `from` less that, of as many rows as `out` has, from row `row` of `q` on. */
export function decodeRows(
  memory: WebGpuMemory,
  { q, out, from, row }: OperationArgs<"dequantize"> & {
    row: number;
  },
): void {
  const { rows, cols } = out;
  if (rows === 0 || cols === 0) return;
  const kind: DecodeFrom = from === undefined
    ? "none"
    : from.buffer === out.buffer && from.offset === out.offset &&
        from.stride === out.stride
    ? "out"
    : "other";
  const kernel = decodeKernel(traitsOf(q), kind);
  const rowGroups = Math.ceil(cols / DECODE_SPAN);
  const most = rowsBound(memory, Math.max(out.stride, from?.stride ?? 0));
  for (let i = 0; i < rows; i += most) {
    const count = Math.min(most, rows - i);
    const bound = bindRows(memory, q, { row: row + i, rows: count });
    run(memory, kernel, {
      params: {
        ...bound.params,
        rowGroups,
        rows: count,
        nothing: 0,
      },
      bind: {
        ...bound.bind,
        source: kind === "other"
          ? memory.bind(rowsOf(from!, i, count))
          : undefined,
        out: memory.bind(rowsOf(out, i, count)),
      },
      groups: grid(rowGroups * count),
      shape: `${count}x${cols}`,
    });
  }
}

/** These operations, in a memory of the device. */
export const quantOperations = {
  quantize,
  dequantize,
} satisfies MemoryOperations<WebGpuMemory>;
