/**
 * Attention of the reference device and its backward, query by query, in f64.
 *
 * @module
 */

import type {
  AttentionOperations,
  AttentionShape,
} from "../contract/attention.ts";
import type { OperationArgs } from "../operations.ts";
import { f32, load, store, u32 } from "./memory.ts";

/** One query of one head: where its features start in a dense `q`, and those of each key it sees in `k` and `v`. */
interface Query {
  /** Number of the query in `[batch, heads, time]`. */
  readonly index: number;
  readonly q: number;
  readonly keys: readonly number[];
}

/** The keys that query `i` of sequence `b` sees: `[from, to)`, empty where `from >= to`. */
function visible(
  shape: AttentionShape,
  b: number,
  i: number,
): { from: number; to: number } {
  const last = shape.past + i;
  const [start, end] = shape.bounds
    ? u32(shape.bounds).subarray(2 * b, 2 * b + 2)
    : [0, shape.keys];
  return {
    from: Math.max(start, shape.window > 0 ? last - shape.window + 1 : 0),
    to: Math.min(end, shape.keys, shape.causal ? last + 1 : Infinity),
  };
}

function* queries(shape: AttentionShape): Generator<Query> {
  const { batch, heads, kvHeads, time, capacity, headDim } = shape;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor(h * kvHeads / heads);
      for (let i = 0; i < time; i++) {
        const { from, to } = visible(shape, b, i);
        yield {
          index: (b * heads + h) * time + i,
          q: ((b * time + i) * heads + h) * headDim,
          keys: Array.from(
            { length: Math.max(to - from, 0) },
            (_, j) => ((b * capacity + from + j) * kvHeads + kvHead) * headDim,
          ),
        };
      }
    }
  }
}

/** `Σ_c x[at + c] * y[to + c]` over `n` features. */
function dotAt(
  x: Float64Array,
  at: number,
  y: Float64Array,
  to: number,
  n: number,
): number {
  let sum = 0;
  for (let c = 0; c < n; c++) sum += x[at + c] * y[to + c];
  return sum;
}

/** Softmax attention; see {@linkcode NetworkOperations.attention}. */
function attention(args: OperationArgs<"attention">): void {
  const { headDim, scale } = args.shape;
  const q = load(args.q);
  const k = load(args.k);
  const v = load(args.v);
  const out = new Float64Array(q.length);
  const logSumExp = args.logSumExp && f32(args.logSumExp);
  for (const query of queries(args.shape)) {
    const scores = query.keys.map((key) =>
      scale * dotAt(q, query.q, k, key, headDim)
    );
    const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    for (const score of scores) sum += Math.exp(score - most);
    query.keys.forEach((key, j) => {
      const p = Math.exp(scores[j] - most) / sum;
      for (let c = 0; c < headDim; c++) out[query.q + c] += p * v[key + c];
    });
    // Without a key both terms are -infinity.
    if (logSumExp) logSumExp[query.index] = most + Math.log(sum);
  }
  store(args.out, out);
}

/** Gradients of {@linkcode attention}; see {@linkcode NetworkOperations.attentionBackward}. */
function attentionBackward(
  args: OperationArgs<"attentionBackward">,
): void {
  const { headDim, scale } = args.shape;
  const logSumExp = f32(args.logSumExp);
  const dy = load(args.dy);
  const out = load(args.out);
  const q = load(args.q);
  const k = load(args.k);
  const v = load(args.v);
  const dq = new Float64Array(q.length);
  const dk = new Float64Array(k.length);
  const dv = new Float64Array(v.length);
  for (const query of queries(args.shape)) {
    // Σ_j p_j (dy . v_j), without another pass over the keys.
    const mean = dotAt(dy, query.q, out, query.q, headDim);
    for (const key of query.keys) {
      const score = scale * dotAt(q, query.q, k, key, headDim);
      const p = Math.exp(score - logSumExp[query.index]);
      const ds = scale * p * (dotAt(dy, query.q, v, key, headDim) - mean);
      for (let c = 0; c < headDim; c++) {
        dv[key + c] += p * dy[query.q + c];
        dq[query.q + c] += ds * k[key + c];
        dk[key + c] += ds * q[query.q + c];
      }
    }
  }
  store(args.dq, dq);
  store(args.dk, dk);
  store(args.dv, dv);
}

/** These operations on the reference device. */
export const attentionOperations: Pick<
  AttentionOperations,
  "attention" | "attentionBackward"
> = {
  attention,
  attentionBackward,
};
