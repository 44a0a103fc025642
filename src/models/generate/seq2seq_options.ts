/**
 * Generation settings of encoder-decoders, and those of a model's own files.
 *
 * @module
 */

import { OptionError, ValueError } from "../../errors.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import type { BeamOptions } from "./beam.ts";
import { type ConfigJson, ConfigReader } from "../../families/config_reader.ts";
import type { Model, Seq2SeqModel } from "../model.ts";
import { generationConfig } from "./stop.ts";

/** Generation settings; the names and meanings are those of transformers' generation config. */
export interface WriteOptions extends BeamOptions {
  /** N-gram size (`no_repeat_ngram_size`): n-grams of this size occur once at the most; 0 for no such rule. */
  readonly noRepeatNgram: number;
  /** Minimum length (`min_length`): tokens before the one that ends a sequence, the first one included. */
  readonly minLength: number;
  /** Decoder start token id; the model's own without it. */
  readonly start?: number;
  /** Forced BOS token id: the token right after the first one. */
  readonly forcedBos?: number;
  /** Forced EOS token ids: one of them ends a sequence of the maximum length. */
  readonly forcedEos?: readonly number[];
}

/** Defaults of `generate` of transformers, where neither a model nor a caller says otherwise. */
export const WRITE_DEFAULTS: WriteOptions = {
  beams: 1,
  lengthPenalty: 1,
  earlyStopping: false,
  // 20 besides the first one.
  maxLength: 21,
  eos: [],
  noRepeatNgram: 0,
  minLength: 0,
};

/** Defaults of a BART's config.json. */
const UNSAID: ConfigJson = {
  "bos_token_id": 0,
  "eos_token_id": 2,
  "decoder_start_token_id": 2,
  "forced_eos_token_id": 2,
};

/** Settings that would change the output and are not supported here, with the values that change nothing. */
const OTHERS: Readonly<Record<string, unknown>> = {
  "do_sample": false,
  "num_return_sequences": 1,
  "num_beam_groups": 1,
  "diversity_penalty": 0,
  "repetition_penalty": 1,
  "encoder_repetition_penalty": 1,
  "encoder_no_repeat_ngram_size": 0,
  "renormalize_logits": false,
  "guidance_scale": 1,
  "bad_words_ids": [],
  "force_words_ids": [],
  "constraints": [],
  "suppress_tokens": [],
  "begin_suppress_tokens": [],
  "forced_decoder_ids": [],
  "sequence_bias": [],
  "stop_strings": [],
  "exponential_decay_length_penalty": [],
};

/**
 * The settings of a model: those of its generation_config.json, or those in its config.json where it has no such file.
 *
 * @param generation The contents of generation_config.json.
 * @throws {TypeError} If they ask for something that is not supported; the error lists all that is.
 * @throws {SyntaxError} If a value is of the wrong kind.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { writeOptions } from "@loqa/loqa/models";
 *
 * const config = { model_type: "bart", decoder_start_token_id: 2, eos_token_id: 2 };
 * const options = writeOptions({ config, name: "a BART" }, { num_beams: 4, max_length: 60 });
 * assert.deepEqual([options.beams, options.maxLength], [4, 60]);
 * ```
 */
export function writeOptions(
  { config, name }: Pick<Checkpoint, "config" | "name">,
  generation?: ConfigJson,
): WriteOptions {
  const read = generation
    ? new ConfigReader(generation, name, { file: "generation_config.json" })
    : new ConfigReader({ ...UNSAID, ...config }, name);
  refuseOthers(read);
  const start = WRITE_DEFAULTS;
  const token = (key: string): number | undefined =>
    read.get(key) === undefined ? undefined : read.whole(key, undefined, 0);
  const newTokens = (key: string): number | undefined => {
    const count = token(key);
    return count === undefined ? undefined : count + 1;
  };
  return {
    beams: read.whole("num_beams", start.beams),
    lengthPenalty: read.number(
      "length_penalty",
      start.lengthPenalty,
      -Infinity,
    ),
    earlyStopping: read.get("early_stopping") === "never"
      ? "never"
      : read.flag("early_stopping", false),
    maxLength: newTokens("max_new_tokens") ?? token("max_length") ??
      Math.min(
        start.maxLength,
        new ConfigReader(config, name).whole("max_position_embeddings", 1024),
      ),
    eos: read.tokens("eos_token_id"),
    noRepeatNgram: read.whole("no_repeat_ngram_size", start.noRepeatNgram, 0),
    minLength: newTokens("min_new_tokens") ??
      read.whole("min_length", start.minLength, 0),
    start: token("decoder_start_token_id") ?? token("bos_token_id"),
    forcedBos: token("forced_bos_token_id"),
    forcedEos: read.get("forced_eos_token_id") === undefined
      ? undefined
      : read.tokens("forced_eos_token_id"),
  };
}

/**
 * The settings of a model of any kind: those of its own files, overridden by `given`; undefined if it does no beam search.
 *
 * @throws {RangeError} If settings are given and it does none.
 * @throws {TypeError} As {@linkcode writeOptions}.
 */
export async function modelWriting(
  { kind, checkpoint }: {
    readonly kind: Model["kind"];
    readonly checkpoint: Checkpoint;
  },
  given: Partial<WriteOptions> = {},
): Promise<WriteOptions | undefined> {
  if (kind === "seq2seq") {
    return {
      ...writeOptions(checkpoint, await generationConfig(checkpoint)),
      ...given,
    };
  }
  const [name] = Object.keys(given);
  if (name === undefined) return undefined;
  throw new OptionError(
    `Cannot generate by beam search (${name}) with ${checkpoint.name}: wanted an encoder-decoder (BART), got another kind of model`,
  );
}

function refuseOthers(read: ConfigReader): void {
  const asked = Object.entries(OTHERS).flatMap(([key, neutral]) => {
    const value = read.get(key);
    const is = JSON.stringify(value);
    return value === undefined || is === JSON.stringify(neutral)
      ? []
      : [`${key} ${is}`];
  });
  if (asked.length > 0) {
    read.refuse(`generation with ${asked.join(", ")} is not supported`);
  }
}

/**
 * Checks that a model can generate with these settings.
 *
 * @throws {RangeError} If it cannot.
 */
export function checkWriting(
  { config }: Pick<Seq2SeqModel, "config">,
  options: WriteOptions,
): void {
  const { beams, maxLength, minLength, noRepeatNgram } = options;
  const wrong = (what: string): never => {
    throw new ValueError(`Cannot generate: ${what}`);
  };
  for (
    const [name, value, least] of [
      ["the beam width", beams, 1],
      ["the maximum length", maxLength, 2],
      ["the minimum length", minLength, 0],
      ["the size of n-grams that must not repeat", noRepeatNgram, 0],
    ] as const
  ) {
    if (!Number.isInteger(value) || value < least) {
      wrong(`${name} must be a whole number >= ${least}, got ${value}`);
    }
  }
  if (!Number.isFinite(options.lengthPenalty)) {
    wrong(`the length penalty must be a number, got ${options.lengthPenalty}`);
  }
  if (minLength > maxLength) {
    wrong(`the minimum length ${minLength} is above the maximum, ${maxLength}`);
  }
  // The last token is written, not read.
  if (maxLength - 1 > config.maxLength) {
    wrong(
      `the maximum length ${maxLength} is beyond the model's context of ${config.maxLength}`,
    );
  }
  const { start, forcedBos, forcedEos = [] } = options;
  const unknown = [start, forcedBos, ...forcedEos].find((id) =>
    id !== undefined &&
    !(Number.isInteger(id) && id >= 0 && id < config.vocabSize)
  );
  if (unknown !== undefined) {
    wrong(
      `the token ${unknown} is not in the model's vocabulary of ${config.vocabSize}`,
    );
  }
  if (options.forcedEos?.length === 0) {
    wrong("no forced end token is given for a sequence of the maximum length");
  }
}
