/**
 * Running a task on a model.
 *
 * @module
 */

import { checkKind, ofKind } from "../models/families.ts";
import { generate } from "../models/generate/causal.ts";
import type { BaseConfig } from "../families/tensors.ts";
import type { Model } from "../models/model.ts";
import {
  write,
  WRITE_DEFAULTS,
  type WriteOptions,
} from "../models/generate/seq2seq.ts";
import { answerClasses, answerSpans } from "./answer.ts";
import { scoreRequests } from "./score.ts";
import type { Task, TaskResult } from "./tasks/task.ts";

/**
 * Numbers of questions that are asked of each set where there are `limit` in all: as many of each, as far as it has them, and of
 * what is left one of each of the first.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { evenLimits } from "@loqa/loqa/eval";
 *
 * assert.deepEqual(evenLimits([10, 2, 10], 9), [4, 2, 3]);
 * ```
 */
export function evenLimits(
  counts: readonly number[],
  limit: number = Infinity,
): number[] {
  const shares = counts.map(() => 0);
  let left = limit;
  for (;;) {
    const open = shares.flatMap((n, i) => n < counts[i] ? [i] : []);
    if (open.length === 0 || left <= 0) return shares;
    const least = Math.min(...open.map((i) => counts[i] - shares[i]));
    const each = Math.min(least, Math.max(1, Math.floor(left / open.length)));
    for (const i of open) {
      if (left <= 0) break;
      shares[i] += each;
      left -= each;
    }
  }
}

/** The kind of model that each kind of task asks. */
export const TASK_MODELS: {
  readonly score: "causal";
  readonly generate: "causal";
  readonly classify: "encoder";
  readonly span: "encoder";
  readonly write: "seq2seq";
} = {
  score: "causal",
  generate: "causal",
  classify: "encoder",
  span: "encoder",
  write: "seq2seq",
};

/**
 * Checks that a model, loaded or not, is of the kind that a task asks.
 *
 * @throws {TypeError} If it is not.
 *
 * @example
 * ```ts
 * import { openDevice } from "@loqa/loqa";
 * import { checkTask } from "@loqa/loqa/eval";
 * import { loadModel } from "@loqa/loqa/models";
 *
 * using device = await openDevice("wasm");
 * await using loaded = await loadModel(device, "examples/model");
 * checkTask(loaded.model, { kind: "score", name: "ppl" }); // throws for an encoder
 * ```
 */
export function checkTask(
  model: { readonly kind: Model["kind"]; readonly config: BaseConfig },
  { kind, name }: Pick<Task, "kind" | "name">,
): void {
  checkKind(model, TASK_MODELS[kind], `run the task "${name}"`);
}

/** Options of a run of a task. */
export interface TaskRun {
  /** Requests at the most; the first ones. */
  readonly limit?: number;
  /** Requests that are answered together (8). */
  readonly batch?: number;
  /** Text of generated tokens. */
  readonly decode: (ids: readonly number[]) => string;
  /** Tokens that end a generated answer. */
  readonly stop: readonly number[];
  /** Settings by which texts made of texts are written (greedily). */
  readonly writing?: WriteOptions;
  /** Stops between two batches. */
  readonly signal?: AbortSignal;
  /** Called with the share that is done, from 0 to 1. */
  readonly onProgress?: (done: number, text: string) => void;
}

/**
 * Runs a task and resolves to its figures.
 *
 * @throws {TypeError} If the model is not of the kind that the task asks.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { runTask, type ScoreTask } from "@loqa/loqa/eval";
 * import { loadModel } from "@loqa/loqa/models";
 *
 * const task: ScoreTask = {
 *   kind: "score",
 *   name: "two tokens",
 *   count: 1,
 *   request: () => ({
 *     rows: [{ context: Int32Array.of(5, 6), continuation: Int32Array.of(7) }],
 *   }),
 *   score: (answers) => ({ metrics: { logLikelihood: answers[0][0] }, count: 1 }),
 * };
 * using device = await openDevice("wasm");
 * await using loaded = await loadModel(device, "examples/model");
 * const { metrics } = await runTask(loaded.model, task, { decode: () => "", stop: [] });
 * assert.ok(metrics.logLikelihood < 0);
 * ```
 */
export async function runTask(
  model: Model,
  task: Task,
  { limit = Infinity, batch = 8, signal, onProgress, ...how }: TaskRun,
): Promise<TaskResult> {
  const count = Math.min(task.count, limit);
  /** Answers of all requests, a batch at a time. */
  const ask = async <R, A>(
    request: (index: number) => R,
    answer: (requests: R[]) => Promise<readonly A[]>,
  ): Promise<A[]> => {
    const answers: A[] = [];
    for (let from = 0; from < count; from += batch) {
      signal?.throwIfAborted();
      const to = Math.min(count, from + batch);
      answers.push(
        ...await answer(
          Array.from({ length: to - from }, (_, i) => request(from + i)),
        ),
      );
      onProgress?.(to / count, `${task.name}: ${to} of ${count}`);
    }
    return answers;
  };
  const what = `run the task "${task.name}"`;
  switch (task.kind) {
    case "score": {
      const causal = ofKind(model, "causal", what);
      return task.score(
        await ask(
          (i) => task.request(i),
          (requests) => scoreRequests(causal, requests),
        ),
      );
    }
    case "generate": {
      const causal = ofKind(model, "causal", what);
      return task.score(
        await ask((i) => task.request(i), async (requests) => {
          const answers = await generate(
            causal,
            requests.map(({ prompt }) => prompt),
            {
              maxNewTokens: Math.max(...requests.map((r) => r.maxNewTokens)),
              stop: how.stop,
            },
          );
          return answers.map(how.decode);
        }),
      );
    }
    case "classify": {
      const encoder = ofKind(model, "encoder", what);
      return task.score(
        await ask(
          (i) => task.request(i),
          (requests) => answerClasses(encoder, requests),
        ),
      );
    }
    case "span": {
      const encoder = ofKind(model, "encoder", what);
      return task.score(
        await ask(
          (i) => task.request(i),
          (requests) => answerSpans(encoder, requests),
        ),
      );
    }
    case "write": {
      const writer = ofKind(model, "seq2seq", what);
      const writing = how.writing ??
        { ...WRITE_DEFAULTS, eos: how.stop };
      return task.score(
        await ask((i) => task.request(i), async (requests) => {
          const sources = requests.map(({ source }) => source);
          return (await write(writer, sources, writing)).map(how.decode);
        }),
      );
    }
  }
}
