/**
 * Common parts of this folder's studies: fine-tuning and measuring models, and rows that survive an interruption.
 *
 * @module
 */

import type { Device } from "../../src/device/device.ts";
import { openTasks, type TaskName } from "../../src/eval/open_task.ts";
import { runTask } from "../../src/eval/run_task.ts";
import { calibrate, calibrationSequences } from "../../src/calibrate/run.ts";
import { type Moments, openMoments } from "../../src/calibrate/moments.ts";
import type { Checkpoint } from "../../src/io/checkpoint/checkpoint.ts";
import { checkpointTokenizer } from "../../src/io/open_tokenizer.ts";
import { loadModel } from "../../src/models/load/load.ts";
import {
  train,
  TRAIN_DEFAULTS,
  type TrainOptions,
} from "../../src/train/run.ts";

/** Path of a file beside this one. */
export function here(name: string): string {
  return new URL(name, import.meta.url).pathname;
}

/** Options of {@linkcode measure}. */
export interface Measuring {
  readonly task: TaskName;
  /** Its data. */
  readonly data: string;
  /** Questions, or blocks of 512 tokens, at the most. */
  readonly limit: number;
}

/** Figures of the model at `path` on a task; the first one's, where the data are several sets. */
export async function measure(
  device: Device,
  path: string,
  { task: name, data, limit }: Measuring,
): Promise<Record<string, number>> {
  await using loaded = await loadModel(device, path);
  const tokenizer = await checkpointTokenizer(loaded.checkpoint);
  const [task] = await openTasks(name, data, {
    tokenizer,
    context: loaded.model.config.maxLength,
    block: 512,
    characters: 200_000,
  });
  const { metrics } = await runTask(loaded.model, task, {
    limit,
    decode: (ids) => tokenizer.decode(ids),
    stop: [],
  });
  return metrics;
}

/** Perplexity on the first 8 x 512 tokens of a text. */
export async function perplexity(
  device: Device,
  path: string,
  data: string,
): Promise<number> {
  return (await measure(device, path, { task: "ppl", data, limit: 8 }))
    .perplexity;
}

/** Training options of a study; part of its rows' keys. */
export interface Schedule {
  readonly steps: number;
  readonly batch: number;
  readonly block: number;
  readonly learningRate: number;
  readonly warmup: number;
}

/** The schedule of every study here. */
export function scheduleOf(steps: number, batch: number): Schedule {
  return { steps, batch, block: 128, learningRate: 3e-4, warmup: 10 };
}

/** Writes the first 600,000 characters of a text into a folder; resolves to the path. */
export async function trainingText(
  text: string,
  folder: string,
): Promise<string> {
  await Deno.mkdir(folder, { recursive: true });
  const path = `${folder}/train.txt`;
  const whole = await Deno.readTextFile(text);
  await Deno.writeTextFile(path, whole.slice(0, 600_000));
  return path;
}

/** Fine-tunes on random windows, linearly to a learning rate of 0; resolves to the losses of the steps. */
export async function fineTune(
  device: Device,
  { path, out, data, schedule, options }: {
    path: string;
    out: string;
    data: string;
    schedule: Schedule;
    options: Pick<TrainOptions, "method"> & Partial<TrainOptions>;
  },
): Promise<number[]> {
  const { run } = await train({
    ...TRAIN_DEFAULTS,
    schedule: "linear",
    order: "random",
    ...schedule,
    ...options,
  }, {
    device,
    path,
    out,
    data: [data],
    saveEvery: schedule.steps,
    keep: 1,
    logEvery: 1,
  });
  return (await Deno.readTextFile(`${out}/runs/${run}/metrics.jsonl`)).trim()
    .split("\n").map((line) => Number(JSON.parse(line).loss.toFixed(4)));
}

/** Full moments of a model's inputs from the first 16384 tokens of a text, in a file that is made once. */
export async function moments(
  device: Device,
  checkpoint: Checkpoint,
  { text, path }: { text: string; path: string },
): Promise<Moments> {
  await calibrate(checkpoint, {
    device,
    kind: "full",
    path,
    sequences: await calibrationSequences(checkpoint, [text], {
      tokens: 16384,
      block: 512,
    }),
  });
  return await openMoments(path, "full");
}

/** Rows of a study in a JSON file; those that were made with the same settings are kept. */
export class Rows<T extends { readonly name: string }> {
  readonly #path: string;
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly #rows = new Map<string, T>();

  private constructor(path: string, settings: Record<string, unknown>) {
    this.#path = path;
    this.#settings = settings;
  }

  /** Reads what there is. */
  static async open<T extends { readonly name: string }>(
    path: string,
    settings: Record<string, unknown>,
  ): Promise<Rows<T>> {
    const rows = new Rows<T>(path, settings);
    try {
      const found = JSON.parse(await Deno.readTextFile(path));
      if (JSON.stringify(found.settings) === JSON.stringify(settings)) {
        for (const row of found.rows) rows.#rows.set(row.name, row);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return rows;
  }

  /** The row called `name`. */
  get(name: string): T | undefined {
    return this.#rows.get(name);
  }

  /** Adds a row and writes the file, in the order of `names`. */
  async add(row: T, names: readonly string[]): Promise<void> {
    this.#rows.set(row.name, row);
    const rows = names.flatMap((name) => this.#rows.get(name) ?? []);
    const document = { settings: this.#settings, rows };
    await Deno.writeTextFile(
      this.#path,
      `${JSON.stringify(document, null, 1)}\n`,
    );
  }
}

/** A figure as people read it. */
export function figure(x: number): string {
  return x < 1e4 ? x.toFixed(2) : x.toExponential(1).replace("e+", "e");
}

/** A table in Markdown: a head, then rows; all columns but the first are numbers. */
export function markdown(lines: readonly (readonly string[])[]): string {
  const [head, ...body] = lines;
  const rule = head.map((_, i) => i === 0 ? "---" : "--:");
  return [head, rule, ...body].map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");
}
