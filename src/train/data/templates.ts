/**
 * From a record to a text of which some parts are to be learnt: the answers.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { messageOf } from "../../io/errors.ts";
import { isObject } from "../../io/json.ts";
import type { ChatMessage, TextCodec } from "./codec.ts";
import { kindOf, recordError, textField } from "../../io/records/record.ts";
import type { DataRecord } from "../../io/records/record.ts";

/** How a record becomes a prompt and an answer. */
export type TemplateName = "prompt" | "alpaca" | "gsm8k" | "chat";

/** Every name that {@linkcode applyTemplate} takes. */
export const TEMPLATES: readonly TemplateName[] = [
  "prompt",
  "alpaca",
  "gsm8k",
  "chat",
];

/** A part of a text. */
export interface Segment {
  /** Its text. */
  readonly text: string;
  /** Whether it is to be learnt. */
  readonly learnt: boolean;
}

/** A record as text. */
export interface Filled {
  /** The parts in order. */
  readonly segments: readonly Segment[];
  /** Whether the text has its special tokens written out, and ends as it should: a chat template's does. */
  readonly complete: boolean;
}

/** The prompt of Stanford Alpaca (tatsu-lab/stanford_alpaca, train.py) for an instruction without an input. */
export function alpacaPrompt(instruction: string, input = ""): string {
  return input === ""
    ? "Below is an instruction that describes a task. " +
      "Write a response that appropriately completes the request.\n\n" +
      `### Instruction:\n${instruction}\n\n### Response:`
    : "Below is an instruction that describes a task, paired with an input that provides further context. " +
      "Write a response that appropriately completes the request.\n\n" +
      `### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:`;
}

/** What LoftQ (train_gsm8k.py) puts after a question of GSM8K. */
export const GSM8K_QUESTION_SUFFIX =
  "\nAnswer the above question. First think step by step and then answer the final number.\n";

/** What LoftQ puts in the place of GSM8K's `####`; the space of the answer follows its own. */
export const GSM8K_ANSWER_MARK = "The final answer is: ";

/**
 * The template that the fields of a record call for.
 *
 * @throws {SyntaxError} If they fit none; it names file and line.
 */
export function detectTemplate(record: DataRecord): TemplateName {
  const has = (...names: string[]) =>
    names.every((name) => Object.hasOwn(record.fields, name));
  if (has("messages")) return "chat";
  if (has("prompt", "completion")) return "prompt";
  if (has("instruction", "output")) return "alpaca";
  if (has("question", "answer")) return "gsm8k";
  throw recordError(
    record,
    `wanted the fields messages, prompt and completion, instruction and output, or question and answer, got ${
      Object.keys(record.fields).slice(0, 20).join(", ") || "none"
    }`,
  );
}

/**
 * Fills a template from a record.
 *
 * - prompt: `prompt` and `completion` as they are.
 * - alpaca: `instruction`, `input` (may be absent) and `output`, in Alpaca's own words.
 * - gsm8k: `question` and `answer`, in LoftQ's words.
 * - chat: `messages` of `{ role, content }`, through the tokenizer's chat template; every turn of the assistant is
 *   learnt, with what the template writes at its end.
 *
 * @throws {SyntaxError} If a field is missing or of the wrong type; it names file and line.
 * @throws {TypeError} If the tokenizer has no chat template and one is wanted.
 */
export function applyTemplate(
  record: DataRecord,
  { template, codec }: { template: TemplateName; codec: TextCodec },
): Filled {
  switch (template) {
    case "prompt":
      return pair(textField(record, "prompt"), textField(record, "completion"));
    case "alpaca": {
      const { input } = record.fields;
      const prompt = alpacaPrompt(
        textField(record, "instruction"),
        input === undefined || input === null ? "" : textField(record, "input"),
      );
      return pair(prompt, textField(record, "output"));
    }
    case "gsm8k":
      return pair(
        textField(record, "question") + GSM8K_QUESTION_SUFFIX,
        textField(record, "answer").replaceAll("####", GSM8K_ANSWER_MARK),
      );
    case "chat":
      return chat(record, codec);
  }
}

function pair(prompt: string, answer: string): Filled {
  return {
    segments: [{ text: prompt, learnt: false }, { text: answer, learnt: true }],
    complete: false,
  };
}

/** The messages of a record. @throws {SyntaxError} If they are no list of `{ role, content }`. */
export function messagesOf(record: DataRecord): ChatMessage[] {
  const { messages } = record.fields;
  if (!Array.isArray(messages)) {
    throw recordError(
      record,
      `field "messages": wanted a list, got ${kindOf(messages)}`,
    );
  }
  return messages.map((message: unknown, i) => {
    const { role, content } = isObject(message) ? message : {};
    if (typeof role !== "string" || typeof content !== "string") {
      throw recordError(
        record,
        `message ${i + 1}: wanted a role and a content as texts`,
      );
    }
    // Other fields (names, tool calls) are the template's affair.
    return { ...(message as object), role, content };
  });
}

function chat(record: DataRecord, codec: TextCodec): Filled {
  if (!codec.applyChatTemplate) {
    throw new KindError(
      "Cannot use messages: wanted a tokenizer with a chat template, got one without",
    );
  }
  const messages = messagesOf(record);
  const text = (count: number, addGenerationPrompt: boolean): string => {
    try {
      return codec.applyChatTemplate!(messages.slice(0, count), {
        addGenerationPrompt,
      });
    } catch (cause) {
      throw recordError(record, `the chat template: ${messageOf(cause)}`);
    }
  };
  const whole = text(messages.length, false);
  const segments: Segment[] = [];
  let at = 0;
  for (const [i, { role }] of messages.entries()) {
    if (role !== "assistant") continue;
    const before = text(i, true);
    const after = text(i + 1, false);
    // A template may write earlier turns otherwise than the last; then there is no telling which part is whose.
    if (!after.startsWith(before) || !whole.startsWith(after)) {
      throw recordError(
        record,
        `the chat template writes message ${
          i + 1
        } differently as an answer and as a part of the conversation`,
      );
    }
    segments.push(
      { text: whole.slice(at, before.length), learnt: false },
      { text: whole.slice(before.length, after.length), learnt: true },
    );
    at = after.length;
  }
  if (segments.length === 0) {
    throw recordError(record, "wanted a message of the assistant, got none");
  }
  segments.push({ text: whole.slice(at), learnt: false });
  return { segments, complete: true };
}
