/**
 * Difference of the logits before and after a merge.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { Tape, type Tensor } from "../autograd/tape.ts";
import type { LinearWeight } from "../autograd/linear_weight.ts";
import { type Device, readF32 } from "../device/device.ts";
import { checkpointTokenizer } from "../io/open_tokenizer.ts";
import type { CausalModel, Model } from "../models/model.ts";
import {
  generate,
  type LoadedModel,
  loadModel,
  type PlaceOptions,
} from "../models/load/load.ts";
import { Random } from "../tensor/random.ts";

/** Differences of two models' logits for the same tokens. */
export interface ForwardDifference {
  /** Largest difference of a score. */
  readonly maxDifference: number;
  /** It as a share of the standard deviation of the scores. */
  readonly relative: number;
  /** Share of the positions at which both have the same most probable answer (next token, class, ends of the span). */
  readonly agreement: number;
  /** Tokens compared. */
  readonly tokens: number;
  /** Source of the tokens: a given text, a text generated from a random token on, or random ones. */
  readonly of: "text" | "generated" | "random";
}

/** Tokens of a text that are compared at the most. */
const MOST = 512;

/** Tokens that are generated, or taken at random, where there is no text. */
const UNASKED = 64;

/** Tokens of a sequence that an encoder reads. */
const SEQUENCE = 16;

/** Logits of a model: rows, of which each one's largest is the most probable token or class. */
interface Scores {
  readonly values: Float32Array;
  readonly rows: number;
}

/**
 * Logits of the next token after each of `ids`; of an encoder-decoder, which reads them, of each of them again; of an
 * encoder its head's for sequences of them, or without a head the hidden states.
 */
async function scoresOf(model: Model, ids: Int32Array): Promise<Scores> {
  const { device } = model;
  using tape = new Tape(device);
  const read = async ({ value }: Pick<Tensor, "value">, rows: number) => {
    const { buffer, offset, rows: height, cols } = value;
    return {
      values: await readF32(device, buffer, offset, height * cols),
      rows,
    };
  };
  const words = async (hidden: Tensor, head: LinearWeight) => {
    const value = tape.matrix(ids.length, model.config.vocabSize);
    head.forward(device, hidden.value, { y: value });
    return await read({ value }, ids.length);
  };
  if (model.kind === "causal") {
    const all = { ids, batch: 1, time: ids.length };
    return await words(model.forward(tape, all), model.head);
  }
  if (model.kind === "seq2seq") {
    const source = { ids, batch: 1, time: ids.length };
    const target = Int32Array.of(model.config.startId, ...ids.subarray(0, -1));
    const encoded = model.encode(tape, source);
    return await words(
      model.decode(tape, { ...source, ids: target }, { encoded, source }),
      model.head,
    );
  }
  const time = Math.min(SEQUENCE, ids.length, model.config.maxLength);
  const batch = Math.floor(ids.length / time);
  const rows = { ids: ids.subarray(0, batch * time), batch, time };
  switch (model.head.kind) {
    case "none":
      return await read(model.encode(tape, rows), batch * time);
    case "span":
      return await read(model.logits(tape, rows), 2 * batch);
    default:
      return await read(model.logits(tape, rows), batch);
  }
}

/**
 * Runs the model at `before`, with its adapter or the one in the folder `adapter`, and the one at `after` over the same
 * tokens: the first of `text`, or generated ones of the former. One model is loaded at a time.
 *
 * @throws {RangeError} If the text has no tokens.
 */
export async function compareModels(
  device: Device,
  { before, after, adapter, text, ...place }: PlaceOptions & {
    before: string;
    after: string;
    adapter?: string;
    text?: string;
  },
): Promise<ForwardDifference> {
  let tokens = new Int32Array();
  let of: ForwardDifference["of"] = "random";
  const scores: Scores[] = [];
  for (const path of [before, after]) {
    await using loaded = await loadModel(
      device,
      path,
      {
        compute: "f32",
        ...(path === before && adapter &&
          { ...place, own: false, adapters: { adapter } }),
      },
    );
    const { model } = loaded;
    if (path === before) {
      if (text !== undefined) {
        [tokens, of] = [await tokensOf(text, loaded), "text"];
      } else if (model.kind === "causal") {
        [tokens, of] = [await written(model), "generated"];
      } else {
        tokens = randomTokens(model, UNASKED);
      }
    }
    scores.push(await scoresOf(model, tokens));
  }
  return { ...difference(scores[0], scores[1]), tokens: tokens.length, of };
}

function randomTokens(
  { config: { vocabSize, maxLength } }: Model,
  most: number,
): Int32Array<ArrayBuffer> {
  const random = new Random(0, "merge");
  return Int32Array.from(
    { length: Math.min(most, maxLength) },
    () => random.uint32() % vocabSize,
  );
}

/** Text that a model generates, sampled by its own probabilities. */
async function written(model: CausalModel): Promise<Int32Array<ArrayBuffer>> {
  const first = randomTokens(model, 1);
  const [rest] = await generate(model, [first], {
    maxNewTokens: Math.min(UNASKED, model.config.maxLength) - 1,
    temperature: 1,
  });
  return Int32Array.of(...first, ...rest);
}

async function tokensOf(
  text: string,
  { checkpoint, model }: LoadedModel,
): Promise<Int32Array<ArrayBuffer>> {
  const tokenizer = await checkpointTokenizer(checkpoint);
  const ids = tokenizer.encode(text.slice(0, 32 * MOST));
  if (ids.length === 0) {
    throw new ValueError("Cannot compare the models: the text has no tokens");
  }
  return ids.subarray(0, Math.min(MOST, model.config.maxLength));
}

function difference(
  { values: a, rows }: Scores,
  { values: b }: Scores,
): Omit<ForwardDifference, "of" | "tokens"> {
  const width = a.length / rows;
  let maxDifference = 0;
  let sum = 0;
  let squares = 0;
  let same = 0;
  for (let row = 0; row < rows; row++) {
    let bestA = row * width;
    let bestB = bestA;
    for (let i = row * width; i < (row + 1) * width; i++) {
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
    agreement: same / rows,
  };
}
