/**
 * Data files as examples, by task.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { fileSource } from "../io/files/deno.ts";
import { quoted } from "../io/files/errors.ts";
import { digest } from "../io/files/digest.ts";
import type { ListedSet } from "../data/list.ts";
import { labelledTexts } from "./head.ts";
import { readClassExamples } from "../data/tasks/classify.ts";
import type { AnyExample, ExampleSet } from "../data/example.ts";
import { Framer, type PairCodec } from "../data/frame.ts";
import type { LabelReader } from "../data/tasks/labels.ts";
import { blocksOf, tokenizeTexts, windowsOf } from "../data/tasks/lm.ts";
import type { OrderOptions } from "./order.ts";
import { readAll } from "../data/records/records.ts";
import { readPairs } from "../data/tasks/pairs.ts";
import { readSpanExamples } from "../data/tasks/qa.ts";
import { readPairExamples } from "../data/tasks/seq2seq.ts";
import { readSquad } from "../data/tasks/squad.ts";
import { readExamples } from "../data/tasks/sft.ts";
import type { TrainOptions } from "./options.ts";

type FileSource = Awaited<ReturnType<typeof fileSource>>;

/** Tokenizers and labels for reading texts into examples. */
export interface ExampleCodecs {
  /** The tokenizer. */
  readonly codec: PairCodec;
  /** The targets' tokenizer, where they have their own (`seq2seq`). */
  readonly targetCodec?: PairCodec;
  /** Size of the model's vocabulary, against which the tokenizer's ids are checked. */
  readonly vocabSize?: number;
  /** Meaning of labels (`classify`). */
  readonly labels?: LabelReader;
}

/** Examples, and their order in an epoch. */
export interface OpenedExamples {
  readonly set: ExampleSet<AnyExample>;
  readonly order: OrderOptions;
  /** SHA-256 of all tokens and labels. */
  readonly digest: string;
  /** Notes for the user: examples that were truncated or dropped. */
  readonly notes?: readonly string[];
}

/**
 * Reads data files into examples. For `lm` the texts become one stream of tokens; in evaluation its blocks stand one
 * after the other, whatever the order of training.
 *
 * @throws {SyntaxError} If a record cannot be used; it names file and line.
 * @throws {RangeError} If there is no example in them.
 */
export async function openExamples(
  files: readonly string[],
  options: TrainOptions,
  { evaluation = false, ...codecs }: ExampleCodecs & { evaluation?: boolean },
): Promise<OpenedExamples> {
  await using stack = new AsyncDisposableStack();
  const sources = [];
  for (const file of files) sources.push(stack.use(await fileSource(file)));
  const { codec } = codecs;
  const { block, task, seed } = options;
  const kind = evaluation ? "sequential" : options.order;
  if (task === "lm") {
    const { tokens } = await tokenizeTexts(
      readAll(sources, { unit: options.unit }),
      { codec, field: options.field },
    );
    if (tokens.length < block) {
      throw new ValueError(
        `Cannot learn from ${
          files.map(quoted).join(", ")
        }: ${tokens.length} tokens in all do not fill one sequence of ${block}; wanted more text or a smaller sequence length`,
      );
    }
    const windows = kind === "random" ? windowsOf(tokens, block) : undefined;
    const set = windows ?? blocksOf(tokens, block);
    return {
      set,
      order: { kind, size: set.size, seed, draws: windows?.draws },
      digest: await digest(tokens),
    };
  }
  const set = task === "sft"
    ? await readExamples(readAll(sources), {
      codec,
      context: block,
      template: options.template,
      learn: options.learn,
      overflow: options.overflow,
    })
    : await listed(files, sources, { options, ...codecs });
  const lost = [
    set.truncated > 0 && `${set.truncated} truncated to ${block} tokens`,
    set.dropped > 0 && `${set.dropped} of more than ${block} tokens dropped`,
  ].filter(Boolean).join(", ");
  return {
    set,
    order: { kind, size: set.size, seed },
    digest: await digestExamples(set),
    notes: [
      ...lost
        ? [`${set.size} examples; ${lost} (the first: ${set.firstLonger})`]
        : [],
      ...set.notes ?? [],
    ],
  };
}

/** Examples of the tasks that are not a language model's. */
async function listed(
  files: readonly string[],
  sources: readonly FileSource[],
  { options, codec, targetCodec, vocabSize, labels }:
    & { options: TrainOptions }
    & ExampleCodecs,
): Promise<ListedSet<AnyExample>> {
  const { block: context, overflow } = options;
  const framer = new Framer(codec, { vocabSize });
  switch (options.task) {
    case "classify":
      return await readClassExamples(labelledTexts(files, options), {
        ...{ framer, context, overflow },
        labels: labels!,
      });
    case "qa":
      return await readSpanExamples(each(sources, readSquad), {
        ...{ framer, context, overflow },
      });
    default:
      return await readPairExamples(each(sources, readPairs), {
        ...{ framer, context, overflow },
        targetFramer: targetCodec && new Framer(targetCodec, { vocabSize }),
      });
  }
}

async function* each<T>(
  sources: readonly FileSource[],
  read: (source: FileSource) => AsyncIterable<T>,
): AsyncGenerator<T> {
  for (const source of sources) yield* read(source);
}

/** SHA-256 over the hashes of the examples. */
async function digestExamples(set: ExampleSet<AnyExample>): Promise<string> {
  const hashes: string[] = [];
  for (let i = 0; i < set.size; i++) {
    hashes.push(await digest(...partsOf(set.example(i))));
  }
  return await digest(hashes.join());
}

/** Arrays of an example. */
function partsOf(example: AnyExample): (Int32Array | string)[] {
  switch (example.kind) {
    case "class":
      return [example.tokens, `${example.label}`];
    case "span":
      return [example.tokens, `${example.start} ${example.end}`];
    case "pair":
      return [example.source, example.target];
    default:
      return [example.tokens, example.labels];
  }
}
