/**
 * Calibration inputs of a model from files of texts, conversations or pairs.
 *
 * @module
 */

import { pairsIn } from "../data/pair_files.ts";
import type { ModelInputs } from "./model.ts";
import { calibrationSequences } from "./text.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import type { DataRecord } from "../data/records/record.ts";
import { checkpointTokenizer } from "../io/open_tokenizer.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { familyOf } from "../models/families.ts";
import { Framer } from "../data/frame.ts";
import { RecordReader } from "../data/tasks/sft.ts";
import { layoutOf } from "../data/tasks/templates.ts";
import { readPairExamples } from "../data/tasks/seq2seq.ts";

/** Amount that is taken of the files. */
export interface CalibrationAmount {
  /** Tokens at the most, of both texts of a pair. */
  readonly tokens: number;
  /** Tokens that the model sees together. */
  readonly block?: number;
}

/**
 * Sequences from texts, or, for an encoder-decoder (seq2seq), source/target pairs from the files that it is trained on.
 *
 * @throws {RangeError} If the files hold too little.
 * @throws {SyntaxError} If pairs cannot be read; it names file and line.
 */
export async function calibrationInputs(
  checkpoint: Checkpoint,
  files: readonly string[],
  { tokens, block }: CalibrationAmount,
): Promise<ModelInputs> {
  const family = familyOf(checkpoint);
  if (family.kind !== "seq2seq") {
    return {
      sequences: await calibrationSequences(checkpoint, files, {
        tokens,
        block,
        examples: exampleTokens(),
      }),
    };
  }
  const framer = new Framer(await checkpointTokenizer(checkpoint));
  const targetFramer = new Framer(
    await checkpointTokenizer(checkpoint, { side: "target" }),
  );
  const set = await readPairExamples(some(files, tokens), {
    ...{ framer, targetFramer },
    context: Math.min(block ?? Infinity, family.config(checkpoint).maxLength),
  });
  const pairs = [];
  let left = tokens;
  for (let i = 0; i < set.size; i++) {
    const pair = set.example(i);
    left -= pair.source.length + pair.target.length;
    if (left < 0 && pairs.length > 0) break;
    pairs.push(pair);
  }
  return { pairs };
}

/** Tokens of conversations, and of prompts with their answers, as training has them. */
function exampleTokens() {
  let reader: RecordReader | undefined;
  return (record: DataRecord, codec: Tokenizer) => {
    if (layoutOf(record) === undefined) return undefined;
    reader ??= new RecordReader({ codec });
    return Array.from(reader.examples(record), ({ tokens }) => tokens);
  };
}

/** The first pairs of files: no more than there could be room for. */
async function* some(files: readonly string[], most: number) {
  let count = 0;
  for (const file of files) {
    for await (const pair of pairsIn(file)) {
      if (count++ >= most) return;
      yield pair;
    }
  }
}
