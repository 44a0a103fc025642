/**
 * Supervised fine-tuning: records as examples whose answers are learnt and whose prompts are not.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { commonPrefix } from "./codec.ts";
import type { TextCodec } from "./codec.ts";
import { IGNORED, lossCount } from "./example.ts";
import type { Example } from "./example.ts";
import { ExampleList, type ListedSet, type Overflow } from "./list.ts";
import { recordError } from "../../io/records/record.ts";
import type { DataRecord } from "../../io/records/record.ts";
import { applyTemplate, detectTemplate } from "./templates.ts";
import type { Filled, TemplateName } from "./templates.ts";

/** Options of {@linkcode readExamples}. */
export interface SftOptions {
  /** The tokenizer. */
  readonly codec: TextCodec;
  /** Tokens of an example at most. */
  readonly context: number;
  /** How a record becomes a text; by its fields unless told. */
  readonly template?: TemplateName;
  /** What is done with longer examples ("truncate"). */
  readonly overflow?: Overflow;
}

/**
 * Tokens and labels of a text in parts.
 *
 * The text is encoded as a whole. A part begins where the encoding of all before it departs from that of the
 * whole: where the tokenizer's tokens end with the part, that is the usual "mask the length of the prompt"; where
 * one spans its border, it counts to the part behind.
 */
export function encodeFilled(
  { segments, complete }: Filled,
  codec: TextCodec,
): Example {
  const options = { addSpecialTokens: !complete };
  const text = segments.map((segment) => segment.text).join("");
  const ids = codec.encode(text, options);
  const { eosId } = codec;
  const addEnd = !complete && eosId !== undefined &&
    ids[ids.length - 1] !== eosId;
  const tokens = new Int32Array(ids.length + (addEnd ? 1 : 0));
  tokens.set(ids);
  if (addEnd) tokens[ids.length] = eosId;
  const labels = new Int32Array(tokens.length).fill(IGNORED);
  let end = 0;
  let from = 0;
  for (const [i, segment] of segments.entries()) {
    end += segment.text.length;
    const to = i === segments.length - 1
      ? tokens.length
      : commonPrefix(codec.encode(text.slice(0, end), options), tokens);
    if (segment.learnt) labels.set(tokens.subarray(from, to), from);
    from = to;
  }
  return { tokens, labels };
}

/**
 * Reads records into examples. Where there is no chat template, the tokenizer's end-of-text token is added to the
 * answer and learnt.
 *
 * @throws {SyntaxError} If a record does not fit the template, its answer is empty, or it is longer than the
 * context and either `overflow` is "error" or, with "truncate", nothing of its answer would be left; it names file
 * and line.
 * @throws {RangeError} If no record gives an example, or the context is none.
 */
export async function readExamples(
  records: AsyncIterable<DataRecord> | Iterable<DataRecord>,
  { codec, context, template, overflow = "truncate" }: SftOptions,
): Promise<ListedSet<Example>> {
  if (!Number.isInteger(context) || context < 2) {
    throw new ValueError(
      `Cannot read examples: wanted a context of 2 tokens or more, got ${context}`,
    );
  }
  const list = new ExampleList<Example>(overflow);
  for await (const record of records) {
    const filled = applyTemplate(record, {
      template: template ?? detectTemplate(record),
      codec,
    });
    if (!filled.segments.some(({ text, learnt }) => learnt && text !== "")) {
      throw recordError(record, "wanted an answer, got an empty one");
    }
    const whole = encodeFilled(filled, codec);
    const { length } = whole.tokens;
    if (!list.takes(record, { length, most: context })) continue;
    const example = {
      tokens: whole.tokens.slice(0, context),
      labels: whole.labels.slice(0, context),
    };
    if (lossCount(example.labels) === 0) {
      throw recordError(
        record,
        `nothing of its answer is within the ${context} tokens of the context: it has ${length} tokens in all`,
      );
    }
    list.add(example);
  }
  return list.set(context);
}
