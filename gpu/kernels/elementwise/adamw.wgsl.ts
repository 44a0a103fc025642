/**
 * Gradient clipping and the optimiser.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";
import type { MapText } from "./map.wgsl.ts";

const THREADS = 256;

/**
 * `out = (min(1, most / (norm + 1e-6)), norm)`, `norm = sqrt(Σ squares)`. One workgroup.
 *
 * Parameters: count, first of squares, first of out, most (f32). Reads squares, writes out.
 */
export const CLIP_SCALE: Kernel = {
  name: "clipScale",
  code: `
struct Params { count: u32, first: u32, out: u32, most: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> squares: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<workgroup> sums: array<f32, ${THREADS}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) thread: u32) {
  var sum = 0.0;
  for (var i = thread; i < p.count; i += ${THREADS}u) {
    sum += squares[p.first + i];
  }
  sums[thread] = sum;
  workgroupBarrier();
  for (var width = ${THREADS >> 1}u; width > 0u; width >>= 1u) {
    if (thread < width) { sums[thread] += sums[thread + width]; }
    workgroupBarrier();
  }
  if (thread == 0u) {
    let norm = sqrt(sums[0]);
    y[p.out] = min(1.0, p.most / (norm + 1e-6));
    y[p.out + 1u] = norm;
  }
}
`,
};

/**
 * A step of AdamW on `param`, `mean` and `square`, from what they are now (`oldParam` …). The constants are made on the
 * host: `keep = 1 - lr * decay`, `rate = lr / bias1`, `root = 1 / sqrt(bias2)`. `scaled`: whether the gradient has a factor.
 */
export function adamwText(scaled: boolean): MapText {
  return {
    name: scaled ? "adamw, scaled" : "adamw",
    reads: ["grad", "oldParam", "oldMean", "oldSquare"],
    writes: ["param", "mean", "square"],
    scalars: scaled ? ["scale"] : [],
    fields: `
  beta1: f32, rest1: f32, beta2: f32, rest2: f32,
  keep: f32, rate: f32, root: f32, epsilon: f32,`,
    body: `
    let g = ${scaled ? "grad * scale" : "grad"};
    let mean = p.beta1 * oldMean + p.rest1 * g;
    let square = p.beta2 * oldSquare + p.rest2 * g * g;
    let change = p.rate * mean / (sqrt(square) * p.root + p.epsilon);
    let param = oldParam * p.keep - change;`,
  };
}
