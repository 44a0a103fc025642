/**
 * Attention by its textbook formula, in f64, with the matrix of probabilities written out.
 *
 * @module
 */

/** Shape and mask of an attention as in the device contract, its bounds as numbers. */
export interface PlainAttention {
  readonly batch: number;
  readonly time: number;
  readonly keys: number;
  readonly capacity: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly causal: boolean;
  readonly past: number;
  readonly window: number;
  readonly bounds?: readonly (readonly [number, number])[];
}

/** True if query `i` of sequence `b` sees key `j`. */
export function sees(
  s: PlainAttention,
  { b, i, j }: { b: number; i: number; j: number },
): boolean {
  const [from, to] = s.bounds?.[b] ?? [0, s.keys];
  return j >= from && j < to && (!s.causal || j <= s.past + i) &&
    (s.window === 0 || j > s.past + i - s.window);
}

/** Result of {@linkcode plainAttention}, and the sums of magnitudes that bound its rounding. */
export interface PlainResult {
  readonly out: Float64Array;
  readonly logSumExp: Float64Array;
  readonly outSize: Float64Array;
  /** The largest `scale * Σ |q k|` of a score that is seen. */
  readonly scoreSize: number;
}

type Values = ArrayLike<number>;

/** One query of one head with its probabilities over all keys, 0 where it sees none. */
interface Row {
  readonly index: number;
  /** Begin of the query's features, and of key `j`'s. */
  readonly q: number;
  readonly key: (j: number) => number;
  readonly p: Float64Array;
  readonly logSumExp: number;
  readonly scoreSize: number;
}

function* rowsOf(s: PlainAttention, q: Values, k: Values): Generator<Row> {
  const group = s.heads / s.kvHeads;
  for (let b = 0; b < s.batch; b++) {
    for (let h = 0; h < s.heads; h++) {
      for (let i = 0; i < s.time; i++) {
        const at = (b * s.time + i) * s.heads * s.headDim + h * s.headDim;
        const key = (j: number) =>
          (b * s.capacity + j) * s.kvHeads * s.headDim +
          Math.floor(h / group) * s.headDim;
        const scores = new Float64Array(s.keys).fill(-Infinity);
        let scoreSize = 0;
        for (let j = 0; j < s.keys; j++) {
          if (!sees(s, { b, i, j })) continue;
          let sum = 0;
          let size = 0;
          for (let c = 0; c < s.headDim; c++) {
            const term = s.scale * q[at + c] * k[key(j) + c];
            sum += term;
            size += Math.abs(term);
          }
          scores[j] = sum;
          scoreSize = Math.max(scoreSize, size);
        }
        const most = Math.max(...scores, -Infinity);
        const weights = scores.map((x) =>
          x === -Infinity ? 0 : Math.exp(x - most)
        );
        const sum = weights.reduce((a, x) => a + x, 0);
        yield {
          index: (b * s.heads + h) * s.time + i,
          q: at,
          key,
          p: weights.map((x) => sum === 0 ? 0 : x / sum),
          logSumExp: sum === 0 ? -Infinity : most + Math.log(sum),
          scoreSize,
        };
      }
    }
  }
}

/** The forward: `out`, `logSumExp` and their sizes. */
export function plainAttention(
  s: PlainAttention,
  { q, k, v }: { q: Values; k: Values; v: Values },
): PlainResult {
  const out = new Float64Array(q.length);
  const outSize = new Float64Array(q.length);
  const logSumExp = new Float64Array(s.batch * s.heads * s.time);
  let scoreSize = 0;
  for (const row of rowsOf(s, q, k)) {
    logSumExp[row.index] = row.logSumExp;
    scoreSize = Math.max(scoreSize, row.scoreSize);
    row.p.forEach((p, j) => {
      // A key that is not seen may hold anything.
      if (p === 0) return;
      for (let c = 0; c < s.headDim; c++) {
        out[row.q + c] += p * v[row.key(j) + c];
        outSize[row.q + c] += p * Math.abs(v[row.key(j) + c]);
      }
    });
  }
  return { out, logSumExp, outSize, scoreSize };
}

/** Gradients of an attention, and the same sums over magnitudes. */
export interface PlainGradients {
  readonly dq: Float64Array;
  readonly dk: Float64Array;
  readonly dv: Float64Array;
  readonly size: { dq: Float64Array; dk: Float64Array; dv: Float64Array };
}

/** The backward by the Jacobian of a softmax, `dS = P ∘ (dP - Σ P ∘ dP)`. */
export function plainAttentionBackward(
  s: PlainAttention,
  { q, k, v, dy }: { q: Values; k: Values; v: Values; dy: Values },
): PlainGradients {
  const room = () => ({
    dq: new Float64Array(q.length),
    dk: new Float64Array(k.length),
    dv: new Float64Array(v.length),
  });
  const value = room();
  const size = room();
  for (const row of rowsOf(s, q, k)) {
    const dp = new Float64Array(s.keys);
    const dpSize = new Float64Array(s.keys);
    row.p.forEach((p, j) => {
      if (p === 0) return;
      for (let c = 0; c < s.headDim; c++) {
        const term = dy[row.q + c] * v[row.key(j) + c];
        dp[j] += term;
        dpSize[j] += Math.abs(term);
      }
    });
    const mean = row.p.reduce((sum, p, j) => sum + p * dp[j], 0);
    const meanSize = row.p.reduce((sum, p, j) => sum + p * dpSize[j], 0);
    row.p.forEach((p, j) => {
      if (p === 0) return;
      const ds = s.scale * p * (dp[j] - mean);
      const dsSize = Math.abs(s.scale) * p * (dpSize[j] + meanSize);
      for (let c = 0; c < s.headDim; c++) {
        const [a, b] = [row.q + c, row.key(j) + c];
        value.dq[a] += ds * k[b];
        value.dk[b] += ds * q[a];
        value.dv[b] += p * dy[a];
        size.dq[a] += dsSize * Math.abs(k[b]);
        size.dk[b] += dsSize * Math.abs(q[a]);
        size.dv[b] += p * Math.abs(dy[a]);
      }
    });
  }
  return { ...value, size };
}
