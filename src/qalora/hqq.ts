/**
 * Half-quadratic quantisation: groups whose zero point is moved to where few weights have a large error
 * (Badri and Shaji, Half-Quadratic Quantization of Large Machine Learning Models, 2023).
 *
 * @module
 */

import type { Format } from "../quant/formats.ts";
import {
  type GroupCodes,
  groupCount,
  type GroupShape,
  groupSize,
} from "./groups.ts";

/** Norm of the error that is made small, `Σ |e|^P`. */
const P = 0.7;
/** Weight of the penalty that ties the error to its shrunk copy, and its growth from one step to the next. */
const BETA = 10;
const KAPPA = 1.01;
const STEPS = 20;

/** Options of {@linkcode hqq}. */
export interface HqqOptions extends GroupShape {
  readonly spec: Format;
  /** Weight of each input's error, `[in]`; all the same without it. */
  readonly weights?: Float32Array;
}

/**
 * Quantises row-major `values: [rows, cols]`.
 *
 * The scale of a group is that of its range and stays; the zero point goes through the half-quadratic steps of the hqq
 * package (`optimize_weights_proximal_v2`, `lp_norm` 0.7), each group for itself until its mean error stops falling, and
 * the best one is kept. So no group ends worse than with min/max. The package stops all groups together and bounds
 * scales for f16, which this does not.
 */
export function hqq(values: Float32Array, options: HqqOptions): GroupCodes {
  const { spec, rows, cols, weights } = options;
  const top = (1 << spec.bits) - 1;
  const size = groupSize(options);
  const groups = groupCount(options);
  const codes = new Uint8Array(rows * cols);
  const scales = new Float32Array(rows * groups);
  const biases = new Float32Array(rows * groups);
  for (let i = 0; i < rows; i++) {
    for (let g = 0; g < groups; g++) {
      const from = g * size;
      const to = Math.min(from + size, cols);
      const w = values.subarray(i * cols + from, i * cols + to);
      const at = i * groups + g;
      const { scale, bias } = solve(w, top, weights?.subarray(from, to));
      scales[at] = scale;
      biases[at] = bias;
      if (scales[at] === 0) continue;
      for (let j = 0; j < w.length; j++) {
        codes[i * cols + from + j] = clamp(
          Math.round((w[j] - biases[at]) / scales[at]),
          top,
        );
      }
    }
  }
  return { codes, scales, biases };
}

function clamp(x: number, top: number): number {
  return Math.min(Math.max(x, 0), top);
}

/** Scale and bias of one group; in between, values are in steps, `w / scale + zero`. */
function solve(
  w: Float32Array,
  top: number,
  weights?: Float32Array,
): { scale: number; bias: number } {
  let min = Infinity;
  let max = -Infinity;
  for (const x of w) {
    min = Math.min(min, x);
    max = Math.max(max, x);
  }
  const scale = (max - min) / top;
  if (scale === 0) return { scale, bias: min };
  // Inputs that never were say nothing about a group that has no others.
  const h = weights?.some((x) => x > 0) ? weights : undefined;
  let total = 0;
  for (let j = 0; j < w.length; j++) total += h ? h[j] : 1;
  let zero = -min / scale;
  let best = zero;
  let least = Infinity;
  let beta = BETA;
  for (let step = 0; step < STEPS; step++) {
    let error = 0;
    let moved = 0;
    for (let j = 0; j < w.length; j++) {
      const weight = h ? h[j] : 1;
      const code = clamp(Math.round(w[j] / scale + zero), top);
      const e = w[j] - (code - zero) * scale;
      const size = Math.abs(e);
      // Of an error of 0 the power is infinite and the shrunk one 0.
      const shrunk = Math.sign(e) * Math.max(size - size ** (P - 1) / beta, 0);
      error += weight * size;
      moved += weight * (code - (w[j] - shrunk) / scale);
    }
    // As the package compares them: a shift may leave the mean as it is but for rounding.
    const mean = Math.fround(error / total);
    if (mean >= least) break;
    least = mean;
    best = zero;
    zero = moved / total;
    beta *= KAPPA;
  }
  return { scale, bias: -best * scale };
}
