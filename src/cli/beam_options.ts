/**
 * Options of beam search, for the verbs that generate with it.
 *
 * @module
 */

import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { generationConfig } from "../models/generate/stop.ts";
import { type WriteOptions, writeOptions } from "../models/generate/seq2seq.ts";
import {
  camel,
  choice,
  integer,
  number,
  UsageError,
  type Values,
} from "./options.ts";

const OF_MODEL = { otherwise: "the model's own" };

/** The options, by their names on the command line. */
export const WRITING = {
  beams: integer({
    ...OF_MODEL,
    least: 1,
    help: "beam width: number of beams (BART)",
  }),
  "length-penalty": number({
    ...OF_MODEL,
    least: -100,
    help:
      "length penalty: exponent of the length that a beam's score is divided by (BART)",
  }),
  "early-stopping": choice(["true", "false", "never"], {
    ...OF_MODEL,
    notes: { true: "stop once --beams sequences are finished" },
    help: "early stopping (BART)",
  }),
  "no-repeat-ngram": integer({
    ...OF_MODEL,
    least: 0,
    help: "size of n-grams that must not repeat; 0: none (BART)",
  }),
  "min-length": integer({
    ...OF_MODEL,
    least: 0,
    help: "minimum length of the output, in tokens (BART)",
  }),
  "max-length": integer({
    ...OF_MODEL,
    least: 2,
    help: "maximum length of the output, in tokens (BART)",
  }),
};

type Writing = Values<typeof WRITING>;

/** Generation settings: those of a checkpoint's own files, overridden by the command line. */
export async function readWriting(
  { beams, lengthPenalty, earlyStopping, noRepeatNgram, ...lengths }: Writing,
  checkpoint: Checkpoint,
): Promise<WriteOptions> {
  const given = {
    ...{ beams, lengthPenalty, noRepeatNgram },
    minLength: lengths.minLength,
    maxLength: lengths.maxLength,
    earlyStopping: earlyStopping === "never" || earlyStopping === undefined
      ? earlyStopping
      : earlyStopping === "true",
  };
  return {
    ...writeOptions(checkpoint, await generationConfig(checkpoint)),
    ...Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined),
    ),
  };
}

/** Refuses the options for models other than encoder-decoders. */
export function refuseWriting(values: Writing, model: string): void {
  const given = Object.keys(WRITING).find((name) =>
    values[camel(name) as keyof Writing] !== undefined
  );
  if (given === undefined) return;
  throw new UsageError(
    `--${given} is for encoder-decoders (BART), ${model} is another kind of model`,
  );
}
