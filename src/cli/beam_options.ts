/**
 * Options of beam search, for the verbs that generate with it.
 *
 * @module
 */

import type { WriteOptions } from "../models/generate/seq2seq.ts";
import { choice, integer, number, type Values } from "./options.ts";

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

/** Settings of beam search that the command line gives. */
export function writingOf(
  { beams, lengthPenalty, earlyStopping, ...values }: Values<typeof WRITING>,
): Partial<WriteOptions> {
  const { noRepeatNgram, minLength, maxLength } = values;
  const given = {
    ...{ beams, lengthPenalty, noRepeatNgram, minLength, maxLength },
    earlyStopping: earlyStopping === "never" || earlyStopping === undefined
      ? earlyStopping
      : earlyStopping === "true",
  };
  return Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  );
}
