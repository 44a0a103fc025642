/**
 * Text that a model is calibrated on, as tokens.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { fileSource } from "../io/files/deno.ts";
import { type DataRecord, textField } from "../data/records/record.ts";
import { readRecords } from "../data/records/records.ts";
import { checkpointTokenizer } from "../io/open_tokenizer.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { familyOf } from "../models/families.ts";

/** Characters of a token on average, at the very most. */
const LONGEST_TOKEN = 16;

/**
 * Sequences of `block` tokens from the start of text files, `tokens` together at the most; an encoder's with special
 * tokens around them.
 *
 * @throws {RangeError} If the text has not enough tokens for one.
 * @throws {TypeError} If the model is an encoder-decoder, which wants pairs of texts.
 */
export async function calibrationSequences(
  checkpoint: Checkpoint,
  files: readonly string[],
  { tokens, block, examples }: {
    tokens: number;
    block?: number;
    /** Tokens of a record that has no text, a conversation's, where it is one that is known. */
    examples?: (
      record: DataRecord,
      tokenizer: Tokenizer,
    ) => Iterable<ArrayLike<number>> | undefined;
  },
): Promise<Int32Array[]> {
  const family = familyOf(checkpoint);
  if (family.kind === "seq2seq") {
    throw new KindError(
      `Cannot calibrate ${checkpoint.name}: an encoder-decoder (seq2seq) wants source/target pairs`,
    );
  }
  const length = block ??
    Math.min(512, family.config(checkpoint).maxLength, tokens);
  const tokenizer = await checkpointTokenizer(checkpoint);
  const frame = family.kind === "encoder" ? [...tokenizer.encode("")] : [];
  // An encoder's tokenizer puts one token before a text and one after it.
  const [before, after] = [frame.slice(0, 1), frame.slice(1)];
  const inner = length - frame.length;
  const options = { addSpecialTokens: family.kind !== "encoder" };
  const found: number[] = [];
  for (const file of files) {
    await using source = await fileSource(file);
    for await (const record of readRecords(source, { unit: "file" })) {
      const known = Object.hasOwn(record.fields, "text")
        ? undefined
        : examples?.(record, tokenizer);
      if (known) {
        for (const ids of known) found.push(...Array.from(ids));
        if (found.length >= tokens) break;
        continue;
      }
      const text = textField(record, "text").slice(0, tokens * LONGEST_TOKEN);
      for (const id of tokenizer.encode(text, options)) found.push(id);
      if (found.length >= tokens) break;
    }
  }
  const count = inner < 1
    ? 0
    : Math.floor(Math.min(found.length, tokens) / inner);
  if (count === 0) {
    throw new ValueError(
      `Cannot calibrate: wanted at least ${length} tokens, ${
        files.join(", ")
      } gave ${found.length}`,
    );
  }
  return Array.from(
    { length: count },
    (_, i) =>
      Int32Array.from([
        ...before,
        ...found.slice(i * inner, (i + 1) * inner),
        ...after,
      ]),
  );
}
