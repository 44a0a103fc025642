/**
 * Sequence-to-sequence tasks: summaries of XSum and CNN/DailyMail by ROUGE, pronunciations of words by their phonemes.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { Framer } from "../../data/frame.ts";
import type { PairCodec } from "../../data/frame.ts";
import type { TextPair } from "../../data/tasks/pairs.ts";
import { recordError } from "../../data/records/record.ts";
import { scoreSymbols } from "../metrics/edits.ts";
import { openRouge } from "../metrics/rouge.ts";
import type { RougeScore } from "../metrics/rouge.ts";
import { metric, scoreOf } from "./statistics.ts";
import { checkAnswers, requestAt } from "./task.ts";
import type { Metrics, WriteTask } from "./task.ts";

/** Options of sequence-to-sequence tasks. */
export interface PairTaskOptions {
  /** The pairs: `readPairs` or `readParallel`. */
  readonly pairs: AsyncIterable<TextPair> | Iterable<TextPair>;
  /** The sources' tokenizer. */
  readonly encoder: PairCodec;
  /** Tokens of a source at most. */
  readonly contextLength: number;
  /** Treatment of longer sources: cut at the end, as is usual with summaries, or an error ("truncate"). */
  readonly overflow?: "truncate" | "error";
  /** Size of the model's vocabulary, against which the tokenizer's ids are checked. */
  readonly vocabSize?: number;
}

/** A sequence-to-sequence task, with a count of truncated sources. */
export interface PairTask extends WriteTask {
  /** Truncated sources, of those requested so far. */
  readonly truncated: number;
}

type Figures = (found: readonly string[], wanted: readonly string[]) => Metrics;

async function writeTask(
  name: string,
  { pairs, encoder, contextLength, overflow = "truncate", vocabSize }:
    PairTaskOptions,
  figures: Figures,
): Promise<PairTask> {
  const all: TextPair[] = [];
  for await (const pair of pairs) all.push(pair);
  if (all.length === 0) {
    throw new ValueError(`Cannot ask ${name}: wanted records, got none`);
  }
  const framer = new Framer(encoder, { vocabSize });
  const truncated = new Set<number>();
  const task: PairTask = {
    kind: "write",
    name,
    count: all.length,
    get truncated() {
      return truncated.size;
    },
    request(index) {
      const { source, record } = requestAt(all, index);
      const { tokens, length } = framer.fit({ first: source }, contextLength);
      if (length > contextLength) {
        if (overflow === "error") {
          throw recordError(
            record,
            `the source: wanted at most ${contextLength} tokens, got ${length}`,
          );
        }
        truncated.add(index);
      }
      return { source: tokens };
    },
    score(answers) {
      checkAnswers(task, answers);
      const wanted = all.slice(0, answers.length).map((pair) => pair.target);
      return { metrics: figures(answers, wanted), count: answers.length };
    },
  };
  return task;
}

/**
 * The task of summaries: `rouge1`, `rouge2`, `rougeL`, and `rougeLsum`, which takes each line for a sentence
 * (CNN/DailyMail's highlights stand on lines), from 0 to 1 and of stems by default.
 *
 * @throws {SyntaxError} At the first record that cannot be used; it names file and line.
 * @throws {RangeError} If there is none.
 */
export async function summarizeTask(
  { stemmer = true, name = "summarize", ...options }: PairTaskOptions & {
    readonly stemmer?: boolean;
    readonly name?: string;
  },
): Promise<PairTask> {
  const score = await openRouge({ stemmer });
  return await writeTask(name, options, (found, wanted) => {
    const scores = found.map((text, i) => score(text, wanted[i]));
    const part = (key: keyof RougeScore) =>
      metric(key, scoreOf(scores.map((each) => each[key])));
    return {
      ...part("rouge1"),
      ...part("rouge2"),
      ...part("rougeL"),
      ...part("rougeLsum"),
    };
  });
}

/**
 * The task of pronunciations: `exactMatch`, and `phonemeErrorRate`, edits for each phoneme of the reference.
 *
 * @throws {SyntaxError} At the first entry that cannot be used; it names file and entry.
 * @throws {RangeError} If there is none.
 */
export async function g2pTask(options: PairTaskOptions): Promise<PairTask> {
  return await writeTask("g2p", options, (found, wanted) => {
    const { exactMatch, errorRate } = scoreSymbols(
      found.map((text) => text.trim()),
      wanted.map((text) => text.trim()),
    );
    return {
      ...metric("exactMatch", exactMatch),
      ...metric("phonemeErrorRate", errorRate),
    };
  });
}
