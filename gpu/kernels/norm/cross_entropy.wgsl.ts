/**
 * The loss of a language model.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";

const THREADS = 256;

/**
 * `losses = logSumExp(logits) - logits[label]`, a workgroup a row, and with `gradient` in the logits' place
 * `gradient * (softmax - onehot)`. The row is read twice at most: largest value and sum are found together, the sum
 * scaled down whenever the largest value grows.
 *
 * Groups: rows.
 */
export const crossEntropyKernel = (gradient: boolean) =>
  kernel({
    name: gradient ? "crossEntropy with gradient" : "crossEntropy",
    params: { rows: "u32", cols: "u32", gradient: "f32" },
    reads: { labels: "vector i32", logits: !gradient && "matrix f32" },
    writes: { losses: "vector f32", logits: gradient && "matrix f32" },
    workgroup: THREADS,
    helpers: `
var<workgroup> most: array<f32, ${THREADS}>;
var<workgroup> sums: array<f32, ${THREADS}>;
// Below all numbers that occur, and no infinity.
const LOWEST = -3e38;
`,
    body: `
  let row = group.x + group.y * groups.x;
  let inside = row < p.rows;
  let i = min(row, p.rows - 1u);
  let at = p.logits + i * p.logitsStride;
  let label = labels[p.labels + i];
  var high = LOWEST;
  var sum = 0.0;
  for (var j = thread; j < p.cols; j += ${4 * THREADS}u) {
    let js = vec4u(j) + vec4u(0u, ${THREADS}u, ${2 * THREADS}u, ${
      3 * THREADS
    }u);
    let there = js < vec4u(p.cols);
    // What lies beyond the row is the row's last value, and does not count.
    let k = at + min(js, vec4u(p.cols - 1u));
    let x = vec4f(logits[k.x], logits[k.y], logits[k.z], logits[k.w]);
    let next = max(max(high, max(x.x, x.y)), max(x.z, x.w));
    let e = select(vec4f(), exp(x - next), there);
    sum = sum * exp(high - next) + (e.x + e.y + e.z + e.w);
    high = next;
  }
  most[thread] = high;
  sums[thread] = sum;
  workgroupBarrier();
  for (var width = ${THREADS >> 1}u; width > 0u; width >>= 1u) {
    if (thread < width) {
      let a = most[thread];
      let b = most[thread + width];
      let next = max(a, b);
      sums[thread] = sums[thread] * exp(a - next) + sums[thread + width] * exp(b - next);
      most[thread] = next;
    }
    workgroupBarrier();
  }
  high = most[0];
  sum = sums[0];
  if (!inside) { return; }
  let seen = label >= 0;
  // A gradient overwrites the label's logit: it is read before, by the thread that does.
  let own = at + u32(max(label, 0));
  if (thread == u32(max(label, 0)) % ${THREADS}u) {
    losses[p.losses + i] = select(0.0, high - logits[own] + log(sum), seen);
  }
  ${
      gradient
        ? `let by = select(0.0, p.gradient / sum, seen);
  for (var j = thread; j < p.cols; j += ${THREADS}u) {
    var slope = by * exp(logits[at + j] - high);
    if (seen && at + j == own) { slope -= p.gradient; }
    logits[at + j] = select(0.0, slope, seen);
  }`
        : ""
    }`,
  });
