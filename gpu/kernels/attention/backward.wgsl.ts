/**
 * The backward of attention: one kernel for the queries' gradients, one for those of keys and values. No atomics: each
 * gradient is summed by one thread, in one order.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";
import { keptKernel } from "./forward.wgsl.ts";
import {
  accumulateText,
  type AttentionTraits,
  bindingsText,
  BOUNDS_LINE,
  fourText,
  mainText,
  MEMORY,
  operandLine,
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
 * Groups: sequences times heads times queries, by {@linkcode MEANS_THREADS}. Parameters as in `text.wgsl.ts`, `keys`
 * the number of sequences, `step` the first log-sum-exp. Reads dy, out and the log-sum-exp; writes means.
 */
export function attentionMeans(traits: AttentionTraits): Kernel {
  const sizes = { ...traits, headDim: 0 };
  return keptKernel("attention means", sizes, () => `
${
    bindingsText([
      operandLine("dy", traits),
      operandLine("out", traits),
      "read> logs: array<u32>",
      "read_write> means: array<vec2f>",
    ])
  }
${fourText("dy", traits)}
${fourText("out", traits)}

@compute @workgroup_size(${MEANS_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let e = (group.x + group.y * groups.x) * ${MEANS_THREADS}u + thread;
  let queries = p.queryTo - p.queryFrom;
  let z = e / queries / p.heads;
  if (z >= p.keys) { return; }
  let h = e / queries % p.heads;
  let i = p.queryFrom + e % queries;
  var sum = 0.0;
  for (var f = 0u; f < p.headDim; f += 4u) {
    sum += dot(dyFour(z, h, i, f), outFour(z, h, i, f));
  }
  let place = (z * p.heads + h) * p.time + i;
  let bits = logs[p.step + place];
  let logSum = select(bitcast<f32>(bits), 0.0, bits == 0xff800000u);
  means[p.rows + place] = vec2f(logSum, sum);
}
`);
}

/** Bindings of both kernels, up to what they write. */
function backwardBindings(
  traits: AttentionTraits,
  writes: readonly string[],
): string {
  return `${
    bindingsText([
      operandLine("dy", traits),
      operandLine("q", traits),
      operandLine("k", traits),
      operandLine("v", traits),
      "read> means: array<vec2f>",
      BOUNDS_LINE,
      ...writes.map((name) => `read_write> ${name}: array<f32>`),
    ])
  }
${SEEN}
${fourText("dy", traits)}
${fourText("q", traits)}
${fourText("k", traits)}
${fourText("v", traits)}
${writes.map(putText).join("")}
${MEMORY}`;
}

/**
 * `dq = Σ_j ds_ij k_j`, `ds = scale * p * (dy · v - mean)`, by tiles of queries, over keys in tiles.
 *
 * Groups: tiles of the queries times slices, heads, sequences. Parameters as in `text.wgsl.ts`, with dq for out.
 * Reads dy, q, k, v, means and bounds; writes dq.
 */
export function attentionQueryGradients(traits: AttentionTraits): Kernel {
  const { chunks } = slicesOf(traits.headDim);
  const sizes = { ...traits, headDim: chunks };
  return keptKernel("attention dq", sizes, () => {
    const queries = { head: "group.y", first: "i0" };
    const keys = { head: "kv", first: "j0" };
    return `${backwardBindings(traits, ["dq"])}
${mainText(chunks)}
  let kv = group.y * p.kvHeads / p.heads;
  let i0 = p.queryFrom + tile;
  let low = seen(z, i0).x;
  let high = seen(z, min(i0 + ${TILE - 1}u, p.queryTo - 1u)).y;
  let place = (z * p.heads + group.y) * p.time;
  ${
      times(4, (r) => `
  let see${r} = seen(z, i0 + 4u * ty + ${r}u);
  let mean${r} = means[p.rows + place + min(i0 + 4u * ty + ${r}u, p.queryTo - 1u)];`)
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
          `p.out + (z * p.time + ${row} - p.queryFrom) * p.outStride + group.y * p.headDim`,
      })
    }
}
`;
  });
}

/**
 * `dv = Σ_i p_ij dy_i` and `dk = Σ_i ds_ij q_i`, by tiles of keys, over the heads that share them and queries in tiles.
 *
 * Groups: tiles of the keys times slices, key heads, sequences. Parameters as in `text.wgsl.ts`, with dv for out.
 * Reads dy, q, k, v, means and bounds; writes dk and dv.
 */
export function attentionKeyGradients(traits: AttentionTraits): Kernel {
  const { chunks } = slicesOf(traits.headDim);
  const sizes = { ...traits, headDim: chunks };
  return keptKernel("attention dk and dv", sizes, () => {
    const queries = { head: "h", first: "i0" };
    const keys = { head: "group.y", first: "j0" };
    const store = (name: string, result: string, param: string) =>
      storeText({
        name,
        result,
        chunks,
        first: "j0",
        end: "p.keyTo",
        place: (row) =>
          `p.${param} + (z * p.capacity + ${row} - p.keyFrom) * p.${param}Stride + group.y * p.headDim`,
      });
    return `${backwardBindings(traits, ["dk", "dv"])}
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
    let place = p.rows + (z * p.heads + h) * p.time;
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
  ${store("dk", "k", "dk")}
  ${store("dv", "v", "out")}
}
`;
  });
}
