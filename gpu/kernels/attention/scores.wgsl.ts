/**
 * Scores of attention as whole matrices: DeBERTa's relative terms, and the softmax.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";
import { rowMain, sumText } from "../norm/rms_norm.wgsl.ts";

/** Threads of a workgroup of the relative terms. */
export const SCORES_THREADS = 64;

const THREAD = `
@compute @workgroup_size(${SCORES_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let n = (group.x + group.y * groups.x) * ${SCORES_THREADS}u + thread;`;

/** Which of the two relative terms. */
export type RelativeTerm = "c2p" | "p2c";

/**
 * Adds one term to the scores of whole heads: `alpha * term[row, p]` of the query's row or of the key's.
 *
 * Groups: scores by {@linkcode SCORES_THREADS}. Parameters: rows, time, first of index, alpha (f32), first and stride of
 * the term and of the scores. Reads index and the term, changes the scores.
 */
export function relativeKernel(term: RelativeTerm): Kernel {
  return {
    name: `relativeScores ${term}`,
    code: `
struct Params {
  rows: u32, time: u32, index: u32, alpha: f32, term: u32, termStride: u32, scores: u32, scoresStride: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> term: array<f32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
${THREAD}
  let row = n / p.time;
  let j = n % p.time;
  if (row >= p.rows) { return; }
  let i = row % p.time;
  let at = index[p.index + i + p.time - 1u - j];
  let line = ${term === "c2p" ? "row" : "row - i + j"};
  scores[p.scores + row * p.scoresStride + j] += p.alpha * term[p.term + line * p.termStride + at];
}
`,
  };
}

/**
 * The gradient of one term, a thread a row of it.
 *
 * Groups: rows by {@linkcode SCORES_THREADS}. Parameters: as {@linkcode relativeKernel}, then columns of the term. Reads
 * index and the scores' gradient, writes the term's.
 */
export function relativeBackwardKernel(term: RelativeTerm): Kernel {
  const own = term === "c2p";
  return {
    name: `relativeScoresBackward ${term}`,
    code: `
struct Params {
  rows: u32, time: u32, index: u32, alpha: f32, term: u32, termStride: u32, scores: u32, scoresStride: u32, cols: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read_write> term: array<f32>;
${THREAD}
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
  }
}
`,
  };
}

/**
 * Softmax within the bounds of the row's sequence, zeros elsewhere; a workgroup a row. `x` may be where `out` is: it is
 * then read from there.
 *
 * Groups: rows. Parameters: rows, cols, first and stride of x and of out, number of the first row, rows of a sequence,
 * first of bounds. Reads bounds where there are some and x where it is elsewhere, writes out.
 */
export function maskedSoftmaxKernel(
  threads: number,
  { bounded, inPlace }: { bounded: boolean; inPlace: boolean },
): Kernel {
  const bindings = [
    ...(bounded ? ["read> bounds: array<u32>"] : []),
    ...(inPlace ? [] : ["read> x: array<f32>"]),
    "read_write> y: array<f32>",
  ];
  const x = (j: string) =>
    inPlace ? `y[out + ${j}]` : `x[p.x + i * p.xStride + ${j}]`;
  return {
    name: `maskedSoftmax, ${threads} threads${bounded ? ", bounds" : ""}${
      inPlace ? ", in place" : ""
    }`,
    code: `
struct Params {
  rows: u32, cols: u32, x: u32, xStride: u32, y: u32, yStride: u32, row: u32, each: u32, bounds: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
${
      bindings.map((text, i) =>
        `@group(0) @binding(${i + 1}) var<storage, ${text};`
      ).join("\n")
    }
var<workgroup> mosts: array<f32, ${threads}>;
${sumText(threads)}
${rowMain(threads)}
  let out = p.y + i * p.yStride;
  var first = 0u;
  var end = p.cols;
  ${
      bounded
        ? `let sequence = (p.row + i) / p.each;
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
  }
}
`,
  };
}

/**
 * `dx = y * (dy - Σ dy * y)`, a workgroup a row.
 *
 * Groups: rows. Parameters: rows, cols, first and stride of dy, of y and of dx. Reads y and, unless it is where dx is, dy;
 * writes dx.
 */
export function maskedSoftmaxBackwardKernel(
  threads: number,
  inPlace: boolean,
): Kernel {
  const dy = inPlace ? "dx[out + j]" : "dy[p.dy + i * p.dyStride + j]";
  return {
    name: `maskedSoftmaxBackward, ${threads} threads${
      inPlace ? ", in place" : ""
    }`,
    code: `
struct Params {
  rows: u32, cols: u32, dy: u32, dyStride: u32, y: u32, yStride: u32, dx: u32, dxStride: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<f32>;
${inPlace ? "" : "@group(0) @binding(2) var<storage, read> dy: array<f32>;"}
@group(0) @binding(${inPlace ? 2 : 3}) var<storage, read_write> dx: array<f32>;
${sumText(threads)}
${rowMain(threads)}
  let at = p.y + i * p.yStride;
  let out = p.dx + i * p.dxStride;
  var sum = 0.0;
  for (var j = thread; j < p.cols; j += ${threads}u) { sum += ${dy} * y[at + j]; }
  let mean = total(sum, thread);
  if (!inside) { return; }
  for (var j = thread; j < p.cols; j += ${threads}u) {
    dx[out + j] = y[at + j] * (${dy} - mean);
  }
}
`,
  };
}
