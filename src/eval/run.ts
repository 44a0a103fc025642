/**
 * Evaluating a model on a task's published data, from a folder to figures: `loqa eval` for programs.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { Compute } from "../autograd/linear_weight.ts";
import type { Device } from "../device/device.ts";
import { checkpointTokenizer } from "../io/open_tokenizer.ts";
import { labelNames } from "../models/encoder/head_config.ts";
import {
  modelWriting,
  type WriteOptions,
} from "../models/generate/seq2seq_options.ts";
import { stopTokens } from "../models/generate/stop.ts";
import {
  computeUnused,
  type LoadOptions,
  openModel,
  type PlaceOptions,
} from "../models/load/load.ts";
import { tellPlace } from "../models/load/locate.ts";
import { VERSION } from "../version.ts";
import { openTasks, type TaskName, type TaskSettings } from "./open_task.ts";
import { checkTask, evenLimits, runTask } from "./run_task.ts";
import type { Task, TaskResult } from "./tasks/task.ts";

export { TASKS } from "./open_task.ts";
export type { TaskName, TaskSettings } from "./open_task.ts";
export type { GlueName } from "./tasks/glue.ts";
export {
  checkTask,
  evenLimits,
  runTask,
  TASK_MODELS,
  type TaskRun,
} from "./run_task.ts";
export type { CausalModel, EncoderModel, Model } from "../models/model.ts";
export type { WriteOptions } from "../models/generate/seq2seq_options.ts";
export type {
  ClassifyTask,
  EncodeRequest,
  GenerateRequest,
  GenerateTask,
  Metrics,
  ScoreAnswer,
  ScoreRequest,
  ScoreRow,
  ScoreTask,
  SpanAnswer,
  SpanTask,
  Task,
  TaskResult,
  WriteRequest,
  WriteTask,
} from "./tasks/task.ts";

/** Options of {@linkcode evaluate}. */
export interface EvalOptions
  extends
    PlaceOptions,
    TaskSettings,
    Pick<LoadOptions, "adapters" | "own" | "compute"> {
  /** Device to work on, opened with `network`. */
  readonly device: Device;
  /** The task. */
  readonly task: TaskName;
  /** Path of its data, as published. */
  readonly data: string;
  /** Number of examples (windows for `ppl`) at the most: of several sets or subjects as many of each. */
  readonly limit?: number;
  /** Batch size: examples run together (8). */
  readonly batch?: number;
  /** Settings of beam search in place of the model's own; for encoder-decoders (`summarize`, `g2p`). */
  readonly writing?: Partial<WriteOptions>;
  /** Stops between two batches. */
  readonly signal?: AbortSignal;
  /** Called with the share done, from 0 to 1, and the present stage. */
  readonly onProgress?: (done: number, text: string) => void;
  /** Called with a choice that was not made by name: which checkpoint, which weights outside of the folder. */
  readonly onNote?: (line: string) => void;
  /** Called with something to know of the model: a training that has not ended, an option without effect. */
  readonly onWarning?: (line: string) => void;
}

/** Report of an evaluation: the document of `--json`. */
export interface EvalReport extends TaskResult {
  /** Always `eval`. */
  readonly verb: "eval";
  /** Version of loqa. */
  readonly version: string;
  /** Path of the model. */
  readonly model: string;
  /** Name of the task. */
  readonly task: string;
  /** Arithmetic of products with quantised weights. */
  readonly compute: Compute;
  /** Wall time in seconds. */
  readonly seconds: number;
}

/**
 * Runs a task on the model at `path` (a folder that loqa wrote, a run or a checkpoint in it, an adapter, or a model).
 * Tokenizer, data and options are looked at before any weight is read. Of several data sets, each one's figures are in
 * `groups` and the mean accuracy in `metrics`.
 *
 * @throws {RangeError} If an option does not go with the model or the data.
 * @throws {TypeError} If the model is not of the kind that the task asks.
 * @throws {SyntaxError} If a record of the data cannot be used; it names file and line.
 * @throws {IoError} If a file is not there.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openDevice } from "@loqa/loqa";
 * import { evaluate } from "@loqa/loqa/eval";
 *
 * using device = await openDevice("wasm");
 * const { metrics } = await evaluate("examples/model", {
 *   task: "ppl",
 *   data: "examples/model/heldout.txt",
 *   block: 64,
 *   limit: 1,
 *   device,
 * });
 * assert.ok(metrics.perplexity < 2);
 * ```
 */
export async function evaluate(
  path: string,
  { device, task: name, data, ...options }: EvalOptions,
): Promise<EvalReport> {
  const began = performance.now();
  const { compute, onProgress, onWarning } = options;
  await using opened = await openModel(path, options);
  tellPlace(opened.place, options);
  const { checkpoint, head } = opened;
  const tokenizer = await checkpointTokenizer(checkpoint);
  const { maxLength: context, vocabSize } = opened.config;
  const writing = await modelWriting(opened, options.writing);
  const decoder = writing
    ? await checkpointTokenizer(checkpoint, { side: "target" })
    : tokenizer;
  const tasks = await openTasks(name, data, {
    ...options,
    ...{ tokenizer, context, vocabSize },
    labels: head?.kind === "classify"
      ? labelNames(checkpoint.config, head.labels)
      : undefined,
  });
  for (const task of tasks) checkTask(opened, task);
  const limits = limitsOf(tasks, options.limit);
  const stop = await stopTokens(checkpoint, tokenizer);
  await using loaded = await opened.load(device, {
    compute,
    onProgress: (done) => onProgress?.(done / 100, "loading the model"),
  });
  const unused = computeUnused(compute, loaded.compute);
  if (unused !== undefined) onWarning?.(unused);
  const results: Record<string, TaskResult> = {};
  for (const [i, task] of tasks.entries()) {
    results[task.name] = await runTask(loaded.model, task, {
      limit: limits[i],
      batch: options.batch,
      writing,
      decode: (ids) => decoder.decode(ids, { skipSpecialTokens: true }),
      stop,
      signal: options.signal,
      onProgress: (done, text) => onProgress?.((i + done) / tasks.length, text),
    });
  }
  return {
    verb: "eval",
    version: VERSION,
    model: path,
    task: name,
    compute: loaded.compute,
    ...together(results),
    seconds: (performance.now() - began) / 1000,
  };
}

/** Numbers of examples of each task. */
function limitsOf(tasks: readonly Task[], limit?: number): number[] {
  const limits = evenLimits(tasks.map(({ count }) => count), limit);
  if (!limits.includes(0)) return limits;
  throw new OptionError(
    `Cannot evaluate: the option limit must be at least ${tasks.length} here, a question of each set (${
      tasks.map((task) => task.name).join(", ")
    }), got ${limit}`,
  );
}

/** The figures of one task, or of several data sets their mean, as the papers give it. */
function together(
  results: Readonly<Record<string, TaskResult>>,
): TaskResult {
  const parts = Object.values(results);
  if (parts.length === 1) return parts[0];
  const sum = (of: (part: TaskResult) => number) =>
    parts.reduce((total, part) => total + of(part), 0);
  return {
    metrics: {
      accuracy: sum(({ metrics }) => metrics.accuracy) / parts.length,
      accuracyStdErr:
        Math.sqrt(sum(({ metrics }) => (metrics.accuracyStdErr ?? 0) ** 2)) /
        parts.length,
    },
    count: sum(({ count }) => count),
    groups: {
      sets: Object.fromEntries(
        Object.entries(results).map(([set, { metrics }]) => [set, metrics]),
      ),
    },
  };
}
