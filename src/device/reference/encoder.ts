/**
 * Encoders' operations of the reference device, by their formulas, in f64: layer norms, activations, DeBERTa's scores,
 * softmax.
 *
 * @module
 */

import type { NetworkOperations, OperationArgs } from "../operations.ts";
import type { Activation } from "../contract/activation.ts";
import type { RelativeShape } from "../contract/attention.ts";
import { f32, load, store, u32 } from "./memory.ts";

function layerNorm(args: OperationArgs<"layerNorm">): void {
  const { rows: m, cols: n } = args.x;
  const [weight, bias] = [f32(args.weight), f32(args.bias)];
  const [means, inverse] = [f32(args.mean), f32(args.inverse)];
  const x = load(args.x);
  for (let i = 0; i < m; i++) {
    const row = x.subarray(i * n, (i + 1) * n);
    const mean = row.reduce((sum, v) => sum + v, 0) / n;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n;
    const by = 1 / Math.sqrt(variance + args.epsilon);
    means[i] = mean;
    inverse[i] = by;
    for (let j = 0; j < n; j++) {
      row[j] = (row[j] - mean) * by * weight[j] + bias[j];
    }
  }
  store(args.out, x);
}

function layerNormBackward(args: OperationArgs<"layerNormBackward">): void {
  const { rows: m, cols: n } = args.x;
  const weight = f32(args.weight);
  const [means, inverse] = [f32(args.mean), f32(args.inverse)];
  const x = load(args.x);
  const dy = load(args.dy);
  const dx = args.add ? load(args.add) : new Float64Array(m * n);
  const dweight = new Float64Array(n);
  const dbias = new Float64Array(n);
  for (let i = 0; i < m; i++) {
    const by = inverse[i];
    let first = 0;
    let second = 0;
    for (let j = 0; j < n; j++) {
      const e = i * n + j;
      const y = (x[e] - means[i]) * by;
      first += dy[e] * weight[j] / n;
      second += dy[e] * weight[j] * y / n;
      dweight[j] += dy[e] * y;
      dbias[j] += dy[e];
    }
    for (let j = 0; j < n; j++) {
      const e = i * n + j;
      const y = (x[e] - means[i]) * by;
      dx[e] += by * (dy[e] * weight[j] - first - y * second);
    }
  }
  store(args.dx, dx);
  for (
    const { to, sums } of [
      { to: args.dweight, sums: dweight },
      { to: args.dbias, sums: dbias },
    ]
  ) {
    if (to) f32(to).forEach((v, j, out) => out[j] = v + (sums[j] ?? 0));
  }
}

/** The error function, to 1e-15: its series near 0, else the continued fraction of its complement. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let k = 1; Math.abs(term) > 1e-17; k++) {
      term *= -z * z / k;
      sum += term / (2 * k + 1);
    }
    return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (z + fraction);
  const rest = Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction);
  return Math.sign(x) * (1 - rest);
}

const ROOT = Math.sqrt(2 / Math.PI);
const CUBE = 0.044715;

/** Each activation and its slope. */
const FUNCTIONS: Readonly<
  Record<Activation, readonly [(x: number) => number, (x: number) => number]>
> = {
  gelu: [
    (x) => x * (1 + erf(x / Math.SQRT2)) / 2,
    (x) =>
      (1 + erf(x / Math.SQRT2)) / 2 +
      x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI),
  ],
  "gelu_tanh": [
    (x) => x * (1 + Math.tanh(ROOT * (x + CUBE * x ** 3))) / 2,
    (x) => {
      const t = Math.tanh(ROOT * (x + CUBE * x ** 3));
      return (1 + t) / 2 +
        x * (1 - t * t) * ROOT * (1 + 3 * CUBE * x * x) / 2;
    },
  ],
  relu: [(x) => Math.max(0, x), (x) => x > 0 ? 1 : 0],
  tanh: [(x) => Math.tanh(x), (x) => 1 - Math.tanh(x) ** 2],
};

function activate(args: OperationArgs<"activate">): void {
  store(args.out, load(args.x).map(FUNCTIONS[args.kind][0]));
}

function activateBackward(args: OperationArgs<"activateBackward">): void {
  const slope = FUNCTIONS[args.kind][1];
  const x = load(args.x);
  store(args.dx, load(args.dy).map((dy, i) => dy * slope(x[i])));
}

/** Every score of `rows / time` heads with its element of each term. */
function* pairs(
  rows: number,
  { time, index }: RelativeShape,
  cols: number,
): Generator<{ score: number; c2p: number; p2c: number }> {
  const positions = u32(index);
  for (let row = 0; row < rows; row++) {
    const i = row % time;
    for (let j = 0; j < time; j++) {
      const p = positions[i - j + time - 1];
      yield {
        score: row * time + j,
        c2p: row * cols + p,
        p2c: (row - i + j) * cols + p,
      };
    }
  }
}

function relativeScores(args: OperationArgs<"relativeScores">): void {
  const { scores, c2p, p2c, shape } = args;
  const values = load(scores);
  const cols = (c2p ?? p2c)?.cols ?? 0;
  const [content, position] = [c2p && load(c2p), p2c && load(p2c)];
  for (const at of pairs(scores.rows, shape, cols)) {
    values[at.score] += shape.alpha *
      ((content?.[at.c2p] ?? 0) + (position?.[at.p2c] ?? 0));
  }
  store(scores, values);
}

function relativeScoresBackward(
  args: OperationArgs<"relativeScoresBackward">,
): void {
  const { dscores, dc2p, dp2c, shape } = args;
  const values = load(dscores);
  const cols = (dc2p ?? dp2c)?.cols ?? 0;
  const content = new Float64Array(dscores.rows * cols);
  const position = new Float64Array(dscores.rows * cols);
  for (const at of pairs(dscores.rows, shape, cols)) {
    content[at.c2p] += shape.alpha * values[at.score];
    position[at.p2c] += shape.alpha * values[at.score];
  }
  if (dc2p) store(dc2p, content);
  if (dp2c) store(dp2c, position);
}

function maskedSoftmax(args: OperationArgs<"maskedSoftmax">): void {
  const { rows: m, cols: n } = args.x;
  const bounds = args.bounds && u32(args.bounds);
  const x = load(args.x);
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    const sequence = Math.floor(i / args.rows);
    const from = bounds?.[2 * sequence] ?? 0;
    const to = bounds?.[2 * sequence + 1] ?? n;
    const row = x.subarray(i * n + from, i * n + Math.max(from, to));
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const powers = row.map((v) => Math.exp(v - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    out.set(powers.map((v) => v / sum), i * n + from);
  }
  store(args.out, out);
}

function maskedSoftmaxBackward(
  args: OperationArgs<"maskedSoftmaxBackward">,
): void {
  const { rows: m, cols: n } = args.y;
  const [dy, y] = [load(args.dy), load(args.y)];
  const dx = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    let sum = 0;
    for (let e = i * n; e < (i + 1) * n; e++) sum += dy[e] * y[e];
    for (let e = i * n; e < (i + 1) * n; e++) dx[e] = y[e] * (dy[e] - sum);
  }
  store(args.dx, dx);
}

/** Encoders' operations by their formulas. */
export const referenceEncoder = {
  layerNorm,
  layerNormBackward,
  activate,
  activateBackward,
  relativeScores,
  relativeScoresBackward,
  maskedSoftmax,
  maskedSoftmaxBackward,
} satisfies Partial<NetworkOperations>;
