/**
 * `loqa train`: a training from files to files, which can be interrupted and resumed.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import {
  appendText,
  exists,
  joinPath,
  kindOf,
  listFolder,
  makeFolder,
  peakMemory,
  readTextFile,
  remove,
  writeFileAtomic,
} from "../io/deno.ts";
import { digest, fingerprint } from "../io/fingerprint.ts";
import { replaceFolder } from "../io/replace.ts";
import { checkpointTokenizer } from "../io/tokenizer.ts";
import { familyOf } from "../models/families.ts";
import { VERSION } from "../version.ts";
import {
  listCheckpoints,
  NotFiniteError,
  readMoments,
  readState,
  saveCheckpoint,
  type TrainState,
} from "./checkpoint.ts";
import { type AnyBatch, collate } from "./data/example.ts";
import { DataOrder } from "./data/order.ts";
import { planSteps } from "./data/steps.ts";
import { type OpenedExamples, openExamples } from "./examples.ts";
import type { TrainOptions, TrainReport, TrainRun } from "./options.ts";
import { schedule } from "./schedule.ts";
import { taskBatch } from "./objective.ts";
import { batchLoss } from "./step.ts";
import { findSubject, type FoundSubject, type Subject } from "./subject.ts";
import { type StepReport, Trainer } from "./trainer.ts";

export { TRAIN_DEFAULTS, TRAIN_TASKS } from "./options.ts";
export type {
  TrainOptions,
  TrainReport,
  TrainRun,
  TrainTask,
} from "./options.ts";
export type { LabelledSetName } from "./data/glue.ts";
export type { TrainedBiases } from "../io/peft_whole.ts";
export type { ChatMessage, TextCodec } from "./data/codec.ts";
export type { Overflow } from "./data/list.ts";
export type { TemplateName } from "./data/templates.ts";
export type { ScheduleName } from "./schedule.ts";
export type { TextUnit } from "../io/records/records.ts";

/** File of the figures of each step, one JSON document a line. */
export const METRICS_FILE = "metrics.jsonl";

/** Share of the steps in which the learning rate rises by default. */
const WARMUP = 0.03;

/**
 * Trains, and writes the result into `run.out`: `adapter` (or `backbone`, for a full training), `loqa.json`,
 * `metrics.jsonl` and `checkpoints`.
 *
 * @throws {RangeError} If the loss is not finite; the message names the step and the last good checkpoint.
 * @throws {DOMException} `AbortError` if the signal came; a checkpoint was written, the run can be resumed.
 */
export async function train(
  options: TrainOptions,
  run: TrainRun,
): Promise<TrainReport> {
  const began = performance.now();
  const { device } = run;
  await using found = await findSubject(run.path, {
    options,
    data: run.data,
  });
  const { checkpoint, head } = found;
  const { maxLength, vocabSize } = familyOf(checkpoint).config(checkpoint);
  const codecs = {
    codec: run.codec ?? await checkpointTokenizer(checkpoint),
    // A model of characters has its own tokens for what it writes.
    targetCodec: run.codec || options.task !== "seq2seq"
      ? undefined
      : await checkpointTokenizer(checkpoint, { side: "target" }),
    vocabSize: options.task === "lm" || options.task === "sft"
      ? undefined
      : vocabSize,
    labels: head?.labels,
  };
  const { codec } = codecs;
  if (options.block > maxLength) {
    throw new ValueError(
      `Cannot train on blocks of ${options.block} tokens: the model's context is ${maxLength}`,
    );
  }
  const data = await openExamples(run.data, options, codecs);
  if (data.note) run.onNote?.(data.note);
  const evaluation = run.evaluation?.length
    ? await openExamples(run.evaluation, options, {
      ...codecs,
      evaluation: true,
    })
    : undefined;
  const plan = planSteps({
    examples: data.order.draws ?? data.set.size,
    batch: options.batch,
    accumulation: options.accumulation,
    steps: options.steps,
    epochs: options.epochs ?? (options.steps === undefined ? 1 : undefined),
  });
  const key = await digest(JSON.stringify([
    VERSION,
    { ...options, steps: plan.steps, epochs: undefined },
    device.name,
    device.threads,
    await fingerprint(found.file),
    data.digest,
    evaluation?.digest,
  ]));
  // Only now: what the texts took while they became tokens is free again.
  await using subject = await found.load(device, run.onProgress);
  const work = new Work({
    subject,
    options,
    run,
    data,
    evaluation,
    steps: plan.steps,
    key,
    // Padding counts for nothing, but must be a token: one that was added to the tokenizer alone is none of the model's.
    padId: [codec.padId, codec.eosId].find((id) =>
      id !== undefined && id < subject.model.config.vocabSize
    ) ?? 0,
  });
  using _ = work;
  await work.begin();
  const last = await work.go();
  return await finish({ found, subject, options, run, work, last, began });
}

async function finish(
  { found: { place, head }, subject, options, run, work, last, began }: {
    found: FoundSubject;
    subject: Subject;
    options: TrainOptions;
    run: TrainRun;
    work: Work;
    /** Folder of the last checkpoint. */
    last: string;
    began: number;
  },
): Promise<TrainReport> {
  const { state } = work;
  const name = options.method === "full" ? "backbone" : "adapter";
  const partial = joinPath(run.out, `${name}.partial`);
  await remove(partial);
  await subject.write(partial);
  await replaceFolder(partial, joinPath(run.out, name));
  const tail = state.losses.slice(-Math.ceil(state.losses.length / 10));
  const [, before, accuracyBefore] = state.evaluations[0] ?? [];
  const [, after, accuracyAfter] = state.evaluations.at(-1) ?? [];
  const report: TrainReport = {
    verb: "train",
    version: VERSION,
    out: run.out,
    method: options.method,
    steps: state.step,
    loss: tail.reduce((a, b) => a + b, 0) / tail.length,
    ...(before !== undefined && after !== undefined && {
      evaluation: {
        before,
        after,
        ...(writes(options) && {
          perplexityBefore: Math.exp(before),
          perplexityAfter: Math.exp(after),
        }),
        ...(accuracyAfter !== undefined && { accuracyBefore, accuracyAfter }),
      },
    }),
    tokensPerSecond: state.tokens / state.seconds,
    trainableParameters: subject.parameters.count,
    seconds: (performance.now() - began) / 1000,
    peakBytes: peakMemory(),
    checkpoint: last,
  };
  // In its own folder an adapter keeps the figures of its init; elsewhere they would tell of other weights.
  const old = sameFolder(run.out, run.path) && place.report || {
    verb: "train",
    version: VERSION,
    model: place.model,
    options,
  };
  await writeFileAtomic(
    joinPath(run.out, "loqa.json"),
    `${
      JSON.stringify(
        {
          ...old,
          ...(head && { head: head.info }),
          train: { ...report, options },
        },
        null,
        2,
      )
    }\n`,
  );
  return report;
}

/** Whether what is trained writes token by token. */
function writes({ task }: TrainOptions): boolean {
  return task !== "classify" && task !== "qa";
}

function sameFolder(a: string, b: string): boolean {
  const bare = (path: string) => path.replace(/[\\/]+$/, "");
  return bare(a) === bare(b);
}

/** Makes the folder to write, unless it holds something that loqa did not write. */
async function prepareOut(out: string): Promise<void> {
  const kind = await kindOf(out);
  if (kind === "folder") {
    const names = (await listFolder(out)).map(({ name }) => name);
    const ours = ["loqa.json", "checkpoints"].some((name) =>
      names.includes(name)
    );
    if (ours || names.every((name) => name === METRICS_FILE)) return;
  }
  if (kind !== undefined) {
    throw new ValueError(
      `Cannot write to ${out}: it is there already and no loqa output; wanted a new folder or one with loqa.json`,
    );
  }
  await makeFolder(out);
}

interface WorkParts {
  readonly subject: Subject;
  readonly options: TrainOptions;
  readonly run: TrainRun;
  readonly data: OpenedExamples;
  readonly evaluation?: OpenedExamples;
  readonly steps: number;
  readonly key: string;
  readonly padId: number;
}

/** The loop of a training and what it has reached. */
class Work implements Disposable {
  state: TrainState;
  readonly #parts: WorkParts;
  readonly #trainer: Trainer;
  #order: DataOrder;
  #saved: string | undefined;

  constructor(parts: WorkParts) {
    const { subject, options, steps, key, data } = parts;
    this.#parts = parts;
    this.#order = new DataOrder(data.order);
    this.#trainer = new Trainer({
      model: subject.model,
      parameters: subject.parameters,
      learningRate: options.learningRate,
      schedule: schedule({
        name: options.schedule,
        steps,
        warmup: options.warmup ?? Math.ceil(steps * WARMUP),
      }),
      optimizer: {
        beta1: options.beta1,
        beta2: options.beta2,
        epsilon: options.epsilon,
        weightDecay: options.weightDecay,
        ...(options.clip > 0 && { clip: options.clip }),
      },
      checkpointing: options.checkpointing,
      seed: options.seed,
    });
    this.state = {
      key,
      start: subject.start,
      step: 0,
      order: this.#order.state,
      losses: [],
      evaluations: [],
      seconds: 0,
      tokens: 0,
    };
  }

  /** Goes back to the last checkpoint, or starts anew. */
  async begin(): Promise<void> {
    const { run, subject, key, data, steps } = this.#parts;
    await prepareOut(run.out);
    const metrics = joinPath(run.out, METRICS_FILE);
    const found = await listCheckpoints(run.out);
    const last = run.resume ? found.at(-1) : undefined;
    if (!last) {
      for (const { path } of found) await remove(path);
      await remove(metrics);
      return;
    }
    this.state = await readState(last.path, key);
    await subject.read(last.path);
    await readMoments(last.path, subject.parameters);
    // A run that was cut off in its last moments has put its result in the place of its start already.
    const ended = this.state.step === steps &&
      await subject.startFrom(last.path) === subject.start;
    if (this.state.start !== subject.start && !ended) {
      throw new ValueError(
        `Cannot resume from ${last.path}: it is of a run that started from another adapter; run without --resume to start anew`,
      );
    }
    this.#trainer.optimizer.steps = this.state.step;
    this.#order = DataOrder.from(this.state.order, data.order);
    this.#saved = last.path;
    if (await exists(metrics)) {
      const lines = (await readTextFile(metrics)).split("\n").filter((line) =>
        keeps(line, this.state.step)
      );
      await writeFileAtomic(metrics, lines.map((line) => `${line}\n`).join(""));
    }
  }

  /** Takes all steps that are left. Resolves to the folder of the last checkpoint. */
  async go(): Promise<string> {
    const { run, steps } = this.#parts;
    if (this.state.evaluations.length === 0) await this.#evaluate();
    while (this.state.step < steps) {
      const before = performance.now();
      const until = this.#nextStop();
      await this.#stepsUntil(until);
      this.state = {
        ...this.state,
        seconds: this.state.seconds + (performance.now() - before) / 1000,
      };
      const { step } = this.state;
      this.#show();
      const every = run.evaluateEvery;
      if (step === steps || (every && step % every === 0)) {
        await this.#evaluate();
      }
      const stops = run.signal?.aborted ?? false;
      if (stops || step === steps || step % run.saveEvery === 0) {
        await this.#save();
      }
      if (stops && step < steps) throw run.signal!.reason;
    }
    return this.#saved ?? "";
  }

  /** Frees the optimiser. */
  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
  }

  /** The step at which the loss is to be read next. */
  #nextStop(): number {
    const { run, steps } = this.#parts;
    const { step } = this.state;
    const next = (every: number) => (Math.floor(step / every) + 1) * every;
    return Math.min(
      steps,
      next(run.logEvery),
      next(run.saveEvery),
      run.evaluateEvery ? next(run.evaluateEvery) : steps,
    );
  }

  async #stepsUntil(until: number): Promise<void> {
    const { options, data, run } = this.#parts;
    for (let step = this.state.step; step < until; step++) {
      const batches = this.#order.nextStep(options.batch, options.accumulation)
        .map((numbers) => this.#batch(data, numbers));
      if (this.#trainer.full(batches.length)) await this.#read();
      this.#trainer.step(batches);
      if (run.signal?.aborted) break;
    }
    await this.#read();
  }

  /** Reads losses and notes them. */
  async #read(): Promise<void> {
    const reports = await this.#trainer.read();
    const bad = reports.find((r) => !Number.isFinite(r.loss));
    if (bad) this.#fail(`the loss of step ${bad.step} is ${bad.loss}`);
    if (reports.length === 0) return;
    this.state = {
      ...this.state,
      step: reports.at(-1)!.step,
      order: this.#order.state,
      losses: [...this.state.losses, ...reports.map((r) => r.loss)],
      tokens: this.state.tokens +
        reports.reduce((sum, r) => sum + r.tokens, 0),
    };
    await this.#log(reports);
  }

  async #log(
    lines: readonly (StepReport | Record<string, number>)[],
  ): Promise<void> {
    await appendText(
      joinPath(this.#parts.run.out, METRICS_FILE),
      lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
    );
  }

  /** Mean loss over the evaluation's tokens. */
  async #evaluate(): Promise<void> {
    const { evaluation, run, options, subject } = this.#parts;
    if (!evaluation) return;
    const { set } = evaluation;
    const most = run.evaluationBatches ?? 32;
    let sum = 0;
    let count = 0;
    let right: number | undefined;
    for (let i = 0; i < most && i * options.batch < set.size; i++) {
      const from = i * options.batch;
      const to = Math.min(set.size, from + options.batch);
      const numbers = Array.from({ length: to - from }, (_, j) => from + j);
      const batch = taskBatch(this.#batch(evaluation, numbers));
      const found = await batchLoss(subject.model, batch);
      sum += found.sum;
      count += found.count;
      if (found.right !== undefined) right = (right ?? 0) + found.right;
    }
    const { step, evaluations } = this.state;
    const loss = sum / count;
    const accuracy = right === undefined ? undefined : right / count;
    this.state = {
      ...this.state,
      evaluations: [
        ...evaluations,
        accuracy === undefined ? [step, loss] : [step, loss, accuracy],
      ],
    };
    const perplexity = writes(options) ? Math.exp(loss) : undefined;
    await this.#log([{
      ...{ step, evaluation: loss },
      ...(perplexity !== undefined && { perplexity }),
      ...(accuracy !== undefined && { accuracy }),
    }]);
    run.onNote?.(
      `step ${step}: evaluation loss ${loss.toFixed(4)}${
        perplexity === undefined
          ? ""
          : `, perplexity ${perplexity.toPrecision(5)}`
      }${accuracy === undefined ? "" : `, accuracy ${accuracy.toFixed(4)}`}`,
    );
  }

  /** Examples by their numbers as one batch. */
  #batch({ set }: OpenedExamples, numbers: readonly number[]): AnyBatch {
    const { subject: { model }, padId } = this.#parts;
    return collate(numbers.map((i) => set.example(i)), {
      padId,
      startId: model.kind === "seq2seq" ? model.config.startId : undefined,
    });
  }

  async #save(): Promise<void> {
    const { run, subject } = this.#parts;
    try {
      this.#saved = await saveCheckpoint(run.out, {
        parameters: subject.parameters,
        state: this.state,
        keep: run.keep,
        writeValues: (folder) => subject.save(folder),
      });
    } catch (error) {
      if (!(error instanceof NotFiniteError)) throw error;
      this.#fail(`after step ${this.state.step} ${error.message}`);
    }
  }

  /** Ends a training that has gone astray. */
  #fail(what: string): never {
    throw new ValueError(
      `Cannot go on training: ${what}; ${
        this.#saved
          ? `the last good checkpoint is ${this.#saved}`
          : "no checkpoint was written before"
      }`,
    );
  }

  #show(): void {
    const { run, steps } = this.#parts;
    const { step, losses, tokens, seconds } = this.state;
    run.onProgress?.(
      step / steps,
      `step ${step} of ${steps}  loss ${losses.at(-1)!.toFixed(4)}  ${
        Math.round(tokens / seconds)
      } tokens/s`,
    );
  }
}

/** Whether a line of the metrics is of a step up to `step`. */
function keeps(line: string, step: number): boolean {
  if (line === "") return false;
  try {
    return JSON.parse(line).step <= step;
  } catch {
    return false;
  }
}
