/**
 * DeBERTa's relative terms and the masked softmax on the reference device.
 *
 * @module
 */

import type {
  AttentionOperations,
  RelativeShape,
} from "../contract/attention.ts";
import type { OperationArgs } from "../operations.ts";
import { load, store, u32 } from "./memory.ts";

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

/** These operations on the reference device. */
export const scoreOperations: Pick<
  AttentionOperations,
  | "relativeScores"
  | "relativeScoresBackward"
  | "maskedSoftmax"
  | "maskedSoftmaxBackward"
> = {
  relativeScores,
  relativeScoresBackward,
  maskedSoftmax,
  maskedSoftmaxBackward,
};
