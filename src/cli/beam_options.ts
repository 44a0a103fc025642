/**
 * Options of beam search, for the verbs that write with it.
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
    help: "sequences that a search follows (BART)",
  },
  "length-penalty": {
    value: "X",
    default: OF_MODEL,
    help: "power of the length that scores are divided by (BART)",
  },
  "early-stopping": {
    value: "NAME",
    default: OF_MODEL,
    help: "true: at so many ends as beams; false, never (BART)",
  },
  "no-repeat-ngram": {
    value: "N",
    default: OF_MODEL,
    help: "runs of N tokens occur once (BART)",
  },
  "min-length": {
    value: "N",
    default: OF_MODEL,
    help: "tokens at the least (BART)",
  },
  "max-length": {
    value: "N",
    default: OF_MODEL,
    help: "tokens at the most (BART)",
  },
};

/** What a checkpoint's own files say of writing, and what the command line says instead. */
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

/** Refuses the options where a model does not write by search. */
export function refuseWriting(args: Parsed, model: string): void {
  const given = Object.keys(WRITING).find((name) =>
    args.text(name) !== undefined
  );
  if (given === undefined) return;
  throw new UsageError(
    `--${given} is for encoder-decoders (BART), ${model} is another kind of model`,
  );
}
