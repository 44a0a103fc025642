/**
 * Multiple choice by log-likelihood: the ending that the model finds most probable.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { metric, proportionOf } from "./statistics.ts";
import { checkAnswers, encodeText, remembering, requestAt } from "./task.ts";
import type {
  Metrics,
  ScoreAnswer,
  ScoreRequest,
  ScoreRow,
  ScoreTask,
  TokenEncoder,
} from "./task.ts";

/** One choice as text. */
export interface Choice {
  /** Text before it. */
  readonly context: string;
  /** The scored text, with the space before it. */
  readonly continuation: string;
  /** Text whose length normalises its score; the choice without the space. */
  readonly text: string;
}

/** A question with its choices. */
export interface Question {
  /** The choices. */
  readonly choices: readonly Choice[];
  /** Number of the right one, from 0. */
  readonly gold: number;
}

/** Options of encoding. */
export interface EncoderOptions {
  /** The tokenizer. */
  readonly encoder: TokenEncoder;
  /** Context length of the model; longer contexts lose their beginning. No limit by default. */
  readonly contextLength?: number;
}

/**
 * Tokens of a context and of its continuation.
 *
 * As lm-evaluation-harness does: spaces at the context's end go to the continuation, both are encoded as one text,
 * and the continuation is the rest after the context's own tokens. A token across the border counts to the
 * continuation. An empty context becomes the BOS token, or EOS.
 *
 * @throws {RangeError} If the continuation has no tokens, or an empty context gets neither BOS nor EOS.
 */
export function encodePair(
  { context, continuation }: Pick<Choice, "context" | "continuation">,
  { encoder, contextLength = Infinity }: EncoderOptions,
): ScoreRow {
  const trimmed = context.trimEnd();
  const whole = encodeText(encoder, context + continuation);
  const before = encodeText(encoder, trimmed);
  let border = 0;
  const shorter = Math.min(before.length, whole.length);
  while (border < shorter && before[border] === whole[border]) border++;
  if (border === whole.length) {
    throw new ValueError(
      `Cannot score ${JSON.stringify(continuation)}: it has no tokens`,
    );
  }
  if (border === 0) {
    const first = encoder.bosId ?? encoder.eosId;
    if (first === undefined) {
      throw new ValueError(
        `Cannot score ${
          JSON.stringify(continuation)
        }: wanted a context, got an empty one and a tokenizer without a token that begins a text`,
      );
    }
    return fitRow(
      { context: Int32Array.of(first), continuation: whole },
      contextLength,
    );
  }
  return fitRow(
    { context: whole.slice(0, border), continuation: whole.slice(border) },
    contextLength,
  );
}

/** A row cut at its beginning so that the model, which never sees the last token, takes `length` tokens at most. */
function fitRow(row: ScoreRow, length: number): ScoreRow {
  const { context, continuation } = row;
  const over = context.length + continuation.length - 1 - length;
  if (over <= 0) return row;
  const kept = context.length - over;
  if (kept >= 1) return { context: context.slice(over), continuation };
  throw new ValueError(
    `Cannot score a text of ${continuation.length} tokens: wanted at most ${length}`,
  );
}

/** The request of a question; choices whose contexts are the same share one. */
export function choiceRequest(
  { choices }: Question,
  { encoder, contextLength }: EncoderOptions,
): ScoreRequest {
  const options = { encoder: remembering(encoder), contextLength };
  const rows: ScoreRow[] = [];
  for (const choice of choices) {
    const row = encodePair(choice, options);
    const same = rows.find(({ context }) =>
      context.length === row.context.length &&
      context.every((id, i) => id === row.context[i])
    );
    rows.push(same ? { ...row, context: same.context } : row);
  }
  return { rows };
}

/** Number of the largest value, the first of equals. @throws {RangeError} If one is no number. */
export function bestChoice(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) {
      throw new ValueError(
        `Cannot pick the most probable of ${values.length} choices: choice ${
          i + 1
        } has no likelihood (NaN)`,
      );
    }
    if (values[i] > values[best]) best = i;
  }
  return best;
}

/** Correctness of the most probable choice, by each normalisation of the log-likelihood. */
export interface ChoiceHits {
  /** By log-likelihood: lm-evaluation-harness' `acc`. */
  readonly plain: boolean;
  /** By log-likelihood for each character (code point) of the choice: its `acc_norm`. */
  readonly byCharacter: boolean;
  /** By log-likelihood for each byte of UTF-8: its `acc_bytes`. */
  readonly byByte: boolean;
}

/**
 * Judges the answer to a question.
 *
 * @throws {RangeError} If it has not one number for each choice.
 */
export function judge(
  { choices, gold }: Question,
  answer: ScoreAnswer,
): ChoiceHits {
  if (answer.length !== choices.length) {
    throw new ValueError(
      `Cannot judge an answer: wanted ${choices.length} log-likelihoods, got ${answer.length}`,
    );
  }
  const by = (length: (text: string) => number) =>
    bestChoice(choices.map(({ text }, i) => answer[i] / length(text))) === gold;
  return {
    plain: bestChoice(answer) === gold,
    byCharacter: by((text) => [...text].length),
    byByte: by((text) => new TextEncoder().encode(text).length),
  };
}

/** Options of a task of multiple choice. */
export interface ChoiceTaskOptions extends EncoderOptions {
  /** Name of the task. */
  readonly name: string;
  /** Gives length-normalised accuracies too; pointless where the choices share one continuation. */
  readonly normalize: boolean;
}

/** A task that scores `questions` by the most probable choice. */
export function choiceTask(
  questions: readonly Question[],
  { name, normalize, ...options }: ChoiceTaskOptions,
): ScoreTask {
  const task: ScoreTask = {
    kind: "score",
    name,
    count: questions.length,
    request: (index) => choiceRequest(requestAt(questions, index), options),
    score(answers) {
      checkAnswers(task, answers);
      const hits = answers.map((answer, i) => judge(questions[i], answer));
      const part = (key: string, hit: (hits: ChoiceHits) => boolean): Metrics =>
        metric(key, proportionOf(hits.filter(hit).length, hits.length));
      return {
        metrics: {
          ...part("accuracy", (h) => h.plain),
          ...(normalize
            ? {
              ...part("normalizedAccuracy", (h) => h.byCharacter),
              ...part("byteNormalizedAccuracy", (h) => h.byByte),
            }
            : {}),
        },
        count: hits.length,
      };
    },
  };
  return task;
}
