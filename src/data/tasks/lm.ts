/**
 * Language modelling: texts as one stream of tokens, cut into blocks or random windows.
 *
 * @module
 */

import { FormatError, ValueError } from "../../errors.ts";
import { quoted } from "../../io/files/errors.ts";
import { TokenBuffer } from "../codec.ts";
import type { TextCodec } from "../codec.ts";
import type { Example, ExampleSet } from "../example.ts";
import { RecordReader } from "./sft.ts";
import { layoutOf } from "./templates.ts";
import { textField } from "../records/record.ts";
import type { DataRecord } from "../records/record.ts";

/** Options of {@linkcode tokenizeTexts}. */
export interface TokenizeOptions {
  /** The tokenizer. */
  readonly codec: TextCodec;
  /** Field of a record that holds its text ("text"). */
  readonly field?: string;
  /** True if each text gets the special tokens that the tokenizer puts around one (true). */
  readonly addSpecialTokens?: boolean;
}

/** Texts as tokens. */
export interface TokenizedTexts {
  /** The tokens of all texts, the end-of-text token between them where the tokenizer has one. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** Texts that gave tokens. */
  readonly texts: number;
}

/**
 * Turns texts into one stream of tokens. A record without the field that is a conversation, or prompt and answer,
 * gives its text in supervised fine-tuning. Between two texts stands the tokenizer's end-of-text token, once, even if
 * the tokenizer has put it there itself.
 *
 * @throws {SyntaxError} If a record has no text in `field`; it names file and line. If the texts of a file are empty.
 */
export async function tokenizeTexts(
  records: AsyncIterable<DataRecord> | Iterable<DataRecord>,
  { codec, field = "text", addSpecialTokens = true }: TokenizeOptions,
): Promise<TokenizedTexts> {
  const buffer = new TokenBuffer();
  const { eosId } = codec;
  const reader = new RecordReader({ codec });
  let texts = 0;
  const counts = new Map<string, number>();
  for await (const record of records) {
    const isText = Object.hasOwn(record.fields, field) ||
      layoutOf(record) === undefined;
    const all = isText
      ? [codec.encode(textField(record, field), { addSpecialTokens })]
      : Array.from(reader.examples(record), ({ tokens }) => tokens);
    const found = all.reduce((sum, ids) => sum + ids.length, 0);
    counts.set(record.file, (counts.get(record.file) ?? 0) + found);
    for (const ids of all) {
      if (ids.length === 0) continue;
      if (texts > 0 && eosId !== undefined && buffer.last !== eosId) {
        buffer.push([eosId]);
      }
      buffer.push(ids);
      texts++;
    }
  }
  const empty = counts.keys().filter((file) => counts.get(file) === 0)
    .map(quoted).toArray();
  if (empty.length > 0) {
    throw new FormatError(
      `Cannot use ${empty.join(", ")}: no text ${
        empty.length > 1 ? "in them" : "in it"
      } has a token`,
    );
  }
  return { tokens: buffer.tokens(), texts };
}

function checkBlock(tokens: Int32Array, block: number): void {
  if (!Number.isInteger(block) || block < 2) {
    throw new ValueError(
      `Cannot cut tokens into sequences: wanted a length of 2 or more, got ${block}`,
    );
  }
  if (tokens.length < block) {
    throw new ValueError(
      `Cannot cut tokens into sequences: wanted at least one of ${block}, got ${tokens.length} tokens in all`,
    );
  }
}

function exampleAt(tokens: Int32Array, start: number, block: number): Example {
  const own = tokens.slice(start, start + block);
  return { tokens: own, labels: own };
}

function checkIndex(index: number, size: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= size) {
    throw new ValueError(
      `Cannot take example ${index}: wanted one of 0 to ${size - 1}`,
    );
  }
}

/** Blocks that do not overlap, and the number of tokens left over. */
export interface BlockSet extends ExampleSet {
  /** Tokens at the end that fill no block. */
  readonly dropped: number;
}

/**
 * `tokens` as blocks of `block` tokens one after the other; every token is learnt but each block's first.
 *
 * @throws {RangeError} If they fill none.
 */
export function blocksOf(tokens: Int32Array, block: number): BlockSet {
  checkBlock(tokens, block);
  const size = Math.floor(tokens.length / block);
  return {
    size,
    dropped: tokens.length - size * block,
    example(index) {
      checkIndex(index, size);
      return exampleAt(tokens, index * block, block);
    },
  };
}

/** Windows that may begin at any token. */
export interface WindowSet extends ExampleSet {
  /** Windows that make up an epoch: as many as there are blocks. */
  readonly draws: number;
}

/**
 * Every window of `block` tokens in `tokens`, for a random order (`DataOrder` of kind "random").
 *
 * @throws {RangeError} If there is none.
 */
export function windowsOf(tokens: Int32Array, block: number): WindowSet {
  checkBlock(tokens, block);
  const size = tokens.length - block + 1;
  return {
    size,
    draws: Math.floor(tokens.length / block),
    example(index) {
      checkIndex(index, size);
      return exampleAt(tokens, index, block);
    },
  };
}
