/**
 * Options of beam search, for the verbs that generate with it.
 *
 * @module
 */

import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { generationConfig } from "../models/generate/stop.ts";
import { type WriteOptions, writeOptions } from "../models/generate/seq2seq.ts";
import { type Options, type Parsed, UsageError } from "./args.ts";

const OF_MODEL = "the model's own";

/** The options, by their names on the command line. */
export const WRITING: Options = {
  beams: {
    value: "N",
    default: OF_MODEL,
    help: "beam width: number of beams (BART)",
  },
  "length-penalty": {
    value: "X",
    default: OF_MODEL,
    help:
      "length penalty: exponent of the length that a beam's score is divided by (BART)",
  },
  "early-stopping": {
    value: "NAME",
    default: OF_MODEL,
    help:
      "early stopping: true (stop once --beams sequences are finished), false, never (BART)",
  },
  "no-repeat-ngram": {
    value: "N",
    default: OF_MODEL,
    help: "size of n-grams that must not repeat; 0: none (BART)",
  },
  "min-length": {
    value: "N",
    default: OF_MODEL,
    help: "minimum length of the output, in tokens (BART)",
  },
  "max-length": {
    value: "N",
    default: OF_MODEL,
    help: "maximum length of the output, in tokens (BART)",
  },
};

/** Generation settings: those of a checkpoint's own files, overridden by the command line. */
export async function readWriting(
  args: Parsed,
  checkpoint: Checkpoint,
): Promise<WriteOptions> {
  const own = await generationConfig(checkpoint);
  const given = {
    beams: args.number("beams", { least: 1 }),
    lengthPenalty: args.number("length-penalty", {
      least: -100,
      fraction: true,
    }),
    earlyStopping: earlyStopping(args),
    noRepeatNgram: args.number("no-repeat-ngram", { least: 0 }),
    minLength: args.number("min-length", { least: 0 }),
    maxLength: args.number("max-length", { least: 2 }),
  };
  const known = Object.entries(given).filter(([, v]) => v !== undefined);
  return {
    ...writeOptions(checkpoint, own),
    ...Object.fromEntries(known),
  };
}

function earlyStopping(args: Parsed): boolean | "never" | undefined {
  const value = args.choice("early-stopping", ["true", "false", "never"]);
  return value === undefined || value === "never" ? value : value === "true";
}

/** Refuses the options for models other than encoder-decoders. */
export function refuseWriting(args: Parsed, model: string): void {
  const given = Object.keys(WRITING).find((name) =>
    args.text(name) !== undefined
  );
  if (given === undefined) return;
  throw new UsageError(
    `--${given} is for encoder-decoders (BART), ${model} is another kind of model`,
  );
}
