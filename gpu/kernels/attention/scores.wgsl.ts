/**
 * Scores of attention as whole matrices: DeBERTa's relative terms, and the softmax.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import { ROW, sumText } from "../norm/rms_norm.wgsl.ts";

/** Threads of a workgroup of the relative terms. */
export const SCORES_THREADS = 64;

const NUMBER =
  `let n = (group.x + group.y * groups.x) * ${SCORES_THREADS}u + thread;`;

/** Which of the two relative terms. */
export type RelativeTerm = "c2p" | "p2c";

/**
 * Adds one term to the scores of whole heads: `alpha * term[row, p]` of the query's row or of the key's.
 *
 * Groups: scores by {@linkcode SCORES_THREADS}.
 */
export const relativeKernel = (term: RelativeTerm) =>
  kernel({
    name: `relativeScores ${term}`,
    params: { rows: "u32", time: "u32", alpha: "f32" },
    reads: { index: "vector u32", term: "matrix f32" },
    writes: { scores: "matrix f32" },
    workgroup: SCORES_THREADS,
    body: `
  ${NUMBER}
  let row = n / p.time;
  let j = n % p.time;
  if (row >= p.rows) { return; }
  let i = row % p.time;
  let at = index[p.index + i + p.time - 1u - j];
  let line = ${term === "c2p" ? "row" : "row - i + j"};
  scores[p.scores + row * p.scoresStride + j] += p.alpha * term[p.term + line * p.termStride + at];`,
  });

/** The gradient of one term, a thread a row of it. Groups: rows by {@linkcode SCORES_THREADS}. */
export const relativeBackwardKernel = (term: RelativeTerm) => {
  const own = term === "c2p";
  return kernel({
    name: `relativeScoresBackward ${term}`,
    params: { rows: "u32", time: "u32", alpha: "f32", cols: "u32" },
    reads: { index: "vector u32", scores: "matrix f32" },
    writes: { term: "matrix f32" },
    workgroup: SCORES_THREADS,
    body: `
  ${NUMBER}
  if (n >= p.rows) { return; }
  let to = p.term + n * p.termStride;
  for (var c = 0u; c < p.cols; c += 1u) { term[to + c] = 0.0; }
  let own = n % p.time;
  for (var other = 0u; other < p.time; other += 1u) {
    let i = ${own ? "own" : "other"};
    let j = ${own ? "other" : "own"};
    let at = index[p.index + i + p.time - 1u - j];
    let row = n - own + i;
    term[to + at] += p.alpha * scores[p.scores + row * p.scoresStride + j];
  }`,
  });
};

/**
 * Softmax within the bounds of the row's sequence, zeros elsewhere; a workgroup a row. `x` may be where `y` is
 * (`inPlace`): it is then read from there. Row 0 is the matrix's `first`, `each` the rows of a sequence.
 *
 * Groups: rows.
 */
export const maskedSoftmaxKernel = (
  threads: number,
  { bounded, inPlace }: { bounded: boolean; inPlace: boolean },
) => {
  const x = (j: string) =>
    inPlace ? `y[out + ${j}]` : `x[p.x + i * p.xStride + ${j}]`;
  return kernel({
    name: `maskedSoftmax, ${threads} threads${bounded ? ", bounds" : ""}${
      inPlace ? ", in place" : ""
    }`,
    params: { rows: "u32", cols: "u32", first: "u32", each: "u32" },
    reads: { bounds: bounded && "vector u32", x: !inPlace && "matrix f32" },
    writes: { y: "matrix f32" },
    workgroup: threads,
    helpers: `
var<workgroup> mosts: array<f32, ${threads}>;
${sumText(threads)}`,
    body: `${ROW}
  let out = p.y + i * p.yStride;
  var first = 0u;
  var end = p.cols;
  ${
      bounded
        ? `let sequence = (p.first + i) / p.each;
  first = bounds[p.bounds + 2u * sequence];
  end = max(first, bounds[p.bounds + 2u * sequence + 1u]);`
        : ""
    }
  var most = -3e38;
  for (var j = first + thread; j < end; j += ${threads}u) {
    most = max(most, ${x("j")});
  }
  mosts[thread] = most;
  workgroupBarrier();
  for (var width = ${threads >> 1}u; width > 0u; width >>= 1u) {
    if (thread < width) { mosts[thread] = max(mosts[thread], mosts[thread + width]); }
    workgroupBarrier();
  }
  most = mosts[0];
  var sum = 0.0;
  for (var j = first + thread; j < end; j += ${threads}u) {
    sum += exp(${x("j")} - most);
  }
  let by = 1.0 / total(sum, thread);
  if (!inside) { return; }
  for (var j = thread; j < p.cols; j += ${threads}u) {
    if (j >= first && j < end) {
      y[out + j] = exp(${x("j")} - most) * by;
    } else {
      y[out + j] = 0.0;
    }
  }`,
  });
};

/** `dx = y * (dy - Σ dy * y)`, a workgroup a row; `inPlace` for a dy that is dx. Groups: rows. */
export const maskedSoftmaxBackwardKernel = (
  threads: number,
  inPlace: boolean,
) => {
  const dy = inPlace ? "dx[out + j]" : "dy[p.dy + i * p.dyStride + j]";
  return kernel({
    name: `maskedSoftmaxBackward, ${threads} threads${
      inPlace ? ", in place" : ""
    }`,
    params: { rows: "u32", cols: "u32" },
    reads: { y: "matrix f32", dy: !inPlace && "matrix f32" },
    writes: { dx: "matrix f32" },
    workgroup: threads,
    helpers: sumText(threads),
    body: `${ROW}
  let at = p.y + i * p.yStride;
  let out = p.dx + i * p.dxStride;
  var sum = 0.0;
  for (var j = thread; j < p.cols; j += ${threads}u) { sum += ${dy} * y[at + j]; }
  let mean = total(sum, thread);
  if (!inside) { return; }
  for (var j = thread; j < p.cols; j += ${threads}u) {
    dx[out + j] = y[at + j] * (${dy} - mean);
  }`,
  });
};
