/**
 * The loop of a training: steps, evaluations, checkpoints, and going back to the last of them.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import {
  appendText,
  exists,
  joinPath,
  readTextFile,
  remove,
  writeFileAtomic,
} from "../io/files/deno.ts";
import { readF32 } from "../device/device.ts";
import { listCheckpoints } from "../models/load/runs.ts";
import {
  NotFiniteError,
  pruneCheckpoints,
  readMoments,
  readState,
  saveCheckpoint,
  STATE,
  type TrainState,
} from "./checkpoint.ts";
import { type AnyBatch, collate } from "../data/example.ts";
import { DataOrder } from "./order.ts";
import type { OpenedExamples } from "./examples.ts";
import { taskBatch } from "./step/objective.ts";
import { type TrainOptions, type TrainRun, writes } from "./options.ts";
import { METRICS_FILE } from "./output.ts";
import { schedule } from "./step/schedule.ts";
import { batchLoss } from "./step/step.ts";
import type { Subject } from "./trainable.ts";
import { type StepReport, Trainer } from "./step/trainer.ts";
import { DivergenceWatch, GradientWatch, PATIENCE } from "./warnings.ts";

/** Default warm-up ratio. */
const WARMUP = 0.03;

/** Inputs of a training. */
export interface WorkParts {
  /** Folder of the run. */
  readonly folder: string;
  readonly subject: Subject;
  readonly options: TrainOptions;
  readonly run: TrainRun;
  readonly data: OpenedExamples;
  readonly evaluation?: OpenedExamples;
  readonly steps: number;
  readonly key: string;
  readonly padId: number;
  /** Tokens of the model's vocabulary. */
  readonly vocabSize: number;
}

/** The loop of a training and its state. */
export class TrainingLoop implements Disposable {
  state: TrainState;
  /** The gradients of the steps that were taken here. */
  readonly gradients = new GradientWatch();
  readonly #divergence: DivergenceWatch;
  readonly #parts: WorkParts;
  readonly #trainer: Trainer;
  #order: DataOrder;
  #saved: string | undefined;
  /** Numbers of the examples of the last batches. */
  #recent: (readonly number[])[] = [];

  constructor(parts: WorkParts) {
    const { subject, options, steps, key, data } = parts;
    this.#parts = parts;
    this.#divergence = new DivergenceWatch(
      writes(options) ? parts.vocabSize : undefined,
    );
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

  /** Goes back to the last checkpoint, where there is one. */
  async begin(): Promise<void> {
    const { folder, run, subject, key, data } = this.#parts;
    await pruneCheckpoints(folder, run.keep);
    const metrics = joinPath(folder, METRICS_FILE);
    const last = (await listCheckpoints(folder)).at(-1);
    if (!last) {
      await remove(metrics);
      return;
    }
    const state = await readState(last.path, key);
    await subject.read(last.path);
    await readMoments(last.path, subject.parameters);
    if (state.start !== subject.start) {
      throw new ValueError(
        `Cannot resume from ${last.path}: its run started from another adapter; run without --resume to start another run`,
      );
    }
    this.state = state;
    this.#divergence.begin(state.losses);
    this.#trainer.optimizer.steps = this.state.step;
    this.#order = DataOrder.from(
      this.state.order,
      data.order,
      `the order of examples in ${joinPath(last.path, STATE)}`,
    );
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
      const stops = run.signal?.aborted ?? false;
      // A diverged model does not replace the last good checkpoint.
      const saves = stops || step === steps ||
        (this.#divergence.since === undefined && step % run.saveEvery === 0);
      // The losses of the steps are those before their updates: the last one's work is not in them.
      const ruin = saves ? await this.#ruin() : undefined;
      if (ruin && (step === steps || !ruin.isFinite)) {
        const tensor = await this.#badTensor();
        this.#fail(`after step ${step} ${tensor ?? ruin.what}`);
      }
      if (step === steps || (every && step % every === 0)) {
        await this.#evaluate();
      }
      if (saves && !ruin) await this.#save();
      if (stops && step < steps) throw run.signal!.reason;
    }
    return this.#saved ?? "";
  }

  /** Frees the optimiser. */
  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
  }

  /** Next step at which the loss is read. */
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
      const next = this.#order.nextStep(options.batch, options.accumulation);
      this.#recent = [...this.#recent, ...next].slice(-PATIENCE);
      const batches = next.map((numbers) => this.#batch(data, numbers));
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
    this.gradients.add(reports);
    this.state = {
      ...this.state,
      step: reports.at(-1)!.step,
      order: this.#order.state,
      losses: [...this.state.losses, ...reports.map((r) => r.loss)],
      tokens: this.state.tokens +
        reports.reduce((sum, r) => sum + r.tokens, 0),
    };
    await this.#log(reports);
    const warnings = this.#divergence.add(reports);
    for (const line of warnings) this.#parts.run.onWarning?.(line);
    const { failure } = this.#divergence;
    if (failure !== undefined) this.#fail(failure);
  }

  /** Fault of the model as it is now, if it knows nothing of any of the last training batches. */
  async #ruin(): Promise<{ what: string; isFinite: boolean } | undefined> {
    const { data, subject } = this.#parts;
    const losses: number[] = [];
    let told: string | undefined;
    for (const numbers of this.#recent.toReversed()) {
      const batch = taskBatch(this.#batch(data, numbers));
      const { sum, count } = await batchLoss(subject.model, batch);
      if (count === 0) continue;
      losses.push(sum / count);
      told = this.#divergence.ruin(losses);
      if (told === undefined) return undefined;
    }
    const isFinite = losses.every(Number.isFinite);
    return told === undefined ? undefined : { what: told, isFinite };
  }

  /** A trained tensor with values that are not finite, in an error's words. */
  async #badTensor(): Promise<string | undefined> {
    const { parameters } = this.#parts.subject;
    for (const { name, value } of parameters.parameters.values()) {
      const { buffer, offset, rows, cols } = value;
      const data = await readF32(
        parameters.device,
        buffer,
        offset,
        rows * cols,
      );
      const bad = data.find((x) => !Number.isFinite(x));
      if (bad !== undefined) return `tensor ${name} holds ${bad}`;
    }
    return undefined;
  }

  async #log(
    lines: readonly (StepReport | Record<string, number>)[],
  ): Promise<void> {
    await appendText(
      joinPath(this.#parts.folder, METRICS_FILE),
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
    const { folder, run, subject } = this.#parts;
    try {
      this.#saved = await saveCheckpoint(folder, {
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

  /** Ends a training that has diverged. */
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

/** True if a line of the metrics is of a step up to `step`. */
function keeps(line: string, step: number): boolean {
  if (line === "") return false;
  try {
    return JSON.parse(line).step <= step;
  } catch {
    return false;
  }
}
