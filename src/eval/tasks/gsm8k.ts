/**
 * GSM8K: grade-school problems, answered by a generated text whose number is compared.
 *
 * Prompt and reading of answers are LoftQ's (yxli2123/LoftQ, test_gsm8k.py), which fine-tunes on "The final answer
 * is: " in the place of the data's `####`; generation is greedy here and was sampled there. Beside it stands the
 * data's own rule (openai/grade-school-math, dataset.py): the number after `####`, compared as text.
 *
 * @module
 */

import { metric, proportionOf } from "./statistics.ts";
import {
  badRecord,
  checkAnswers,
  encodeText,
  requestAt,
  textOf,
} from "./task.ts";
import type { EvalRecord, GenerateTask, TokenEncoder } from "./task.ts";

/** Text between a question and its answer. */
export const GSM8K_PROMPT_SUFFIX =
  "\nAnswer the above question. First think step by step and then answer the final number.\n";

const ANSWER_MARK = "The final answer is: ";
const NUMBER = /-?\d+\.?\d*/g;

/** A problem and its answer. */
export interface Gsm8kProblem {
  /** The question. */
  readonly question: string;
  /** The number after `####`. */
  readonly answer: number;
  /** The same as the data writes it, without commas. */
  readonly text: string;
}

/**
 * The number of a generated answer, by LoftQ's rule: commas are dropped; of the text after the first
 * "The final answer is: " (up to the next one) the first number, or else the last number of the whole text;
 * undefined where there is none.
 */
export function loftqAnswer(text: string): number | undefined {
  const plain = text.replaceAll(",", "");
  const all = plain.match(NUMBER);
  if (!all) return undefined;
  const behind = plain.split(ANSWER_MARK)[1]?.match(NUMBER);
  return Number(behind?.[0] ?? all.at(-1));
}

/** The number after the first `#### `, as text without commas; undefined where there is none. */
export function strictAnswer(text: string): string | undefined {
  return /#### (-?[0-9.,]+)/.exec(text)?.[1].replaceAll(",", "");
}

/**
 * A problem from a record with `question` and `answer`.
 *
 * @throws {SyntaxError} If a field is missing or the answer has no number after `####`; it names file and line.
 */
export function gsm8kProblem(record: EvalRecord): Gsm8kProblem {
  const question = textOf(record, "question");
  const text = strictAnswer(textOf(record, "answer"));
  const answer = text === undefined ? NaN : Number(text);
  if (text === undefined || Number.isNaN(answer)) {
    throw badRecord(
      record,
      'wanted an answer that ends in "#### " and a number',
    );
  }
  return { question, answer, text };
}

/** Options of {@linkcode gsm8kTask}. */
export interface Gsm8kOptions {
  /** The tokenizer. */
  readonly encoder: TokenEncoder;
  /** New tokens of an answer at most (256, LoftQ's). */
  readonly maxNewTokens?: number;
}

/**
 * The task of `problems`: `accuracy` by LoftQ's rule and `strictAccuracy` by the data's.
 */
export function gsm8kTask(
  problems: readonly Gsm8kProblem[],
  { encoder, maxNewTokens = 256 }: Gsm8kOptions,
): GenerateTask {
  const task: GenerateTask = {
    kind: "generate",
    name: "gsm8k",
    count: problems.length,
    request(index) {
      const { question } = requestAt(problems, index);
      const prompt = encodeText(encoder, question + GSM8K_PROMPT_SUFFIX);
      return { prompt, maxNewTokens };
    },
    score(answers) {
      checkAnswers(task, answers);
      const count = answers.length;
      const loose = answers.filter((text, i) =>
        loftqAnswer(text) === problems[i].answer
      );
      const strict = answers.filter((text, i) =>
        strictAnswer(text) === problems[i].text
      );
      return {
        metrics: {
          ...metric("accuracy", proportionOf(loose.length, count)),
          ...metric("strictAccuracy", proportionOf(strict.length, count)),
        },
        count,
      };
    },
  };
  return task;
}
