/**
 * The loss on the reference device.
 *
 * @module
 */

import type { LossOperations } from "../contract/loss.ts";
import type { OperationArgs } from "../operations.ts";
import { f32, i32, load, store } from "./memory.ts";

function crossEntropy(args: OperationArgs<"crossEntropy">): void {
  const { gradient } = args;
  const { rows: m, cols: v } = args.logits;
  const labels = i32(args.labels);
  const losses = f32(args.losses);
  const logits = load(args.logits);
  for (let i = 0; i < m; i++) {
    const row = logits.subarray(i * v, (i + 1) * v);
    const label = labels[i];
    if (label < 0) {
      losses[i] = 0;
      row.fill(0);
      continue;
    }
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    for (const x of row) sum += Math.exp(x - most);
    losses[i] = most - row[label] + Math.log(sum);
    if (gradient === undefined) continue;
    for (let j = 0; j < v; j++) {
      row[j] = gradient * (Math.exp(row[j] - most) / sum - Number(j === label));
    }
  }
  if (gradient !== undefined) store(args.logits, logits);
}

/** These operations on the reference device. */
export const lossOperations: LossOperations = {
  crossEntropy,
};
