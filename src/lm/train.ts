/**
 * LoRA fine-tuning of a causal LM in memory: records in, an event a step.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { ParameterSet } from "../autograd/parameter.ts";
import { collate } from "../data/example.ts";
import {
  readExamples,
  type RecordOptions,
  type RecordsSource,
} from "../data/tasks/sft.ts";
import type { Overflow } from "../data/list.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import type { CausalModel } from "../models/model.ts";
import { DataOrder } from "../train/order.ts";
import { schedule, type ScheduleName } from "../train/step/schedule.ts";
import { type StepReport, Trainer } from "../train/step/trainer.ts";
import { planSteps } from "../train/steps.ts";
import type { NewAdapter } from "./adapter.ts";

/** Options of `train`. One of `steps` and `epochs` is given. */
export interface LmTrainOptions
  extends NewAdapter, Pick<RecordOptions, "template" | "learn"> {
  /** Updates. */
  readonly steps?: number;
  /** Times that every example is seen. */
  readonly epochs?: number;
  /** Examples of an update (8). */
  readonly batch?: number;
  /** Largest learning rate (2e-4). */
  readonly learningRate?: number;
  /** Learning-rate schedule after the warm-up (`linear`). */
  readonly schedule?: ScheduleName;
  /** Steps of the warm-up (0). */
  readonly warmup?: number;
  /** Maximum gradient norm (1). */
  readonly clip?: number;
  /** LoRA dropout probability (0). */
  readonly dropout?: number;
  /** Longest example in tokens (the model's context, 1024 at the most). */
  readonly context?: number;
  /** Treatment of longer ones (`drop`). */
  readonly overflow?: Overflow;
  /** Activation checkpointing: blocks are computed again in the backward pass, for less memory (false). */
  readonly checkpointing?: boolean;
  /** Ends the training with the signal's reason as an error, after the step at work. */
  readonly signal?: AbortSignal;
}

/** Report of a step. */
export interface TrainEvent extends StepReport {
  /** Steps of the whole training. */
  readonly steps: number;
  /** Tokens of the step, padding included, by its seconds. */
  readonly tokensPerSecond: number;
}

/** Steps of a training. */
export async function* trainLm(
  { model, tokenizer, start }: {
    model: CausalModel;
    tokenizer: Tokenizer;
    /** Puts the adapter on the model and gives its parameters. */
    start: () => ParameterSet;
  },
  records: RecordsSource,
  {
    batch = 8,
    learningRate = 2e-4,
    schedule: shape = "linear",
    warmup = 0,
    clip = 1,
    seed = 0,
    context = Math.min(model.config.maxLength, 1024),
    ...options
  }: LmTrainOptions,
): AsyncGenerator<TrainEvent, void, void> {
  const { template, learn, overflow, checkpointing, signal } = options;
  if (context > model.config.maxLength) {
    throw new ValueError(
      `Cannot train on examples of ${context} tokens: the model's context is ${model.config.maxLength}`,
    );
  }
  const examples = await readExamples(records, {
    codec: tokenizer,
    context,
    ...(template && { template }),
    ...(learn && { learn }),
    ...(overflow && { overflow }),
  });
  const { steps } = planSteps({
    ...{ examples: examples.size, batch },
    steps: options.steps,
    epochs: options.epochs,
  });
  const order = new DataOrder({ kind: "shuffle", size: examples.size, seed });
  using trainer = new Trainer({
    ...{ model, learningRate, checkpointing, seed },
    parameters: start(),
    schedule: schedule({ name: shape, steps, warmup }),
    optimizer: { clip },
  });
  const padId = tokenizer.padId ?? tokenizer.eosId ?? 0;
  for (let step = 0; step < steps; step++) {
    signal?.throwIfAborted();
    const began = performance.now();
    const rows = Array.from(order.next(batch), (i) => examples.example(i));
    trainer.step([collate(rows, { padId })]);
    const [report] = await trainer.read();
    if (!Number.isFinite(report.loss)) {
      throw new ValueError(
        `Cannot go on training: the loss of step ${report.step} is ${report.loss}; a lower learning rate than ${learningRate} may do`,
      );
    }
    const seconds = (performance.now() - began) / 1000;
    yield { ...report, steps, tokensPerSecond: report.tokens / seconds };
    await new Promise((resolve) => setTimeout(resolve));
  }
}
