/**
 * Attention: by tiles of queries, or for few queries by ranges of keys. (Dao et al., 2205.14135.)
 *
 * A result may be that of a part of the keys; results of several parts are put together by their log-sum-exps.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import {
  accumulateText,
  type AttentionTraits,
  fourText,
  mainText,
  MEMORY,
  operand,
  PARAMS,
  productText,
  putText,
  resultText,
  SEEN,
  slicesOf,
  storeText,
  TILE,
  times,
  weightsText,
} from "./text.wgsl.ts";

/** Traits that a kernel's text depends on, for its name. */
export const marksOf = (traits: AttentionTraits) =>
  Object.entries(traits).join(" ");

/** `step` and `logStep`: from the result of one range to that of the next, and the same of the log-sum-exp. */
const forwardOf = (traits: AttentionTraits) =>
  ({
    params: { ...PARAMS, step: "u32", logStep: "u32" },
    reads: {
      q: operand(traits),
      k: operand(traits),
      v: operand(traits),
      bounds: "vector u32",
    },
    // Bits of the log-sum-exp, since it may be -infinity.
    writes: { out: "matrix f32", logs: "vector u32" },
    workgroup: 64,
  }) as const;

const LOG_TEXT = `
fn logOf(high: f32, sum: f32) -> u32 {
  return select(bitcast<u32>(high + log(max(sum, 1e-30))), 0xff800000u, sum == 0.0);
}`;

/**
 * Tiles of {@linkcode TILE} queries, over keys in tiles, with a running maximum.
 *
 * Groups: tiles of the queries times slices, heads, sequences.
 */
export const attentionTiles = (traits: AttentionTraits) => {
  // In the text `headDim` is a parameter: all that matters is the number of chunks.
  const { chunks } = slicesOf(traits.headDim);
  const sizes = { ...traits, headDim: chunks };
  const rows = { operand: "q", head: "group.y", first: "i0" } as const;
  const keys = { head: "kv", first: "j0" };
  return kernel({
    name: `attention tiles, ${marksOf(sizes)}`,
    ...forwardOf(traits),
    helpers: () => `
${SEEN}
${fourText("q", traits)}
${fourText("k", traits)}
${fourText("v", traits)}
${LOG_TEXT}
${putText("out")}
${MEMORY}
var<workgroup> parts: array<f32, ${TILE * 8}>;

fn largest(row: u32) -> f32 {
  var high = parts[row * 8u];
  for (var x = 1u; x < 8u; x += 1u) { high = max(high, parts[row * 8u + x]); }
  return high;
}`,
    body: () => `
${mainText(chunks)}
  let kv = group.y * p.kvHeads / p.heads;
  let i0 = p.queryFrom + tile;
  let low = seen(z, i0).x;
  let high = seen(z, min(i0 + ${TILE - 1}u, p.queryTo - 1u)).y;
  ${
      times(4, (r) => `
  let see${r} = seen(z, i0 + 4u * ty + ${r}u);
  var high${r} = LOWEST;
  var sum${r} = 0.0;`)
    }
${resultText("o", chunks)}
  for (var j = low; j < high; j += ${TILE}) {
    let j0 = u32(j);
    ${productText("s", { rows, cols: { ...keys, operand: "k" } })}
    let js = vec4i(j + 4 * i32(tx)) + vec4i(0, 1, 2, 3);
    ${
      times(4, (r) => `
    let seen${r} = (js >= vec4i(see${r}.x)) & (js < vec4i(see${r}.y));
    s${r} = select(vec4f(LOWEST), p.scale * s${r}, seen${r});
    parts[(4u * ty + ${r}u) * 8u + tx] = max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w));`)
    }
    workgroupBarrier();
    ${
      times(4, (r) => `
    let next${r} = max(high${r}, largest(4u * ty + ${r}u));
    let shrink${r} = exp(high${r} - next${r});
    s${r} = select(vec4f(), exp(s${r} - next${r}), seen${r});
    sum${r} = sum${r} * shrink${r} + (s${r}.x + s${r}.y + s${r}.z + s${r}.w);
    high${r} = next${r};
    ${times(chunks, (c) => `o${r}_${c} *= shrink${r};`)}`)
    }
    ${weightsText("s")}
    ${accumulateText("o", { ...keys, operand: "v" }, chunks)}
  }
  workgroupBarrier();
  ${times(4, (r) => `parts[(4u * ty + ${r}u) * 8u + tx] = sum${r};`)}
  workgroupBarrier();
  ${
      times(4, (r) => `
  let own${r} = i0 + 4u * ty + ${r}u;
  var all${r} = 0.0;
  for (var x = 0u; x < 8u; x += 1u) { all${r} += parts[(4u * ty + ${r}u) * 8u + x]; }
  // Without a key 0, of scores that are all -infinity what is no number.
  let by${r} = select(0.0, 1.0 / all${r}, see${r}.x < see${r}.y);
  ${times(chunks, (c) => `o${r}_${c} *= by${r};`)}
  if (tx == 0u && slice == 0u && own${r} < p.queryTo) {
    logs[p.logs + (z * p.heads + group.y) * p.time + own${r}] = logOf(high${r}, all${r});
  }`)
    }
  ${
      storeText({
        name: "out",
        result: "o",
        chunks,
        first: "i0",
        end: "p.queryTo",
        place: (row) =>
          `p.out + (z * p.time + ${row} - p.queryFrom) * p.outStride + group.y * p.headDim`,
      })
    }`,
  });
};

/** Keys of a range. */
export const RANGE = 256;

/**
 * One query and a range of {@linkcode RANGE} keys a workgroup: each thread has four keys, then some of the features.
 *
 * Groups: ranges, heads, sequences times queries.
 */
export const attentionRanges = (traits: AttentionTraits) => {
  const sizes = { ...traits, headDim: 0 };
  return kernel({
    name: `attention ranges, ${marksOf(sizes)}`,
    ...forwardOf(traits),
    helpers: () => `
${SEEN}
${fourText("q", traits)}
${fourText("k", traits)}
${LOG_TEXT}
var<workgroup> scores: array<f32, ${RANGE}>;
var<workgroup> parts: array<f32, 64>;
const LOWEST = -3e38;`,
    body: () => `
  let h = group.y;
  let kv = h * p.kvHeads / p.heads;
  let queries = p.queryTo - p.queryFrom;
  let z = group.z / queries;
  let i = p.queryFrom + group.z % queries;
  let begin = p.keyFrom + group.x * ${RANGE}u;
  let see = seen(z, i);
  let low = u32(max(see.x, i32(begin)));
  let high = u32(max(i32(low), min(see.y, i32(begin + ${RANGE}u))));
  var most = LOWEST;
  for (var j = low + thread; j < high; j += 64u) {
    var score = 0.0;
    for (var f = 0u; f < p.headDim; f += 4u) {
      score += dot(qFour(z, h, i, f), kFour(z, kv, j, f));
    }
    score *= p.scale;
    scores[j - low] = score;
    most = max(most, score);
  }
  parts[thread] = most;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width >>= 1u) {
    if (thread < width) { parts[thread] = max(parts[thread], parts[thread + width]); }
    workgroupBarrier();
  }
  most = parts[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var j = low + thread; j < high; j += 64u) {
    let weight = exp(scores[j - low] - most);
    scores[j - low] = weight;
    sum += weight;
  }
  parts[thread] = sum;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width >>= 1u) {
    if (thread < width) { parts[thread] += parts[thread + width]; }
    workgroupBarrier();
  }
  sum = parts[0];
  let by = select(0.0, 1.0 / sum, low < high);
  let row = z * p.time + i - p.queryFrom;
  let at = p.out + group.x * p.step + row * p.outStride + h * p.headDim;
  for (var f = thread; f < p.headDim; f += 64u) {
    var value = 0.0;
    for (var j = low; j < high; j += 1u) {
      let vAt = p.v + (z * p.capacity + j - p.keyFrom) * p.vStride + kv * p.headDim + f;
      value += scores[j - low] * ${
      traits.vectors ? "v[vAt / 4u][vAt % 4u]" : "v[vAt]"
    };
    }
    out[at + f] = by * value;
  }
  if (thread == 0u) {
    let place = p.logs + group.x * p.logStep + (z * p.heads + h) * p.time + i;
    logs[place] = logOf(most, sum);
  }`,
  });
};

/** Threads of a workgroup of {@linkcode mergeKernel}. */
export const MERGE_THREADS = 64;

/**
 * Puts the results of several parts of the keys together: `Σ w_r out_r` with `w_r = exp(logs_r - logs)`, `logs` the
 * log-sum-exp of the parts'.
 *
 * Groups: elements of out by {@linkcode MERGE_THREADS}. `queries`: of a sequence here; `count` parts lie without gaps
 * between rows, `step` and `logStep` elements from one to the next.
 */
export const mergeKernel = (logged: boolean) =>
  kernel({
    name: logged ? "attention merge with log-sum-exp" : "attention merge",
    params: {
      ...{ rows: "u32", cols: "u32", headDim: "u32", queries: "u32" },
      ...{ queryFrom: "u32", time: "u32", heads: "u32", count: "u32" },
      ...{ step: "u32", logStep: "u32" },
    },
    reads: { parts: "buffer f32", partLogs: "buffer u32" },
    writes: { out: "matrix f32", logs: logged && "vector u32" },
    workgroup: MERGE_THREADS,
    helpers: "const NOTHING = 0xff800000u;",
    body: `
  let e = (group.x + group.y * groups.x) * ${MERGE_THREADS}u + thread;
  let row = e / p.cols;
  let col = e % p.cols;
  if (row >= p.rows) { return; }
  let h = col / p.headDim;
  let i = p.queryFrom + row % p.queries;
  let place = (row / p.queries * p.heads + h) * p.time + i;
  var most = -3e38;
  for (var r = 0u; r < p.count; r += 1u) {
    let bits = partLogs[r * p.logStep + place];
    if (bits != NOTHING) { most = max(most, bitcast<f32>(bits)); }
  }
  var sum = 0.0;
  var value = 0.0;
  var some = false;
  // Of parts without weight: 0 where there is no key, no number where all scores are -infinity.
  var rest = 0.0;
  for (var r = 0u; r < p.count; r += 1u) {
    let bits = partLogs[r * p.logStep + place];
    let part = parts[r * p.step + e];
    if (bits != NOTHING) {
      let weight = exp(bitcast<f32>(bits) - most);
      some = true;
      sum += weight;
      value += weight * part;
    } else {
      rest += part;
    }
  }
  out[p.out + row * p.outStride + col] = select(rest, value / sum, some);
  ${
      logged
        ? `if (col % p.headDim == 0u) {
    logs[p.logs + place] = select(NOTHING, bitcast<u32>(most + log(sum)), some);
  }`
        : ""
    }`,
  });
