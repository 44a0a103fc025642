/**
 * Perplexity over windows of a text.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { expOf, metric, ratioOf } from "./statistics.ts";
import { checkAnswers, requestAt } from "./task.ts";
import type { ScoreTask } from "./task.ts";

/** Options of {@linkcode perplexityTask}. */
export interface PerplexityOptions {
  /** Tokens of a window: the model sees at most this many. */
  readonly block: number;
  /** Tokens from one window to the next; without it, windows do not overlap. */
  readonly stride?: number;
  /** Windows at most. */
  readonly limit?: number;
  /** Name of the text in errors. */
  readonly name?: string;
}

/** A window of a text: the tokens `start` to `end`, of which those from `from` on are scored. */
export interface Window {
  /** First token. */
  readonly start: number;
  /** First token whose likelihood counts; those between only give context. */
  readonly from: number;
  /** The token after the last. */
  readonly end: number;
}

/**
 * Cuts `count` tokens into windows.
 *
 * Without a stride: whole blocks side by side, a rest that fills none is left out (as GPTQ and LoftQ count
 * WikiText), and each block's first token has no context and is not scored. With one: windows begin every `stride`
 * tokens, a token is scored in the first window that holds it, and the last window may be short (as in
 * transformers' guide to perplexity), so every token but the very first is scored once.
 *
 * @throws {RangeError} If a number is out of range or there is nothing to score.
 */
export function windowsOver(
  count: number,
  { block, stride, limit = Infinity, name = "a text" }: PerplexityOptions,
): Window[] {
  const wants = (what: string, n: number, least: number, most: number) => {
    if ((Number.isInteger(n) || n === Infinity) && n >= least && n <= most) {
      return;
    }
    throw new ValueError(
      `Cannot cut ${name} into windows: wanted ${what} ${
        most === Infinity ? `>= ${least}` : `from ${least} to ${most}`
      }, got ${n}`,
    );
  };
  wants("a sequence length", block, 2, 2 ** 31);
  if (stride !== undefined) wants("a stride", stride, 1, block);
  wants("a limit", limit, 1, Infinity);
  const needed = stride === undefined ? block : 2;
  if (count < needed) {
    throw new ValueError(
      `Cannot cut ${name} into windows: it has ${
        count === 1 ? "1 token, which does" : `${count} tokens, which do`
      } not fill ${
        stride === undefined ? `one window of ${block}` : "a window"
      }; wanted a longer text${
        stride === undefined ? " or a smaller sequence length" : ""
      }`,
    );
  }
  const windows: Window[] = [];
  let scored = 1;
  for (let start = 0; windows.length < limit; start += stride ?? block) {
    const end = Math.min(start + block, count);
    if (stride === undefined) {
      if (start + block > count) break;
      windows.push({ start, from: start + 1, end });
      continue;
    }
    const from = Math.max(scored, start + 1);
    if (from >= end) break;
    windows.push({ start, from, end });
    scored = end;
  }
  return windows;
}

/**
 * Perplexity of `tokens`: `exp` of the mean negative log-likelihood of the scored tokens. The tokens are taken as
 * they are: a token that begins a text is there if the tokenizer has put it there.
 *
 * Its standard error takes windows as the independent samples (`ratioOf`) and the exponential to first order.
 *
 * @throws {RangeError} If there is nothing to score.
 */
export function perplexityTask(
  tokens: Int32Array,
  options: PerplexityOptions,
): ScoreTask {
  const windows = windowsOver(tokens.length, options);
  const counts = windows.map(({ from, end }) => end - from);
  const task: ScoreTask = {
    kind: "score",
    name: "ppl",
    count: windows.length,
    request(index) {
      const { start, from, end } = requestAt(windows, index);
      return {
        rows: [{
          context: tokens.subarray(start, from),
          continuation: tokens.subarray(from, end),
        }],
      };
    },
    score(answers) {
      checkAnswers(task, answers);
      const sums = answers.map((answer) => -answer[0]);
      const scored = counts.slice(0, answers.length);
      const nll = ratioOf(sums, scored);
      return {
        metrics: {
          ...metric("perplexity", expOf(nll)),
          ...metric("negativeLogLikelihood", nll),
        },
        count: scored.reduce((a, b) => a + b, 0),
      };
    },
  };
  return task;
}
