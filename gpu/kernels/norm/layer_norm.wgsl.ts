/**
 * Layer norms, a workgroup a row; see `rms_norm.wgsl.ts`. Groups: rows.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import { addText, type NormAdd, ROW, sumText } from "./rms_norm.wgsl.ts";

/** `y = (x - mean) * inverse * weight + bias`, `inverse = 1 / sqrt(variance + epsilon)`. */
export const layerNormKernel = (threads: number) =>
  kernel({
    name: `layerNorm, ${threads} threads`,
    params: { rows: "u32", cols: "u32", epsilon: "f32" },
    reads: { x: "matrix f32", weight: "vector f32", bias: "vector f32" },
    writes: { y: "matrix f32", means: "vector f32", inverse: "vector f32" },
    workgroup: threads,
    helpers: sumText(threads),
    body: `${ROW}
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
    means[p.means + i] = mean;
    inverse[p.inverse + i] = by;
  }
  for (var j = thread; j < p.cols; j += ${threads}u) {
    y[p.y + i * p.yStride + j] = (x[at + j] - mean) * by * weight[p.weight + j] + bias[p.bias + j];
  }`,
  });

/** `dx = inverse * (g - mean(g) - y * mean(g * y)) + add`, `g = dy * weight`, `y = (x - mean) * inverse`. */
export const layerNormBackwardKernel = (threads: number, add: NormAdd) =>
  kernel({
    name: `layerNormBackward, ${threads} threads, add ${add}`,
    params: { rows: "u32", cols: "u32" },
    reads: {
      ...{ dy: "matrix f32", x: "matrix f32", weight: "vector f32" },
      ...{ means: "vector f32", inverse: "vector f32" },
      add: add === "other" && "matrix f32",
    },
    writes: { dx: "matrix f32" },
    workgroup: threads,
    helpers: sumText(threads),
    body: `${ROW}
  let dyAt = p.dy + i * p.dyStride;
  let at = p.x + i * p.xStride;
  let out = p.dx + i * p.dxStride;
  let mean = means[p.means + i];
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
    dx[out + j] = by * (g - first - (x[at + j] - mean) * by * second)${
      addText(add)
    };
  }`,
  });
