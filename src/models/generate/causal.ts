/**
 * Text generation with a causal LM: prefill of the prompts, then decode steps, token by token.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { rowsOf } from "../../autograd/loss.ts";
import { Tape, type Tensor } from "../../autograd/tape.ts";
import { mat } from "../../device/buffer.ts";
import { readF32 } from "../../device/device.ts";
import { Random } from "../../tensor/random.ts";
import type { BaseConfig } from "../../families/tensors.ts";
import type { CausalModel, TokenBatch, TokenCache } from "../model.ts";
import { sample, type SamplingOptions } from "./sampling.ts";

/** Options of {@linkcode generate}. */
export interface GenerateOptions extends SamplingOptions {
  /** Maximum number of new tokens of a sequence; fewer if the model's context ends before. */
  readonly maxNewTokens: number;
  /** Stop (EOS) token ids: each ends a sequence; they are not part of the result. */
  readonly stop?: readonly number[];
  /** Random seed of the sampling (0). */
  readonly seed?: number;
  /** Called with each new token of each sequence, and awaited; true ends that sequence. */
  readonly onToken?: (
    sequence: number,
    token: number,
  ) => boolean | void | Promise<boolean | void>;
}

/** Prefill chunk: tokens of a prompt that go through the model at a time, which bounds the memory of long ones. */
const CHUNK = 256;

/**
 * Checks that a model can continue prompts; returns the length of the longest.
 *
 * @throws {RangeError} If one is empty, leaves no room in the model's context, or has a token that the model has not.
 */
export function checkPrompts(
  prompts: readonly ArrayLike<number>[],
  { maxLength, vocabSize }: Pick<BaseConfig, "maxLength" | "vocabSize">,
): number {
  const fail = (what: string): never => {
    throw new ValueError(`Cannot generate: ${what}`);
  };
  let longest = 0;
  for (const prompt of prompts) {
    if (prompt.length === 0) fail("a prompt is empty");
    const unknown = Array.from(prompt).find((id) =>
      !(id >= 0 && id < vocabSize)
    );
    if (unknown !== undefined) {
      fail(
        `the prompt's token ${unknown} is not in the model's vocabulary of ${vocabSize}; is the tokenizer another model's?`,
      );
    }
    longest = Math.max(longest, prompt.length);
  }
  if (longest >= maxLength) {
    fail(
      `a prompt of ${longest} tokens fills the model's context of ${maxLength}`,
    );
  }
  return longest;
}

/**
 * Continues `prompts`, all at once; resolves to the new tokens of each.
 *
 * @throws {RangeError} As {@linkcode checkPrompts}.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { checkpointTokenizer } from "@loqa/loqa/files";
 * import { generate, loadCausal } from "@loqa/loqa/models";
 *
 * using device = await openDevice("wasm");
 * await using loaded = await loadCausal(device, "examples/model");
 * const tokenizer = await checkpointTokenizer(loaded.checkpoint);
 * const prompt = tokenizer.encode("Anouk the singer", { addSpecialTokens: false });
 * const [tokens] = await generate(loaded.model, [prompt], { maxNewTokens: 2 });
 * assert.equal(tokenizer.decode(tokens).trim(), "lived near");
 * ```
 */
export async function generate(
  model: CausalModel,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
): Promise<number[][]> {
  const { config } = model;
  const { maxNewTokens, stop = [], seed = 0, onToken } = options;
  const batch = prompts.length;
  const longest = checkPrompts(prompts, config);
  const results: number[][] = prompts.map(() => []);
  const most = Math.min(maxNewTokens, config.maxLength - longest);
  if (batch === 0 || most <= 0) return results;
  const capacity = longest + most;
  using cache = model.cache({ batch, capacity });
  const randoms = prompts.map((_, i) => new Random(seed, `sequence ${i}`));
  // Short prompts are padded in front, so that all end, and go on, at one place.
  const padded = prompts.some((p) => p.length < longest);
  const bounds = padded
    ? prompts.map((p) => [longest - p.length, capacity] as const)
    : undefined;
  const columns = (from: number, to: number): TokenBatch => ({
    ids: prompts.flatMap((p) => {
      const pad = longest - p.length;
      return Array.from(
        { length: to - from },
        (_, t) => from + t < pad ? p[0] : p[from + t - pad],
      );
    }),
    batch,
    time: to - from,
    bounds,
  });

  let from = 0;
  for (; longest - from > CHUNK; from += CHUNK) {
    using tape = new Tape(model.device);
    model.forward(tape, columns(from, from + CHUNK), { cache });
  }
  const done = prompts.map(() => false);
  let tokens = columns(from, longest);
  for (let n = 0; n < most; n++) {
    const logits = await nextLogits(model, tokens, cache);
    const next: number[] = [];
    for (let i = 0; i < batch; i++) {
      const { vocabSize } = config;
      const token = done[i] ? 0 : sample(
        logits.subarray(i * vocabSize, (i + 1) * vocabSize),
        { ...options, random: randoms[i] },
      );
      if (!done[i] && stop.includes(token)) done[i] = true;
      if (!done[i]) {
        results[i].push(token);
        if (await onToken?.(i, token) === true) done[i] = true;
      }
      next.push(token);
    }
    if (done.every((d) => d)) break;
    tokens = { ids: next, batch, time: 1, bounds };
  }
  return results;
}

/** Next-token logits of each sequence, `[batch, vocabulary]`. One readback. */
async function nextLogits(
  model: CausalModel,
  tokens: TokenBatch,
  cache: TokenCache,
): Promise<Float32Array> {
  const { device, config } = model;
  const { batch, time } = tokens;
  using tape = new Tape(device);
  const hidden: Tensor = model.forward(tape, tokens, { cache });
  const last = tape.matrix(batch, hidden.value.cols);
  for (let b = 0; b < batch; b++) {
    device.ops.combine({
      x: rowsOf(hidden.value, (b + 1) * time - 1, 1),
      out: mat(last.buffer, 1, last.cols, b * last.cols),
    });
  }
  const logits = tape.matrix(batch, config.vocabSize);
  model.head.forward(device, last, { y: logits });
  return await readF32(device, logits.buffer, 0, batch * config.vocabSize);
}
