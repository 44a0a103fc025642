/**
 * Supervised fine-tuning: records as examples whose answers are learnt and whose prompts are not.
 *
 * @module
 */

import {
  checkName,
  checkOptions,
  describe,
  type OptionTable,
} from "../../arguments.ts";
import { KindError, ValueError } from "../../errors.ts";
import type { ByteSource } from "../../io/files/bytes.ts";
import { quoted } from "../../io/files/errors.ts";
import { isObject } from "../../io/files/json.ts";
import {
  type DataRecord,
  kindOf,
  placeOf,
  recordError,
} from "../records/record.ts";
import { readRecords } from "../records/records.ts";
import { ChatLabeller, type Learn } from "../chat/labels.ts";
import { commonPrefix, type TextCodec } from "../codec.ts";
import { type Example, IGNORED, lossCount } from "../example.ts";
import {
  ExampleList,
  type ListedSet,
  type Overflow,
  OVERFLOWS,
} from "../list.ts";
import {
  applyTemplate,
  detectTemplate,
  type Filled,
  type TemplateName,
  TEMPLATES,
  unusedFields,
} from "./templates.ts";

/** Names of the answers that may be learnt. */
export const LEARNS: readonly Learn[] = ["all", "last"];

/** Options of turning records into texts with answers. */
export interface RecordOptions {
  /** The tokenizer. */
  readonly codec: TextCodec;
  /** Template of a record's text; by default by its fields. */
  readonly template?: TemplateName;
  /** Answers of a conversation that are learnt ("all"). */
  readonly learn?: Learn;
}

/** Options of {@linkcode readExamples}. */
export interface SftOptions extends RecordOptions {
  /** Tokens of an example at most. */
  readonly context: number;
  /** Treatment of longer examples ("drop"). */
  readonly overflow?: Overflow;
}

const SFT_OPTIONS: OptionTable<SftOptions> = {
  codec: true,
  context: true,
  template: false,
  learn: false,
  overflow: false,
};

/** Source of records: objects or records in memory or one by one, or a data file. */
export type RecordsSource =
  | AsyncIterable<DataRecord | object>
  | Iterable<DataRecord | object>
  | ByteSource;

/** A text with its tokens. */
export interface LabelledExample extends Example {
  /** Its parts. */
  readonly filled: Filled;
}

/** Makes examples of records one by one. */
export class RecordReader {
  readonly #options: RecordOptions;
  readonly #unused = new Map<string, string>();
  #labeller?: ChatLabeller;

  /** Begins with a tokenizer. */
  constructor(options: RecordOptions) {
    this.#options = options;
  }

  /**
   * The examples of a record: one, or one for each answer.
   *
   * @throws {SyntaxError} If it cannot be used; it names file and line.
   * @throws {TypeError} If it is a conversation and the tokenizer has no chat template.
   */
  *examples(record: DataRecord): Generator<LabelledExample> {
    const { codec, learn } = this.#options;
    const template = this.#options.template ?? detectTemplate(record);
    for (const name of unusedFields(record, template)) {
      if (!this.#unused.has(name)) this.#unused.set(name, placeOf(record));
    }
    if (template === "chat") {
      this.#labeller ??= new ChatLabeller(codec);
      for (const filled of this.#labeller.label(record, learn)) {
        yield { filled, ...encodeFilled(filled, codec) };
      }
      return;
    }
    const filled = applyTemplate(record, { template });
    if (!filled.segments.some(({ text, learnt }) => learnt && text !== "")) {
      throw recordError(record, "wanted an answer, got an empty one");
    }
    yield { filled, ...encodeFilled(filled, codec) };
  }

  /** Notes on the records that were skipped. */
  get notes(): string[] {
    return Array.from(
      this.#unused,
      ([name, place]) =>
        `field ${quoted(name)} is not used (the first: ${place})`,
    );
  }
}

/** Character ranges of a text's learnt parts. */
function learntRanges({ segments }: Filled): (readonly [number, number])[] {
  const ranges: (readonly [number, number])[] = [];
  let at = 0;
  for (const { text, learnt } of segments) {
    if (learnt && text !== "") ranges.push([at, at + text.length]);
    at += text.length;
  }
  return ranges;
}

/**
 * Tokens and labels of a text in parts.
 *
 * The text is encoded as a whole. A token is learnt if its range has a character of a learnt part, so that one across a
 * border is learnt. Where the tokenizer gives no character ranges, a part begins where the encoding of all before it
 * departs from that of the whole.
 */
export function encodeFilled(filled: Filled, codec: TextCodec): Example {
  const { segments, complete, addEnd: wantsEnd = !complete } = filled;
  const options = { addSpecialTokens: !complete };
  const text = segments.map((segment) => segment.text).join("");
  const placed = codec.encodeOffsets?.(text, options);
  const ids = placed?.ids ?? codec.encode(text, options);
  const { eosId } = codec;
  const addEnd = wantsEnd && eosId !== undefined &&
    ids[ids.length - 1] !== eosId;
  const tokens = new Int32Array(ids.length + (addEnd ? 1 : 0));
  tokens.set(ids);
  if (addEnd) tokens[ids.length] = eosId;
  const labels = new Int32Array(tokens.length).fill(IGNORED);
  const ranges = learntRanges(filled);
  const isBlurred = (at: number) =>
    placed!.blurred.some(([from, to]) => from < at && at < to);
  if (placed && !ranges.flat().some(isBlurred)) {
    const { starts, ends } = placed;
    let t = 0;
    for (const [from, to] of ranges) {
      while (t < ids.length && ends[t] <= from && starts[t] < from) t++;
      for (; t < ids.length && starts[t] < to; t++) {
        if (ends[t] > from) labels[t] = ids[t];
      }
    }
  } else {
    const at = (end: number) =>
      end === text.length
        ? ids.length
        : commonPrefix(codec.encode(text.slice(0, end), options), tokens);
    for (const [from, to] of ranges) {
      const first = at(from);
      labels.set(tokens.subarray(first, at(to)), first);
    }
  }
  // Tokens that the tokenizer or the end of the answer puts behind the text are the answer's.
  if (ranges.at(-1)?.[1] === text.length || wantsEnd) {
    for (let t = tokens.length - 1; t >= 0; t--) {
      const behind = t >= ids.length ||
        (placed && t > 0 && placed.starts[t] >= text.length);
      if (!behind) break;
      labels[t] = tokens[t];
    }
  }
  return { tokens, labels };
}

function isFile(source: RecordsSource): source is ByteSource {
  return typeof source === "object" && source !== null && "read" in source &&
    "size" in source;
}

/**
 * The records of a source: objects get a number for a place.
 *
 * @throws {SyntaxError} If one cannot be read, or is no object.
 * @throws {TypeError} If it is none.
 */
export async function* recordsOf(
  source: RecordsSource,
): AsyncGenerator<DataRecord> {
  if (isFile(source)) {
    yield* readRecords(source);
    return;
  }
  if (
    typeof source !== "object" || source === null ||
    !(Symbol.iterator in source || Symbol.asyncIterator in source)
  ) {
    throw new KindError(
      `Cannot read records: wanted a list, an iterable or a file (fileSource("train.jsonl")), got ${
        describe(source)
      }`,
    );
  }
  let row = 0;
  for await (const record of source) {
    row++;
    if (!isObject(record)) {
      throw recordError(
        { file: "data", row },
        `wanted an object, got ${kindOf(record)}`,
      );
    }
    const { fields, file } = record;
    yield isObject(fields) && typeof file === "string"
      ? record as unknown as DataRecord
      : { fields: record, file: "data", row };
  }
}

/**
 * Reads records into examples: conversations through the tokenizer's chat template, pairs of prompt and answer with the
 * tokenizer's end-of-text token behind the answer. Records may be objects in memory, come one by one, or be a data
 * file's (`source`, as `fileSource` of `@loqa/loqa/files` or `bytesSource` of `@loqa/loqa` make one).
 *
 * @example
 * ```ts
 * import { checkpointTokenizer, openCheckpoint } from "@loqa/loqa/files";
 * import { readExamples } from "@loqa/loqa/train";
 *
 * await using model = await openCheckpoint("examples/model");
 * const codec = await checkpointTokenizer(model);
 * const records = [{ prompt: "Who sings?", completion: " Anouk." }];
 * const examples = await readExamples(records, { codec, context: 512 });
 * for (let i = 0; i < examples.size; i++) {
 *   const { tokens, labels } = examples.example(i); // labels are -100 where nothing is learnt
 *   console.log(codec.decode(tokens), labels);
 * }
 * ```
 *
 * @throws {SyntaxError} If a record fits no layout, its answer is empty, or, with `overflow` "error", it is longer than
 *   the context; it names file and line.
 * @throws {RangeError} If no record gives an example, or an option is none of those there are.
 * @throws {TypeError} If the source or the options are none.
 */
export async function readExamples(
  source: RecordsSource,
  given: SftOptions,
): Promise<ListedSet<Example>> {
  const what = "read examples";
  checkOptions(what, given, SFT_OPTIONS);
  const { context, overflow = "drop", ...options } = given;
  for (
    const [option, names] of [
      ["overflow", OVERFLOWS],
      ["learn", LEARNS],
      ["template", TEMPLATES],
    ] as const
  ) checkName(what, option, { given: given[option], names });
  if (!Number.isInteger(context) || context < 2) {
    throw new ValueError(
      `Cannot read examples: wanted a context of 2 tokens or more, got ${context}`,
    );
  }
  const list = new ExampleList<Example>(overflow);
  const reader = new RecordReader(options);
  for await (const record of recordsOf(source)) {
    for (const { tokens, labels } of reader.examples(record)) {
      const { length } = tokens;
      if (!list.takes(record, { length, most: context })) break;
      const example = {
        tokens: tokens.slice(0, context),
        labels: labels.slice(0, context),
      };
      if (lossCount(example.labels) === 0) {
        if (length <= context) {
          throw recordError(record, "nothing of its answer gives a token");
        }
        list.drop(record);
        break;
      }
      list.add(example);
    }
  }
  return { ...list.set(context), notes: reader.notes };
}
