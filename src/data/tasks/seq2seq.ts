/**
 * Pairs of texts as examples of models that read one sequence and write another.
 *
 * @module
 */

import type { PairExample } from "../example.ts";
import type { Framer } from "../frame.ts";
import { ExampleList, type ListedSet, type Overflow } from "../list.ts";
import type { TextPair } from "./pairs.ts";

/** Options of {@linkcode readPairExamples}. */
export interface Seq2SeqOptions {
  /** The tokenizer, held against the model's vocabulary. */
  readonly framer: Framer;
  /** The targets' tokenizer, where they have their own. */
  readonly targetFramer?: Framer;
  /** Tokens of a source at most. */
  readonly context: number;
  /** Tokens of a target at most; by default as of a source. */
  readonly targetContext?: number;
  /** Treatment of longer ones ("truncate"). */
  readonly overflow?: Overflow;
}

/**
 * Reads pairs into examples. Targets have the special tokens that the tokenizer puts around a text, as transformers'
 * labels have; the decoder start token is the batch's affair.
 *
 * @throws {SyntaxError} If, with `overflow` "error", a text is longer than it may be; it names file and line.
 * @throws {RangeError} If there is no example, or the tokenizer is another model's.
 */
export async function readPairExamples(
  pairs: AsyncIterable<TextPair> | Iterable<TextPair>,
  options: Seq2SeqOptions,
): Promise<ListedSet<PairExample>> {
  const { framer, targetFramer = framer, context } = options;
  const { targetContext = context, overflow = "truncate" } = options;
  const list = new ExampleList<PairExample>(overflow);
  for await (const { source, target, record } of pairs) {
    const read = framer.fit({ first: source }, context);
    const written = targetFramer.fit({ first: target }, targetContext);
    const taken = list.takes(
      record,
      { length: read.length, most: context, what: "the source" },
      { length: written.length, most: targetContext, what: "the target" },
    );
    if (!taken) continue;
    list.add({ kind: "pair", source: read.tokens, target: written.tokens });
  }
  return list.set();
}
