/**
 * Classification and regression: labelled texts as examples.
 *
 * @module
 */

import type { ClassExample } from "../example.ts";
import type { Framer } from "../frame.ts";
import type { LabelledText } from "./labelled.ts";
import { LABELLED_SETS } from "./glue.ts";
import type { LabelledSetName } from "./glue.ts";
import { areNumbers, classesOf, labelReader } from "./labels.ts";
import type { ClassLabels, LabelReader, NumberLabels } from "./labels.ts";
import { ExampleList, type ListedSet, type Overflow } from "../list.ts";

/** Source of a label's meaning: a data set, the model's names. */
export interface LabelSource {
  /** The data set, if it is one that is known. */
  readonly set?: LabelledSetName;
  /** Names of the model's classes in its order, where it has a head; one for a regression head. */
  readonly model?: readonly string[];
  /** True if labels are regression targets, not classes; by default as the data set or the model has it. */
  readonly regression?: boolean;
}

/**
 * The reader of the labels of `texts`: those of a known data set; or the model's own names; or, without either, the
 * classes of the labels themselves (`classesOf`).
 *
 * @throws {RangeError} If the model has another number of classes, or the labels make none.
 * @throws {TypeError} If the model names its classes otherwise.
 */
export function labelsOf(
  texts: readonly LabelledText[],
  { set, model, regression = model?.length === 1 }: LabelSource = {},
): LabelReader {
  const what = set ?? "these data";
  const labels = set
    ? LABELLED_SETS[set].labels
    : ownLabels(texts, { model, regression });
  return labelReader(labels, { what, model });
}

function ownLabels(
  texts: readonly LabelledText[],
  { model, regression }: Omit<LabelSource, "set">,
): ClassLabels | NumberLabels {
  if (regression) return { range: [-Infinity, Infinity] };
  if (model && !areNumbers(model)) return { names: model };
  const found = classesOf(texts.map(({ label }) => label));
  // Numbers may leave classes of the model out; one beyond them is refused with its line when it is read.
  return model && areNumbers(found.names)
    ? { names: model.map((_, i) => `${i}`) }
    : found;
}

/** Options of {@linkcode readClassExamples}. */
export interface ClassifyOptions {
  /** The tokenizer, held against the model's vocabulary. */
  readonly framer: Framer;
  /** Tokens of an example at most. */
  readonly context: number;
  /** Reader of the labels. */
  readonly labels: LabelReader;
  /** Treatment of longer examples ("truncate"). */
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
