/**
 * Log-likelihoods of continuations.
 *
 * @module
 */

import { selectRows } from "../autograd/elementwise.ts";
import { headLoss } from "../autograd/loss.ts";
import { Tape } from "../autograd/tape.ts";
import { readF32 } from "../device/device.ts";
import type { CausalModel } from "../models/model.ts";
import type { ScoreRequest } from "./tasks/task.ts";

/** A sequence to run, and the tokens to score in it. */
interface Sequence {
  readonly tokens: number[];
  /** Scored tokens: position of the logits, token, row of the result. */
  readonly asked: { position: number; label: number; row: number }[];
}

/** Tokens of a batch at the most, padding included; one longer sequence stands alone. */
const BATCH_TOKENS = 2048;

/**
 * Answers requests: for each row `Σ log p(token | all before)` over its continuation. Rows of one request with the same
 * context and a single token each run as one sequence.
 *
 * @throws {RangeError} If a row is longer than the model's context.
 */
export async function scoreRequests(
  model: CausalModel,
  requests: readonly ScoreRequest[],
): Promise<Float64Array[]> {
  const counts = requests.map(({ rows }) => rows.length);
  const sums = new Float64Array(counts.reduce((a, b) => a + b, 0));
  const sequences: Sequence[] = [];
  let row = 0;
  for (const { rows } of requests) {
    const shared = new Map<Int32Array, Sequence>();
    for (const { context, continuation } of rows) {
      const single = continuation.length === 1;
      let sequence = single ? shared.get(context) : undefined;
      if (!sequence) {
        // The last token is never looked at: nothing after it is asked for.
        sequence = {
          tokens: [...context, ...continuation.subarray(0, -1)],
          asked: [],
        };
        sequences.push(sequence);
        if (single) shared.set(context, sequence);
      }
      for (const [i, label] of continuation.entries()) {
        sequence.asked.push({ position: context.length - 1 + i, label, row });
      }
      row++;
    }
  }
  for (const batch of batches(sequences)) await scoreBatch(model, batch, sums);
  let at = 0;
  return counts.map((count) => sums.slice(at, at += count));
}

/** Neighbours of similar length go together. */
function* batches(sequences: readonly Sequence[]): Generator<Sequence[]> {
  const order = [...sequences].sort((a, b) =>
    a.tokens.length - b.tokens.length
  );
  let batch: Sequence[] = [];
  for (const sequence of order) {
    if ((batch.length + 1) * sequence.tokens.length > BATCH_TOKENS) {
      if (batch.length > 0) yield batch;
      batch = [];
    }
    batch.push(sequence);
  }
  if (batch.length > 0) yield batch;
}

async function scoreBatch(
  model: CausalModel,
  sequences: readonly Sequence[],
  sums: Float64Array,
): Promise<void> {
  const { device } = model;
  const time = sequences.reduce((n, s) => Math.max(n, s.tokens.length), 0);
  const ids = new Uint32Array(sequences.length * time);
  const rows: number[] = [];
  for (const [b, { tokens, asked }] of sequences.entries()) {
    ids.set(tokens, b * time);
    for (const { position } of asked) rows.push(b * time + position);
  }
  const asked = sequences.flatMap((s) => s.asked);
  using tape = new Tape(device);
  const hidden = model.forward(tape, {
    ids,
    batch: sequences.length,
    time,
    bounds: sequences.some(({ tokens }) => tokens.length < time)
      ? sequences.map(({ tokens }) => [0, tokens.length] as const)
      : undefined,
  });
  const picked = selectRows(tape, hidden, {
    ids: tape.upload(Uint32Array.from(rows)),
    count: rows.length,
  });
  const losses = tape.alloc(rows.length * 4);
  headLoss(tape, picked, {
    head: model.head,
    labels: Int32Array.from(asked, ({ label }) => label),
    losses,
    weight: 1,
  });
  const values = await readF32(device, losses, 0, rows.length);
  for (const [i, { row }] of asked.entries()) sums[row] -= values[i];
}
