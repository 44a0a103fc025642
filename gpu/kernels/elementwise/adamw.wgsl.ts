/**
 * Gradient clipping and the optimiser.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import { map } from "./map.wgsl.ts";

const THREADS = 256;

/** `y = (min(1, most / (norm + 1e-6)), norm)`, `norm = sqrt(Σ squares)`. One workgroup. */
export const CLIP_SCALE = kernel({
  name: "clipScale",
  params: { count: "u32", most: "f32" },
  reads: { squares: "vector f32" },
  writes: { y: "vector f32" },
  workgroup: THREADS,
  helpers: `
var<workgroup> sums: array<f32, ${THREADS}>;
`,
  body: `
  var sum = 0.0;
  for (var i = thread; i < p.count; i += ${THREADS}u) {
    sum += squares[p.squares + i];
  }
  sums[thread] = sum;
  workgroupBarrier();
  for (var width = ${THREADS >> 1}u; width > 0u; width >>= 1u) {
    if (thread < width) { sums[thread] += sums[thread + width]; }
    workgroupBarrier();
  }
  if (thread == 0u) {
    let norm = sqrt(sums[0]);
    y[p.y] = min(1.0, p.most / (norm + 1e-6));
    y[p.y + 1u] = norm;
  }`,
});

/**
 * A step of AdamW on `param`, `mean` and `square`, from what they are now (`oldParam` …). The constants are made on the
 * host: `keep = 1 - lr * decay`, `rate = lr / bias1`, `root = 1 / sqrt(bias2)`. `scaled`: whether the gradient has a factor.
 */
export function adamwText(scaled: boolean) {
  return map({
    name: scaled ? "adamw, scaled" : "adamw",
    reads: ["grad", "oldParam", "oldMean", "oldSquare"],
    writes: ["param", "mean", "square"],
    scalars: scaled ? ["scale"] : [],
    params: {
      ...{ beta1: "f32", rest1: "f32", beta2: "f32", rest2: "f32" },
      ...{ keep: "f32", rate: "f32", root: "f32", epsilon: "f32" },
    },
    body: `
    let g = ${scaled ? "grad * scale" : "grad"};
    let mean = p.beta1 * oldMean + p.rest1 * g;
    let square = p.beta2 * oldSquare + p.rest2 * g * g;
    let change = p.rate * mean / (sqrt(square) * p.root + p.epsilon);
    let param = oldParam * p.keep - change;`,
  });
}
