/**
 * Quantisation of the reference device: every step in f32, spelled out, so that other devices can agree with it
 * code for code.
 *
 * @module
 */

import type { QuantMat, QuantSpec, ScaleRule } from "../quant_mat.ts";
import { quantSizes } from "../quant_mat.ts";
import { packCodes, unpackCodes } from "../pack.ts";
import type { QuantOperations } from "../contract/quant.ts";
import type { OperationArgs } from "../operations.ts";
import { f32, load, store, u8 } from "./memory.ts";

const { fround } = Math;

/**
 * The smallest magnitude that a scale is inverted at, as in bitsandbytes' CPU kernel (0.50): the reciprocal of a
 * smaller one need not be finite. Codes of a block below it, all subnormal, are squeezed towards the level of 0; its
 * scale is stored as it is. A tie at a threshold goes to the lower level there as here.
 *
 * That kernel treats a short last block apart: it divides instead of multiplying by the reciprocal and raises the
 * stored scale itself to 1e-38. Its CUDA kernel does neither, nor do we.
 */
const TINY = fround(1e-38);

/** Fractions of the full range that the `mse` rule tries: 1, 0.975, … 0.4. */
export const SHRINK: readonly number[] = Array.from(
  { length: 25 },
  (_, i) => (40 - i) / 40,
);

/** The f32 factor that turns a weight into units of `scale`. */
function reciprocal(scale: number): number {
  return fround(1 / (Math.abs(scale) < TINY ? TINY : scale));
}

/** Scale and bias (0 for a codebook) of one block. */
interface Range {
  scale: number;
  bias: number;
}

/** Code of `w` in a block. */
function encode(spec: QuantSpec, w: number, range: Range): number {
  const inverse = reciprocal(range.scale);
  if (spec.thresholds !== null) {
    const x = fround(w * inverse);
    let code = 0;
    while (code < spec.thresholds.length && x > spec.thresholds[code]) code++;
    return code;
  }
  const x = fround(fround(w - range.bias) * inverse);
  const top = (1 << spec.bits) - 1;
  // The clamp comes first: the bounds are whole, and rounding never leaves them.
  return roundHalfEven(Math.min(Math.max(x, 0), top));
}

/** Value of `code` in a block, a product and a sum each rounded to f32. */
function decode(spec: QuantSpec, code: number, range: Range): number {
  return spec.levels !== null
    ? fround(range.scale * spec.levels[code])
    : fround(fround(range.scale * code) + range.bias);
}

function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** Mean and unbiased standard deviation (0 for one value), accumulated in f64. */
function moments(w: Float32Array): { mean: number; std: number } {
  let sum = 0;
  for (const x of w) sum += x;
  const mean = sum / w.length;
  let squares = 0;
  for (const x of w) squares += (x - mean) * (x - mean);
  return { mean, std: Math.sqrt(squares / Math.max(w.length - 1, 1)) };
}

/** The affine range `[low, high]` in `2^bits - 1` steps. */
function between(spec: QuantSpec, low: number, high: number): Range {
  const steps = (1 << spec.bits) - 1;
  return { scale: fround(fround(high - low) / steps), bias: low };
}

/** Scale and bias of a block of at least one weight, by `rule`; `weights` (for `mse`) go with the elements. */
function chooseRange(
  spec: QuantSpec,
  w: Float32Array,
  { rule, weights }: { rule: ScaleRule; weights?: Float32Array },
): Range {
  let min = Infinity;
  let max = -Infinity;
  for (const x of w) {
    min = Math.min(min, x);
    max = Math.max(max, x);
  }
  const absmax = Math.max(max, -min);
  const affine = spec.levels === null;
  switch (rule) {
    case "absmax":
      return affine
        ? between(spec, -absmax, absmax)
        : { scale: absmax, bias: 0 };
    case "minmax":
      return between(spec, min, max);
    case "std": {
      const { mean, std } = moments(w);
      return { scale: fround(mean + 2.5 * std), bias: 0 };
    }
    case "clip": {
      const { mean, std } = moments(w);
      return between(
        spec,
        Math.max(min, fround(mean - 2 * std)),
        Math.min(max, fround(mean + 2 * std)),
      );
    }
    case "mse": {
      const full = affine
        ? between(spec, min, max)
        : { scale: absmax, bias: 0 };
      const middle = affine ? (min + max) / 2 : 0;
      const half = affine ? (max - min) / 2 : 0;
      let best = full;
      let least = Infinity;
      for (const f of SHRINK) {
        const range = {
          scale: fround(f * full.scale),
          bias: fround(middle - f * half),
        };
        let error = 0;
        for (let i = 0; i < w.length; i++) {
          const d = w[i] - decode(spec, encode(spec, w[i], range), range);
          error += (weights ? weights[i] : 1) * d * d;
        }
        if (error < least) {
          least = error;
          best = range;
        }
      }
      return best;
    }
  }
}

/** A quantised matrix without its buffers. */
export type QuantShape = Pick<QuantMat, "spec" | "rows" | "cols" | "block">;

/** A quantised matrix in ordinary memory. */
export interface QuantArrays {
  /** Packed codes. */
  readonly codes: Uint8Array;
  /** One a block; there may be more behind them. */
  readonly scales: Float32Array;
  /** As the scales, for an affine format. */
  readonly biases: Float32Array | null;
}

/** First element (in row-major order) and length of each block of a quantised matrix. */
function* blocksOf(
  { spec, rows, cols, block }: QuantShape,
): Generator<{ start: number; length: number }> {
  const [lines, line] = spec.grouping === "flat"
    ? [1, rows * cols]
    : [rows, cols];
  for (let i = 0; i < lines; i++) {
    for (let at = 0; at < line; at += block || line) {
      yield {
        start: i * line + at,
        length: Math.min(block || line, line - at),
      };
    }
  }
}

/** Quantises dense row-major `values`; `weights` are one a column, for `mse`. */
export function quantizeValues(
  shape: QuantShape,
  values: Float32Array,
  { rule, weights }: { rule: ScaleRule; weights?: Float32Array },
): QuantArrays {
  const { spec, rows, cols } = shape;
  const { blocks } = quantSizes(spec, rows, cols, shape.block);
  const codes = new Uint8Array(values.length);
  const scales = new Float32Array(blocks);
  const biases = spec.levels === null ? new Float32Array(blocks) : null;
  let block = 0;
  for (const { start, length } of blocksOf(shape)) {
    const range = chooseRange(spec, values.subarray(start, start + length), {
      rule,
      weights: weights &&
        Float32Array.from({ length }, (_, i) => weights[(start + i) % cols]),
    });
    for (let i = start; i < start + length; i++) {
      codes[i] = encode(spec, values[i], range);
    }
    scales[block] = range.scale;
    if (biases) biases[block] = range.bias;
    block++;
  }
  return { codes: packCodes(spec, { rows, cols, codes }), scales, biases };
}

/** The dense row-major values of a quantised matrix, f32 numbers in an f64 array. */
export function dequantizeValues(
  shape: QuantShape,
  { codes: packed, scales, biases }: QuantArrays,
): Float64Array {
  const { spec, rows, cols } = shape;
  const codes = unpackCodes(spec, { rows, cols, codes: packed });
  const values = new Float64Array(codes.length);
  let block = 0;
  for (const { start, length } of blocksOf(shape)) {
    const range = { scale: scales[block], bias: biases ? biases[block] : 0 };
    for (let i = start; i < start + length; i++) {
      values[i] = decode(spec, codes[i], range);
    }
    block++;
  }
  return values;
}

/** The dequantised values of `q` in f64, row-major. */
export function loadQuantized(q: QuantMat): Float64Array {
  const { codeBytes } = quantSizes(q.spec, q.rows, q.cols, q.block);
  return dequantizeValues(q, {
    codes: u8(q.codes).subarray(0, codeBytes),
    scales: f32(q.scales),
    biases: q.spec.levels === null ? f32(q.biases!) : null,
  });
}

/** The codes of `q`, row-major. */
export function loadCodes(q: QuantMat): Float64Array {
  const { blocks, codeBytes } = quantSizes(q.spec, q.rows, q.cols, q.block);
  return dequantizeValues(q, {
    codes: u8(q.codes).subarray(0, codeBytes),
    scales: new Float32Array(blocks).fill(1),
    biases: new Float32Array(blocks),
  });
}

function quantize(args: OperationArgs<"quantize">): void {
  const { w, q, scale: rule, weight } = args;
  const result = quantizeValues(q, Float32Array.from(load(w)), {
    rule,
    weights: weight && f32(weight),
  });
  u8(q.codes).set(result.codes);
  f32(q.scales).set(result.scales);
  if (result.biases) f32(q.biases!).set(result.biases);
}

function dequantize(args: OperationArgs<"dequantize">): void {
  const { q, out, from } = args;
  const values = loadQuantized(q);
  store(out, from ? load(from).map((x, i) => x - values[i]) : values);
}

/** These operations on the reference device. */
export const quantOperations: Pick<
  QuantOperations,
  "quantize" | "dequantize"
> = { quantize, dequantize };
