/**
 * What a merge changed of what a model says.
 *
 * @module
 */

import { Tape } from "../autograd/tape.ts";
import type { Device } from "../device/device.ts";
import { readF32 } from "../device/device.ts";
import { checkpointTokenizer } from "../io/tokenizer.ts";
import type { CausalModel } from "../models/model.ts";
import { generate, loadCausal, type LoadedModel } from "../models/load.ts";
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
  /** Whose they are: those of a text that was given, or what the model before wrote from a random token on. */
  readonly of: "text" | "generated";
}

/** Tokens of a text that are compared at the most. */
const MOST = 512;

/** Tokens that are generated where there is no text. */
const GENERATED = 64;

/** Scores of the next token after each of `ids`, `[tokens, vocabulary]`. */
async function logitsOf(
  model: CausalModel,
  ids: ArrayLike<number>,
): Promise<Float32Array> {
  using tape = new Tape(model.device);
  const hidden = model.forward(tape, { ids, batch: 1, time: ids.length });
  const logits = tape.matrix(ids.length, model.config.vocabSize);
  model.head.forward(model.device, hidden.value, { y: logits });
  return await readF32(model.device, logits.buffer);
}

/**
 * Runs the model at `before`, with its adapter or the one in the folder `adapter`, and the one at `after` over the same
 * tokens: the first of `text`, or what the former writes. One model is loaded at a time.
 *
 * @throws {RangeError} If the text has no tokens.
 */
export async function compareModels(
  device: Device,
  { before, after, adapter, text }: {
    before: string;
    after: string;
    adapter?: string;
    text?: string;
  },
): Promise<ForwardDifference> {
  let tokens: ArrayLike<number> = [];
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
    if (path === before) {
      tokens = text === undefined
        ? await written(loaded.model)
        : await tokensOf(text, loaded);
    }
    scores.push(await logitsOf(loaded.model, tokens));
  }
  return {
    ...difference(scores[0], scores[1], tokens.length),
    of: text === undefined ? "generated" : "text",
  };
}

/** What a model writes, each token as likely as it says. */
async function written(model: CausalModel): Promise<number[]> {
  const { vocabSize, maxLength } = model.config;
  const first = new Random(0, "merge").uint32() % vocabSize;
  const [rest] = await generate(model, [[first]], {
    maxNewTokens: Math.min(GENERATED, maxLength) - 1,
    temperature: 1,
  });
  return [first, ...rest];
}

async function tokensOf(
  text: string,
  { checkpoint, model }: LoadedModel,
): Promise<Int32Array> {
  const tokenizer = await checkpointTokenizer(checkpoint);
  const ids = tokenizer.encode(text.slice(0, 32 * MOST));
  if (ids.length === 0) {
    throw new RangeError("Cannot compare the models: the text has no tokens");
  }
  return ids.subarray(0, Math.min(MOST, model.config.maxLength));
}

function difference(
  a: Float32Array,
  b: Float32Array,
  tokens: number,
): Omit<ForwardDifference, "of"> {
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
