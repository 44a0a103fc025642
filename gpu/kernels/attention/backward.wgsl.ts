/**
 * The backward of attention: one kernel for the queries' gradients, one for those of keys and values. No atomics: each
 * gradient is summed by one thread, in one order.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import { marksOf } from "./forward.wgsl.ts";
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

/** Threads of a workgroup of {@linkcode attentionMeans}. */
export const MEANS_THREADS = 64;

/**
 * `means = (logSumExp, Σ_c dy * out)` for each query of each head, with 0 for a log-sum-exp of -infinity.
 *
 * Groups: `count` sequences times heads times queries, by {@linkcode MEANS_THREADS}.
 */
export const attentionMeans = (traits: AttentionTraits) =>
  kernel({
    name: `attention means, ${marksOf({ ...traits, headDim: 0 })}`,
    params: { ...PARAMS, count: "u32" },
    reads: {
      ...{ dy: operand(traits), out: operand(traits) },
      logs: "vector u32",
    },
    writes: { means: "buffer vec2f" },
    workgroup: MEANS_THREADS,
    helpers: () => fourText("dy", traits) + fourText("out", traits),
    body: `
  let e = (group.x + group.y * groups.x) * ${MEANS_THREADS}u + thread;
  let queries = p.queryTo - p.queryFrom;
  let z = e / queries / p.heads;
  if (z >= p.count) { return; }
  let h = e / queries % p.heads;
  let i = p.queryFrom + e % queries;
  var sum = 0.0;
  for (var f = 0u; f < p.headDim; f += 4u) {
    sum += dot(dyFour(z, h, i, f), outFour(z, h, i, f));
  }
  let place = (z * p.heads + h) * p.time + i;
  let bits = logs[p.logs + place];
  let logSum = select(bitcast<f32>(bits), 0.0, bits == 0xff800000u);
  means[place] = vec2f(logSum, sum);`,
  });

/** Bindings that both kernels read. */
const readsOf = (traits: AttentionTraits) =>
  ({
    dy: operand(traits),
    q: operand(traits),
    k: operand(traits),
    v: operand(traits),
    means: "buffer vec2f",
    bounds: "vector u32",
  }) as const;

/** Declarations of both, and of how results are stored. */
function helpersText(
  traits: AttentionTraits,
  writes: readonly string[],
): string {
  return `
${SEEN}
${(["dy", "q", "k", "v"] as const).map((x) => fourText(x, traits)).join("")}
${writes.map(putText).join("")}
${MEMORY}`;
}

/**
 * `dq = Σ_j ds_ij k_j`, `ds = scale * p * (dy · v - mean)`, by tiles of queries, over keys in tiles.
 *
 * Groups: tiles of the queries times slices, heads, sequences.
 */
export const attentionQueryGradients = (traits: AttentionTraits) => {
  const { chunks } = slicesOf(traits.headDim);
  const sizes = { ...traits, headDim: chunks };
  const queries = { head: "group.y", first: "i0" };
  const keys = { head: "kv", first: "j0" };
  return kernel({
    name: `attention dq, ${marksOf(sizes)}`,
    params: PARAMS,
    reads: readsOf(traits),
    writes: { dq: "matrix f32" },
    workgroup: 64,
    helpers: () => helpersText(traits, ["dq"]),
    body: () => `
${mainText(chunks)}
  let kv = group.y * p.kvHeads / p.heads;
  let i0 = p.queryFrom + tile;
  let low = seen(z, i0).x;
  let high = seen(z, min(i0 + ${TILE - 1}u, p.queryTo - 1u)).y;
  let place = (z * p.heads + group.y) * p.time;
  ${
      times(4, (r) => `
  let see${r} = seen(z, i0 + 4u * ty + ${r}u);
  let mean${r} = means[place + min(i0 + 4u * ty + ${r}u, p.queryTo - 1u)];`)
    }
${resultText("g", chunks)}
  for (var j = low; j < high; j += ${TILE}) {
    let j0 = u32(j);
    ${
      productText("s", {
        rows: { ...queries, operand: "q" },
        cols: { ...keys, operand: "k" },
      })
    }
    ${
      productText("d", {
        rows: { ...queries, operand: "dy" },
        cols: { ...keys, operand: "v" },
      })
    }
    let js = vec4i(j + 4 * i32(tx)) + vec4i(0, 1, 2, 3);
    ${
      times(4, (r) => `
    let seen${r} = (js >= vec4i(see${r}.x)) & (js < vec4i(see${r}.y));
    let p${r} = exp(min(p.scale * s${r} - mean${r}.x, vec4f()));
    s${r} = select(vec4f(), p.scale * p${r} * (d${r} - mean${r}.y), seen${r});`)
    }
    ${weightsText("s")}
    ${accumulateText("g", { ...keys, operand: "k" }, chunks)}
  }
  ${
      storeText({
        name: "dq",
        result: "g",
        chunks,
        first: "i0",
        end: "p.queryTo",
        place: (row) =>
          `p.dq + (z * p.time + ${row} - p.queryFrom) * p.dqStride + group.y * p.headDim`,
      })
    }`,
  });
};

/**
 * `dv = Σ_i p_ij dy_i` and `dk = Σ_i ds_ij q_i`, by tiles of keys, over the heads that share them and queries in tiles.
 *
 * Groups: tiles of the keys times slices, key heads, sequences.
 */
export const attentionKeyGradients = (traits: AttentionTraits) => {
  const { chunks } = slicesOf(traits.headDim);
  const sizes = { ...traits, headDim: chunks };
  const queries = { head: "h", first: "i0" };
  const keys = { head: "group.y", first: "j0" };
  const store = (name: string, result: string) =>
    storeText({
      name,
      result,
      chunks,
      first: "j0",
      end: "p.keyTo",
      place: (row) =>
        `p.${name} + (z * p.capacity + ${row} - p.keyFrom) * p.${name}Stride + group.y * p.headDim`,
    });
  return kernel({
    name: `attention dk and dv, ${marksOf(sizes)}`,
    params: PARAMS,
    reads: readsOf(traits),
    writes: { dk: "matrix f32", dv: "matrix f32" },
    workgroup: 64,
    helpers: () => helpersText(traits, ["dk", "dv"]),
    body: () => `
${mainText(chunks)}
  let sharers = p.heads / p.kvHeads;
  let j0 = p.keyFrom + tile;
  // The queries that may see one of these keys.
  var low = p.queryFrom;
  var high = p.queryTo;
  if (p.causal != 0u) { low = max(low, j0); }
  if (p.window != 0u) { high = min(high, j0 + ${TILE - 1}u + p.window); }
${resultText("k", chunks)}
${resultText("v", chunks)}
  let js = vec4i(i32(j0 + 4u * ty)) + vec4i(0, 1, 2, 3);
  for (var h = group.y * sharers; h < (group.y + 1u) * sharers; h += 1u) {
    let place = (z * p.heads + h) * p.time;
    for (var i0 = low; i0 < high; i0 += ${TILE}u) {
      ${
      productText("s", {
        rows: { ...keys, operand: "k" },
        cols: { ...queries, operand: "q" },
      })
    }
      ${
      productText("d", {
        rows: { ...keys, operand: "v" },
        cols: { ...queries, operand: "dy" },
      })
    }
      ${
      times(4, (c) => `
      let i${c + 1} = i0 + 4u * tx + ${c}u;
      let see${c} = seen(z, i${c + 1});
      let mean${c} = means[place + min(i${c + 1}, p.queryTo - 1u)];`)
    }
      let lows = vec4i(see0.x, see1.x, see2.x, see3.x);
      let inside = vec4u(i1, i2, i3, i4) < vec4u(p.queryTo);
      let highs = select(vec4i(), vec4i(see0.y, see1.y, see2.y, see3.y), inside);
      let logs = vec4f(mean0.x, mean1.x, mean2.x, mean3.x);
      let means4 = vec4f(mean0.y, mean1.y, mean2.y, mean3.y);
      ${
      times(4, (r) => `
      let seen${r} = (vec4i(js[${r}]) >= lows) & (vec4i(js[${r}]) < highs);
      s${r} = select(vec4f(), exp(min(p.scale * s${r} - logs, vec4f())), seen${r});
      d${r} = p.scale * s${r} * (d${r} - means4);`)
    }
      ${weightsText("s")}
      ${accumulateText("v", { ...queries, operand: "dy" }, chunks)}
      workgroupBarrier();
      ${weightsText("d")}
      ${accumulateText("k", { ...queries, operand: "q" }, chunks)}
    }
  }
  ${store("dk", "k")}
  ${store("dv", "v")}`,
  });
};
