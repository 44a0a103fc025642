/**
 * Layer norms, a workgroup a row; see `norm.ts`.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";
import { type NormAdd, rowMain, sumText } from "./rms_norm.wgsl.ts";

/**
 * `out = (x - mean) * inverse * weight + bias`, `inverse = 1 / sqrt(variance + epsilon)`.
 *
 * Groups: rows. Parameters: rows, cols, first and stride of x and of out, first of weight, of bias, of mean and of inverse,
 * epsilon (f32). Reads x, weight and bias, writes out, mean and inverse.
 */
export function layerNormKernel(threads: number): Kernel {
  return {
    name: `layerNorm, ${threads} threads`,
    code: `
struct Params {
  rows: u32, cols: u32, x: u32, xStride: u32, y: u32, yStride: u32,
  weight: u32, bias: u32, mean: u32, inverse: u32, epsilon: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> means: array<f32>;
@group(0) @binding(6) var<storage, read_write> inverse: array<f32>;
${sumText(threads)}
${rowMain(threads)}
  let at = p.x + i * p.xStride;
  var sum = 0.0;
  for (var j = thread; j < p.cols; j += ${threads}u) { sum += x[at + j]; }
  let mean = total(sum, thread) / f32(p.cols);
  var squares = 0.0;
  for (var j = thread; j < p.cols; j += ${threads}u) {
    let off = x[at + j] - mean;
    squares += off * off;
  }
  let by = 1.0 / sqrt(total(squares, thread) / f32(p.cols) + p.epsilon);
  if (!inside) { return; }
  if (thread == 0u) {
    means[p.mean + i] = mean;
    inverse[p.inverse + i] = by;
  }
  for (var j = thread; j < p.cols; j += ${threads}u) {
    y[p.y + i * p.yStride + j] = (x[at + j] - mean) * by * weight[p.weight + j] + bias[p.bias + j];
  }
}
`,
  };
}

/**
 * `dx = inverse * (g - mean(g) - y * mean(g * y)) + add`, `g = dy * weight`, `y = (x - mean) * inverse`.
 *
 * Groups: rows. Parameters: rows, cols, first and stride of dy, of x, of dx and of add, first of weight, of mean and of
 * inverse. Reads dy, x, weight, mean, inverse and an add that is `other`; writes dx.
 */
export function layerNormBackwardKernel(
  threads: number,
  add: NormAdd,
): Kernel {
  const plus = {
    none: "",
    other: " + add[p.add + i * p.addStride + j]",
    dx: " + dx[out + j]",
  }[add];
  const other = add === "other";
  return {
    name: `layerNormBackward, ${threads} threads, add ${add}`,
    code: `
struct Params {
  rows: u32, cols: u32, dy: u32, dyStride: u32, x: u32, xStride: u32,
  dx: u32, dxStride: u32, add: u32, addStride: u32, weight: u32, mean: u32, inverse: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> means: array<f32>;
@group(0) @binding(5) var<storage, read> inverse: array<f32>;
${other ? "@group(0) @binding(6) var<storage, read> add: array<f32>;" : ""}
@group(0) @binding(${other ? 7 : 6}) var<storage, read_write> dx: array<f32>;
${sumText(threads)}
${rowMain(threads)}
  let dyAt = p.dy + i * p.dyStride;
  let at = p.x + i * p.xStride;
  let out = p.dx + i * p.dxStride;
  let mean = means[p.mean + i];
  let by = inverse[p.inverse + i];
  var sum = 0.0;
  var product = 0.0;
  for (var j = thread; j < p.cols; j += ${threads}u) {
    let g = dy[dyAt + j] * weight[p.weight + j];
    sum += g;
    product += g * ((x[at + j] - mean) * by);
  }
  let first = total(sum, thread) / f32(p.cols);
  let second = total(product, thread) / f32(p.cols);
  if (!inside) { return; }
  for (var j = thread; j < p.cols; j += ${threads}u) {
    let g = dy[dyAt + j] * weight[p.weight + j];
    dx[out + j] = by * (g - first - (x[at + j] - mean) * by * second)${plus};
  }
}
`,
  };
}
