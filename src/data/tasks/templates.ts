/**
 * From a record to a text with a loss on some parts: the answers.
 *
 * @module
 */

import { kindOf, recordError, textField } from "../records/record.ts";
import type { DataRecord } from "../records/record.ts";
import { CHAT_FIELDS, isConversation } from "../chat/conversation.ts";

/** Name of a template, from a record to a prompt and an answer. */
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
  /** True if it is to be learnt. */
  readonly learnt: boolean;
}

/** A record as text. */
export interface Filled {
  /** The parts in order. */
  readonly segments: readonly Segment[];
  /** True if the text has its special tokens written out, and ends as it should: a chat template's does. */
  readonly complete: boolean;
  /** True if the token that ends a text is put behind it and learnt, though it is complete (false). */
  readonly addEnd?: boolean;
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

/** LoftQ's suffix of a question of GSM8K (train_gsm8k.py). */
export const GSM8K_QUESTION_SUFFIX =
  "\nAnswer the above question. First think step by step and then answer the final number.\n";

/** LoftQ's replacement of GSM8K's `####`; the space of the answer follows its own. */
export const GSM8K_ANSWER_MARK = "The final answer is: ";

/** The template that the fields of a record call for; undefined if they fit none. */
export function layoutOf(record: DataRecord): TemplateName | undefined {
  const has = (...names: string[]) =>
    names.every((name) => Object.hasOwn(record.fields, name));
  if (isConversation(record)) return "chat";
  if (has("prompt", "completion")) return "prompt";
  if (has("instruction", "output")) return "alpaca";
  return has("question", "answer") ? "gsm8k" : undefined;
}

/**
 * The template that the fields of a record call for.
 *
 * @throws {SyntaxError} If they fit none; it names file and line.
 */
export function detectTemplate(record: DataRecord): TemplateName {
  const layout = layoutOf(record);
  if (layout !== undefined) return layout;
  const names = Object.keys(record.fields);
  throw recordError(
    record,
    `wanted the fields messages, conversations, prompt and completion, instruction and output, or question and answer, got ${
      names.slice(0, 20).join(", ") || "none"
    }${names.includes("text") ? " (texts are for the task lm)" : ""}`,
  );
}

/** Fields that layouts have besides those by which they are recognised. */
const KNOWN = [
  ...CHAT_FIELDS,
  "system",
  "history",
  "input",
  "chosen",
  "rejected",
  "label",
  "weight",
  "train",
  "images",
  "videos",
  "audios",
];

/** Those of them that each layout uses. */
const USED: Readonly<Record<TemplateName, readonly string[]>> = {
  chat: CHAT_FIELDS,
  alpaca: ["input", "system", "history"],
  prompt: [],
  gsm8k: [],
};

/** Fields of a record that other layouts have, and that are not used in its own. */
export function unusedFields(
  { fields }: DataRecord,
  template: TemplateName,
): string[] {
  return Object.keys(fields).filter((name) =>
    KNOWN.includes(name) && !USED[template].includes(name) &&
    !isEmpty(fields[name]) &&
    !(name === "system" && Object.hasOwn(fields, "conversations"))
  );
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === "" ||
    (Array.isArray(value) && value.length === 0);
}

/**
 * Fills a template from a record that is no conversation.
 *
 * - prompt: `prompt` and `completion` as they are.
 * - alpaca: `instruction`, `input` and `output`, in Alpaca's own words; `system` takes the place of its first
 *   paragraph, and `history`, pairs of an instruction and its answer, stands before the instruction and is not learnt.
 * - gsm8k: `question` and `answer`, in LoftQ's words.
 *
 * @throws {SyntaxError} If a field is missing or of the wrong type; it names file and line.
 */
export function applyTemplate(
  record: DataRecord,
  { template }: { template: Exclude<TemplateName, "chat"> },
): Filled {
  switch (template) {
    case "prompt":
      return pair(textField(record, "prompt"), textField(record, "completion"));
    case "alpaca":
      return pair(alpacaText(record), textField(record, "output"));
    case "gsm8k":
      return pair(
        textField(record, "question") + GSM8K_QUESTION_SUFFIX,
        textField(record, "answer").replaceAll("####", GSM8K_ANSWER_MARK),
      );
  }
}

function alpacaText(record: DataRecord): string {
  const optional = (name: string) =>
    (record.fields[name] ?? null) === null ? "" : textField(record, name);
  const prompt = alpacaPrompt(
    textField(record, "instruction"),
    optional("input"),
  );
  const from = prompt.indexOf("### Instruction:");
  const system = optional("system");
  const first = system === "" ? prompt.slice(0, from) : `${system}\n\n`;
  return first + historyOf(record) + prompt.slice(from);
}

/** Instructions before, with their answers. */
function historyOf(record: DataRecord): string {
  const { history } = record.fields;
  if (isEmpty(history)) return "";
  const fail = (got: string) =>
    recordError(
      record,
      `field "history": wanted a list of pairs, an instruction and its answer, got ${got}`,
    );
  if (!Array.isArray(history)) throw fail(kindOf(history));
  return history.map((turn: unknown) => {
    if (
      !Array.isArray(turn) || turn.length !== 2 ||
      turn.some((text) => typeof text !== "string")
    ) throw fail(`a list with ${kindOf(turn)}`);
    return `### Instruction:\n${turn[0]}\n\n### Response:${turn[1]}\n\n`;
  }).join("");
}

function pair(prompt: string, answer: string): Filled {
  return {
    segments: [{ text: prompt, learnt: false }, { text: answer, learnt: true }],
    complete: false,
  };
}
