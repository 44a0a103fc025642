/**
 * What a merge changed of what a model says.
 *
 * @module
 */

import { Tape } from "../autograd/tape.ts";
import type { Device } from "../device/device.ts";
import { readF32 } from "../device/device.ts";
import type { CausalModel } from "../models/model.ts";
import { loadCausal } from "../models/load.ts";
import { Random } from "../tensor/random.ts";

/** Differences of two models' scores of the next token over the same tokens. */
export interface ForwardDifference {
  /** Largest difference of a score. */
  readonly maxDifference: number;
  /** It as a share of the standard deviation of the scores. */
  readonly relative: number;
  /** Share of the tokens after which both find the same token likeliest. */
  readonly agreement: number;
  /** Tokens compared. */
  readonly tokens: number;
}

/** Scores of the next token after each of `ids`, `[tokens, vocabulary]`. */
async function logitsOf(
  model: CausalModel,
  ids: readonly number[],
): Promise<Float32Array> {
  using tape = new Tape(model.device);
  const hidden = model.forward(tape, { ids, batch: 1, time: ids.length });
  const logits = tape.matrix(ids.length, model.config.vocabSize);
  model.head.forward(model.device, hidden.value, { y: logits });
  return await readF32(model.device, logits.buffer);
}

/**
 * Runs the model at `before`, with its adapter or the one in the folder `adapter`, and the one at `after` over the same tokens:
 * `ids`, or `count` random ones. One model is loaded at a time.
 */
export async function compareModels(
  device: Device,
  { before, after, adapter, ids, count = 64 }: {
    before: string;
    after: string;
    adapter?: string;
    ids?: readonly number[];
    count?: number;
  },
): Promise<ForwardDifference> {
  let tokens = ids;
  const scores: Float32Array[] = [];
  for (const path of [before, after]) {
    await using loaded = await loadCausal(
      device,
      path,
      {
        compute: "f32",
        ...(path === before && adapter &&
          { own: false, adapters: { adapter } }),
      },
    );
    const { vocabSize, maxLength } = loaded.model.config;
    const random = new Random(0, "merge");
    tokens ??= Array.from(
      { length: Math.min(count, maxLength) },
      () => random.uint32() % vocabSize,
    );
    scores.push(await logitsOf(loaded.model, tokens));
  }
  return difference(scores[0], scores[1], tokens!.length);
}

function difference(
  a: Float32Array,
  b: Float32Array,
  tokens: number,
): ForwardDifference {
  const words = a.length / tokens;
  let maxDifference = 0;
  let sum = 0;
  let squares = 0;
  let same = 0;
  for (let t = 0; t < tokens; t++) {
    let bestA = t * words;
    let bestB = bestA;
    for (let i = t * words; i < (t + 1) * words; i++) {
      maxDifference = Math.max(maxDifference, Math.abs(a[i] - b[i]));
      sum += a[i];
      squares += a[i] ** 2;
      if (a[i] > a[bestA]) bestA = i;
      if (b[i] > b[bestB]) bestB = i;
    }
    if (bestA === bestB) same++;
  }
  const mean = sum / a.length;
  const deviation = Math.sqrt(Math.max(0, squares / a.length - mean ** 2));
  return {
    maxDifference,
    relative: deviation === 0 ? 0 : maxDifference / deviation,
    agreement: same / tokens,
    tokens,
  };
}
