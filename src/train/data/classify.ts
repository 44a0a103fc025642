/**
 * Classification and regression: labelled texts as examples.
 *
 * @module
 */

import type { ClassExample } from "./example.ts";
import type { Framer } from "./frame.ts";
import type { LabelledText } from "./labelled.ts";
import type { LabelReader } from "./labels.ts";
import { ExampleList } from "./list.ts";
import type { ListedSet } from "./list.ts";
import type { Overflow } from "./sft.ts";

/** Options of {@linkcode readClassExamples}. */
export interface ClassifyOptions {
  /** The tokenizer, held against the model's vocabulary. */
  readonly framer: Framer;
  /** Tokens of an example at most. */
  readonly context: number;
  /** What the labels mean. */
  readonly labels: LabelReader;
  /** What is done with longer examples ("truncate"). */
  readonly overflow?: Overflow;
}

/**
 * Reads labelled texts into examples.
 *
 * @throws {SyntaxError} If a label is none of those that there are, or, with `overflow` "error", an example is longer
 * than the context; it names file and line.
 * @throws {RangeError} If no record gives an example, or the tokenizer is another model's.
 */
export async function readClassExamples(
  texts: AsyncIterable<LabelledText> | Iterable<LabelledText>,
  { framer, context, labels, overflow = "truncate" }: ClassifyOptions,
): Promise<ListedSet<ClassExample>> {
  const list = new ExampleList<ClassExample>(overflow);
  for await (const text of texts) {
    const { record } = text;
    const label = labels.read(record, text.label);
    const { tokens, typeIds, length } = framer.fit(text, context);
    if (!list.takes(record, { length, most: context })) continue;
    list.add({ kind: "class", tokens, typeIds, label });
  }
  return list.set();
}
