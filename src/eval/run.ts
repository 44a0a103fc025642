/**
 * `loqa eval`: runs a task on a model.
 *
 * @module
 */

import type { CausalModel } from "../models/model.ts";
import { generate } from "../models/generate.ts";
import { scoreRequests } from "./score.ts";
import type {
  GenerateTask,
  ScoreAnswer,
  ScoreTask,
  TaskResult,
} from "./tasks/task.ts";

export type { CausalModel } from "../models/model.ts";
export type {
  GenerateRequest,
  GenerateTask,
  Metrics,
  ScoreAnswer,
  ScoreRequest,
  ScoreRow,
  ScoreTask,
  TaskResult,
} from "./tasks/task.ts";

/** How a task is run. */
export interface TaskRun {
  /** Requests at the most; the first ones. */
  readonly limit?: number;
  /** Requests that are answered together (8). */
  readonly batch?: number;
  /** Text of generated tokens. */
  readonly decode: (ids: readonly number[]) => string;
  /** Tokens that end a generated answer. */
  readonly stop: readonly number[];
  /** Stops between two batches. */
  readonly signal?: AbortSignal;
  /** Told the share that is done, from 0 to 1. */
  readonly onProgress?: (done: number, text: string) => void;
}

/** Runs a task and resolves to its figures. */
export async function runTask(
  model: CausalModel,
  task: ScoreTask | GenerateTask,
  { limit = Infinity, batch = 8, decode, stop, signal, onProgress }: TaskRun,
): Promise<TaskResult> {
  const count = Math.min(task.count, limit);
  const scores: ScoreAnswer[] = [];
  const texts: string[] = [];
  for (let from = 0; from < count; from += batch) {
    signal?.throwIfAborted();
    const numbers = Array.from(
      { length: Math.min(batch, count - from) },
      (_, i) => from + i,
    );
    if (task.kind === "score") {
      const requests = numbers.map((i) => task.request(i));
      scores.push(...await scoreRequests(model, requests));
    } else {
      const requests = numbers.map((i) => task.request(i));
      const answers = await generate(model, requests.map((r) => r.prompt), {
        maxNewTokens: Math.max(...requests.map((r) => r.maxNewTokens)),
        stop,
      });
      texts.push(...answers.map(decode));
    }
    onProgress?.(
      (from + numbers.length) / count,
      `${task.name}: ${from + numbers.length} of ${count}`,
    );
  }
  return task.kind === "score" ? task.score(scores) : task.score(texts);
}
