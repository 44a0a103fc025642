/**
 * Steps of training without files: batches in, losses out.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { ParameterSet } from "../../autograd/parameter.ts";
import { type DeviceBuffer, mat } from "../../device/buffer.ts";
import { readF32 } from "../../device/device.ts";
import type { Model } from "../../models/model.ts";
import type { AnyBatch } from "../../data/example.ts";
import { Optimizer, type OptimizerOptions } from "./optimizer.ts";
import type { Schedule } from "./schedule.ts";
import { predicted, taskBatch } from "./objective.ts";
import { accumulateGradients } from "./step.ts";

/** Options of a {@linkcode Trainer}. */
export interface TrainerOptions {
  readonly model: Model;
  /** Trainable parameters: an adapter's factors, or all weights of the model. */
  readonly parameters: ParameterSet;
  /** Peak learning rate. */
  readonly learningRate: number;
  /** Learning rate schedule: factor of the peak by step. */
  readonly schedule: Schedule;
  readonly optimizer?: OptimizerOptions;
  /** Activation (gradient) checkpointing: recompute blocks in the backward pass, for less memory (false). */
  readonly checkpointing?: boolean;
  /** Seed of dropout (0). */
  readonly seed?: number;
}

/** Report of a step. */
export interface StepReport {
  /** Number of the step, from 1. */
  readonly step: number;
  /** Mean loss of the predicted tokens. */
  readonly loss: number;
  /** Learning rate of the step. */
  readonly learningRate: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
  /** Gradient norm (of all gradients together) before clipping; only with clipping. */
  readonly gradientNorm?: number;
}

/** Limit of steps whose losses stay on the device. */
const MOST_PENDING = 256;

/** Trains a model step by step. */
export class Trainer implements Disposable {
  readonly optimizer: Optimizer;
  readonly #options: TrainerOptions;
  readonly #memory = new DisposableStack();
  /** Summed loss of each batch of the steps not read yet, and the norm of each step. */
  #losses: DeviceBuffer;
  readonly #norms: DeviceBuffer;
  #batches = 0;
  #pending: (Omit<StepReport, "loss"> & {
    from: number;
    to: number;
    weight: number;
  })[] = [];

  constructor(options: TrainerOptions) {
    const { device } = options.model;
    this.#options = options;
    this.optimizer = this.#memory.use(
      new Optimizer(options.parameters, options.optimizer),
    );
    this.#losses = device.alloc(MOST_PENDING * 4);
    this.#norms = this.#memory.use(device.alloc(MOST_PENDING * 4));
  }

  /** Steps so far. */
  get steps(): number {
    return this.optimizer.steps;
  }

  /** True if {@linkcode read} must come before the next step of `batches` batches. */
  full(batches: number): boolean {
    return this.#batches > 0 && this.#batches + batches > MOST_PENDING;
  }

  /**
   * One optimizer step from the mean loss over all predicted tokens of `batches` (gradient accumulation). Waits for
   * nothing: on a GPU the work is only sent.
   *
   * @throws {RangeError} If {@linkcode full}, or no token of the batches is to be predicted.
   */
  step(batches: readonly AnyBatch[]): void {
    const { model, seed = 0, checkpointing, optimizer } = this.#options;
    if (this.full(batches.length)) {
      throw new ValueError(
        `Cannot take another step: at most ${MOST_PENDING} batches between two reads`,
      );
    }
    let count = 0;
    for (const batch of batches) count += predicted(batch);
    if (count === 0) {
      throw new ValueError(
        "Cannot take a step: no token of its batches is to be predicted",
      );
    }
    if (batches.length * 4 > this.#losses.bytes) {
      this.#losses[Symbol.dispose]();
      this.#losses = model.device.alloc(batches.length * 4);
    }
    const step = this.steps;
    const learningRate = this.#options.learningRate *
      this.#options.schedule(step);
    const from = this.#batches;
    for (const [i, batch] of batches.entries()) {
      accumulateGradients(model, taskBatch(batch), {
        weight: 1 / count,
        seed: (Math.imul(seed + 1, 0x9e3779b1) + Math.imul(step, 0x85ebca77) +
          i) >>> 0,
        checkpointing,
        loss: { buffer: this.#losses, at: this.#batches++ },
      });
    }
    this.optimizer.step(learningRate);
    if (optimizer?.clip !== undefined) {
      model.device.ops.combine({
        x: this.optimizer.norm,
        out: mat(this.#norms, 1, 1, this.#pending.length),
      });
    }
    this.#pending.push({
      step: step + 1,
      learningRate,
      tokens: batches.reduce((sum, batch) => sum + tokensIn(batch), 0),
      from,
      to: this.#batches,
      weight: 1 / count,
    });
  }

  /** Waits for the steps since the last call and returns their reports. One readback. */
  async read(): Promise<StepReport[]> {
    const { device } = this.#options.model;
    const pending = this.#pending;
    if (pending.length === 0) return [];
    const [sums, norms] = await Promise.all([
      readF32(device, this.#losses, 0, this.#batches),
      readF32(device, this.#norms, 0, pending.length),
    ]);
    this.#pending = [];
    this.#batches = 0;
    const clips = this.#options.optimizer?.clip !== undefined;
    return pending.map(({ from, to, weight, ...report }, i) => ({
      ...report,
      loss: sums.subarray(from, to).reduce((a, b) => a + b, 0) * weight,
      ...(clips && { gradientNorm: norms[i] }),
    }));
  }

  /** Frees its memory; model and parameters are their owners'. */
  [Symbol.dispose](): void {
    this.#memory.dispose();
    this.#losses[Symbol.dispose]();
  }
}

/** Tokens of a batch, padding included. */
function tokensIn(batch: AnyBatch): number {
  if (batch.kind !== "pair") return batch.rows * batch.cols;
  const { source, target } = batch;
  return source.rows * source.cols + target.rows * target.cols;
}
