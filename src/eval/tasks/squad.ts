/**
 * SQuAD v1.1: extractive question answering, by the rules of BERT's run_squad.py. A text is read in windows; of all
 * pairs of a probable first token and a probable last one the best is the answer, cut out of the text itself.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { ByteSource } from "../../io/files/bytes.ts";
import { Framer } from "../../data/frame.ts";
import type { PairCodec } from "../../data/frame.ts";
import { readSquad } from "../../data/tasks/squad.ts";
import type { QaRecord } from "../../data/tasks/squad.ts";
import { hasMostContext, WindowCutter } from "../../data/tasks/windows.ts";
import type { QaWindow, QaWindows } from "../../data/tasks/windows.ts";
import { scoreAnswer } from "../metrics/answers.ts";
import { metric, scoreOf } from "./statistics.ts";
import { checkAnswers, requestAt } from "./task.ts";
import type { SpanAnswer, SpanTask } from "./task.ts";

/** Names of the file with published answers in a folder; the first that exists is read. */
export const SQUAD_FILES: readonly string[] = [
  "dev-v1.1.json",
  "validation.parquet",
  "validation-00000-of-00001.parquet",
  "validation.jsonl",
  "validation.json",
];

/** Options of choosing an answer. */
export interface AnswerOptions {
  /** Likeliest first tokens, and last ones, of a window that are looked at (20). */
  readonly best?: number;
  /** Tokens of an answer at most (30). */
  readonly maxAnswer?: number;
}

/** Options of {@linkcode squadTask}. */
export interface SquadOptions extends AnswerOptions {
  /** The tokenizer. */
  readonly encoder: PairCodec;
  /** Tokens of a window at most (384). */
  readonly contextLength?: number;
  /** Tokens from the start of one window to that of the next (128). */
  readonly stride?: number;
  /** Tokens of a question at most (64). */
  readonly maxQuestion?: number;
  /** Size of the model's vocabulary, against which the tokenizer's ids are checked. */
  readonly vocabSize?: number;
}

/** Numbers of the `count` largest values in order, the first of equals first. @throws {RangeError} If one is NaN. */
function largest(values: ArrayLike<number>, count: number): number[] {
  const order = Array.from(values, (value, i) => {
    if (!Number.isNaN(value)) return i;
    throw new ValueError(
      `Cannot pick an answer: token ${i} of a window has no score (NaN)`,
    );
  });
  return order.sort((a, b) => values[b] - values[a]).slice(0, count);
}

/**
 * The answer to a question from the scores of its windows: the text from the first token's first character to the last
 * one's last; empty where no pair of tokens can be one.
 *
 * A pair counts if both are of the text, the first in the window that shows most around it, the last not before it,
 * and not too far behind. Padding is not looked at.
 *
 * @throws {RangeError} If a window has fewer scores than tokens, or one is NaN.
 */
export function pickAnswer(
  context: string,
  { cut, answers }: { cut: QaWindows; answers: readonly SpanAnswer[] },
  { best = 20, maxAnswer = 30 }: AnswerOptions = {},
): string {
  const { windows, document, offset } = cut;
  let score = -Infinity;
  let text = "";
  for (const [i, window] of windows.entries()) {
    const length = lengthOf(cut, window);
    const { start, end } = answers[i];
    if (start.length < length || end.length < length) {
      throw new ValueError(
        `Cannot pick an answer: wanted scores of ${length} tokens, got ${start.length} and ${end.length}`,
      );
    }
    const starts = largest(Array.from(start).slice(0, length), best);
    const ends = largest(Array.from(end).slice(0, length), best);
    const of = (at: number) => {
      const token = at - offset;
      return token >= 0 && token < window.count ? token + window.from : -1;
    };
    for (const a of starts) {
      const first = of(a);
      if (first < 0 || !hasMostContext(windows, window, first)) continue;
      for (const b of ends) {
        const last = of(b);
        if (last < first || last - first + 1 > maxAnswer) continue;
        if (start[a] + end[b] <= score) continue;
        score = start[a] + end[b];
        text = context.slice(document.starts[first], document.ends[last]);
      }
    }
  }
  return text;
}

/** Tokens of a window with its question and special tokens. */
function lengthOf({ offset, after }: QaWindows, { count }: QaWindow): number {
  return offset + count + after;
}

/**
 * The task of the questions in `sources`: `exactMatch` and `f1`, from 0 to 1 (SQuAD's own script multiplies by 100).
 *
 * @throws {SyntaxError} At the first question that cannot be used; it names file and line.
 * @throws {RangeError} If there is none, or the tokenizer is another model's.
 */
export async function squadTask(
  { sources, encoder, vocabSize, ...options }: SquadOptions & {
    readonly sources: Iterable<ByteSource>;
  },
): Promise<SpanTask> {
  const { contextLength, stride, maxQuestion } = options;
  const cutter = new WindowCutter(new Framer(encoder, { vocabSize }), {
    context: contextLength,
    stride,
    maxQuestion,
  });
  const questions: { record: QaRecord; cut: QaWindows }[] = [];
  const requests: { cut: QaWindows; window: QaWindow }[] = [];
  for (const source of sources) {
    for await (const record of readSquad(source)) {
      const cut = cutter.cut(record);
      questions.push({ record, cut });
      for (const window of cut.windows) requests.push({ cut, window });
    }
  }
  if (questions.length === 0) {
    throw new ValueError("Cannot ask squad: wanted questions, got none");
  }
  const task: SpanTask = {
    kind: "span",
    name: "squad",
    count: requests.length,
    request(index) {
      const { cut, window } = requestAt(requests, index);
      return cutter.frame(cut, window);
    },
    score(answers) {
      checkAnswers(task, answers);
      const scores = [];
      let at = 0;
      for (const { record: { context, answers: right }, cut } of questions) {
        const own = answers.slice(at, at += cut.windows.length);
        if (own.length < cut.windows.length) break;
        const text = pickAnswer(context, { cut, answers: own }, options);
        scores.push(scoreAnswer(text, right.map((answer) => answer.text)));
      }
      if (scores.length === 0) {
        throw new ValueError(
          `Cannot score squad: wanted answers to all ${
            questions[0].cut.windows.length
          } windows of the first question, got ${answers.length}`,
        );
      }
      return {
        metrics: {
          ...metric("exactMatch", scoreOf(scores.map((s) => s.exact))),
          ...metric("f1", scoreOf(scores.map((s) => s.f1))),
        },
        count: scores.length,
      };
    },
  };
  return task;
}
