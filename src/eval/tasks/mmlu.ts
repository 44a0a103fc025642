/**
 * MMLU: questions with four choices from 57 subjects, five worked examples before each (hendrycks/test).
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { bestChoice, choiceRequest } from "./choice.ts";
import { MMLU_SUBJECTS } from "./mmlu_subjects.ts";
import { macroMean, metric, proportionOf } from "./statistics.ts";
import type { Estimate } from "./statistics.ts";
import {
  badRecord,
  checkAnswers,
  encodeText,
  remembering,
  requestAt,
} from "./task.ts";
import type {
  EvalRecord,
  Metrics,
  ScoreRequest,
  ScoreTask,
  TokenEncoder,
} from "./task.ts";

const LETTERS = ["A", "B", "C", "D"];
const HEADER = [
  "question",
  "choice0",
  "choice1",
  "choice2",
  "choice3",
  "answer",
];

/** A question of MMLU. */
export interface MmluQuestion {
  /** The question. */
  readonly question: string;
  /** The four choices. */
  readonly choices: readonly string[];
  /** Number of the right one, from 0. */
  readonly answer: number;
}

/** A subject with its questions. */
export interface MmluSubject {
  /** Name of its files: `abstract_algebra`. */
  readonly name: string;
  /** Questions with their answers, shown before each question. */
  readonly dev: readonly MmluQuestion[];
  /** Questions that are asked. */
  readonly test: readonly MmluQuestion[];
}

/**
 * Questions from the records of a CSV file, read **without** a header (fields "0" to "5"): the original layout has
 * none and letters for answers; a first record `question,choice0,…,choice3,answer` is one, and answers may be
 * numbers from 0.
 *
 * @throws {SyntaxError} If a record has not six fields, or an answer is none; it names file and line.
 */
export async function mmluQuestions(
  records: AsyncIterable<EvalRecord> | Iterable<EvalRecord>,
): Promise<MmluQuestion[]> {
  const questions: MmluQuestion[] = [];
  for await (const record of records) {
    const values = Object.values(record.fields);
    if (
      values.length !== 6 || !values.every((value) => typeof value === "string")
    ) {
      throw badRecord(
        record,
        `wanted a question, four choices and an answer, got ${values.length} fields`,
      );
    }
    if (record.row === 1 && HEADER.every((name, i) => values[i] === name)) {
      continue;
    }
    const [question, ...rest] = values;
    const letter = rest[4].trim();
    const answer = /^[0-3]$/.test(letter)
      ? Number(letter)
      : LETTERS.indexOf(letter);
    if (answer < 0) {
      throw badRecord(
        record,
        `wanted an answer from A to D or 0 to 3, got ${JSON.stringify(letter)}`,
      );
    }
    questions.push({ question, choices: rest.slice(0, 4), answer });
  }
  return questions;
}

function formatQuestion({ question, choices }: MmluQuestion): string {
  const lines = choices.map((choice, i) => `\n${LETTERS[i]}. ${choice}`);
  return `${question}${lines.join("")}\nAnswer:`;
}

/**
 * The original prompt (evaluate_flan.py), to the character: a name's words each have a space before them, so two
 * stand after "about".
 *
 * @param shots Few-shot examples, of those in `dev`.
 */
export function mmluPrompt(
  { name, dev }: Pick<MmluSubject, "name" | "dev">,
  { question, shots }: { question: MmluQuestion; shots: number },
): string {
  const subject = name.split("_").map((word) => ` ${word}`).join("");
  const shown = dev.slice(0, shots).map((example) =>
    `${formatQuestion(example)} ${LETTERS[example.answer]}\n\n`
  );
  return `The following are multiple choice questions (with answers) about ${subject}.\n\n${
    shown.join("")
  }${formatQuestion(question)}`;
}

/** Options of {@linkcode mmluTask}. */
export interface MmluOptions {
  /** The tokenizer. */
  readonly encoder: TokenEncoder;
  /** Context length of the model. No limit by default. */
  readonly contextLength?: number;
  /** Worked examples before each question (5). */
  readonly shots?: number;
}

/** A task of MMLU, with counts of shortened prompts. */
export interface MmluTask extends ScoreTask {
  /** Requests built so far that show fewer examples than wanted, because more would not fit. */
  readonly shortened: number;
}

/**
 * The task of some subjects. The most probable letter after "Answer:" is the answer.
 *
 * A prompt longer than the context loses its last few-shot example until it fits, as in the original; one that is too
 * long without any loses its beginning.
 *
 * Questions come in rounds of one of each subject that has any left: the first N are as many of each as N allows.
 *
 * Figures: `accuracy` over all questions (the original's average), `macroAccuracy` over subjects, where every one of them
 * was asked, and groups `subjects`, `fields` and `categories`, each over its questions.
 *
 * @throws {RangeError} If there is no question, or fewer few-shot examples than wanted.
 */
export function mmluTask(
  subjects: readonly MmluSubject[],
  { encoder, contextLength = Infinity, shots = 5 }: MmluOptions,
): MmluTask {
  for (const { name, dev } of subjects) {
    if (dev.length >= shots) continue;
    throw new ValueError(
      `Cannot ask ${name}: wanted ${shots} few-shot examples, got ${dev.length}`,
    );
  }
  // Round after round one of each subject, so that the first N are spread over all of them.
  const asked: { subject: MmluSubject; question: MmluQuestion }[] = [];
  const rounds = Math.max(0, ...subjects.map(({ test }) => test.length));
  for (let round = 0; round < rounds; round++) {
    for (const subject of subjects) {
      const question = subject.test[round];
      if (question) asked.push({ subject, question });
    }
  }
  const named = new Set(asked.map(({ subject }) => subject.name)).size;
  if (asked.length === 0) {
    throw new ValueError("Cannot ask MMLU: wanted questions, got none");
  }
  const shortened = new Set<number>();
  const task: MmluTask = {
    kind: "score",
    name: "mmlu",
    count: asked.length,
    get shortened() {
      return shortened.size;
    },
    request(index): ScoreRequest {
      const { subject, question } = requestAt(asked, index);
      const own = remembering(encoder);
      let context = "";
      for (let shown = shots; shown >= 0; shown--) {
        context = mmluPrompt(subject, { question, shots: shown });
        if (encodeText(own, context).length <= contextLength) break;
        shortened.add(index);
      }
      const choices = LETTERS.map((letter) => ({
        context,
        continuation: ` ${letter}`,
        text: letter,
      }));
      return choiceRequest({ choices, gold: question.answer }, {
        encoder: own,
        contextLength,
      });
    },
    score(answers) {
      checkAnswers(task, answers);
      const bySubject = new Map<string, boolean[]>();
      for (const [i, answer] of answers.entries()) {
        const { subject, question } = asked[i];
        if (answer.length !== LETTERS.length) {
          throw new ValueError(
            `Cannot score mmlu: wanted 4 log-likelihoods, got ${answer.length}`,
          );
        }
        const hits = bySubject.get(subject.name) ?? [];
        hits.push(bestChoice(answer) === question.answer);
        bySubject.set(subject.name, hits);
      }
      return resultOf(bySubject, bySubject.size === named);
    },
  };
  return task;
}

function accuracyOf(hits: readonly boolean[]): Estimate {
  return proportionOf(hits.filter((hit) => hit).length, hits.length);
}

function resultOf(
  bySubject: ReadonlyMap<string, readonly boolean[]>,
  even: boolean,
): {
  metrics: Metrics;
  count: number;
  groups: Record<string, Record<string, Metrics>>;
} {
  const merged = (keyOf: (subject: string) => string | undefined) => {
    const groups = new Map<string, boolean[]>();
    for (const [subject, hits] of bySubject) {
      const key = keyOf(subject);
      if (key === undefined) continue;
      groups.set(key, [...groups.get(key) ?? [], ...hits]);
    }
    return Object.fromEntries(
      Array.from(groups, ([key, hits]) => [key, {
        ...metric("accuracy", accuracyOf(hits)),
        count: hits.length,
      }]),
    );
  };
  const all = [...bySubject.values()].flat();
  const subjects = [...bySubject.values()].map(accuracyOf);
  return {
    metrics: {
      ...metric("accuracy", accuracyOf(all)),
      ...(even && metric("macroAccuracy", macroMean(subjects))),
    },
    count: all.length,
    groups: {
      subjects: merged((subject) => subject),
      fields: merged((subject) => MMLU_SUBJECTS.get(subject)?.field),
      categories: merged((subject) => MMLU_SUBJECTS.get(subject)?.category),
    },
  };
}
