/**
 * What a training is asked for.
 *
 * @module
 */

import type { OptionTable } from "../arguments.ts";
import type { Compute } from "../autograd/linear_weight.ts";
import type { Device } from "../device/device.ts";
import type { Learn } from "../data/chat/labels.ts";
import type { TextCodec } from "../data/codec.ts";
import type { TrainedBiases } from "../io/peft/whole.ts";
import type { TextUnit } from "../data/records/records.ts";
import type { LabelledSetName } from "../data/tasks/glue.ts";
import type { Overflow } from "../data/list.ts";
import type { TemplateName } from "../data/tasks/templates.ts";
import type { ScheduleName } from "./step/schedule.ts";

/** What can be trained. */
export const TRAIN_TASKS = [
  "lm",
  "sft",
  "classify",
  "qa",
  "seq2seq",
] as const;

/** Name of what is trained. */
export type TrainTask = typeof TRAIN_TASKS[number];

/** What decides the bytes of the result. */
export interface TrainOptions {
  /**
   * `adapter` trains the adapter of a folder that `init` wrote (LoftQ's or QLoRA's start); `lora` puts a new one on
   * the model as it is; `full` trains all weights.
   */
  readonly method: "adapter" | "lora" | "full";
  /**
   * `lm`: every token of packed blocks; `sft`: the answers of examples; `classify`: a class or a number of a text or two;
   * `qa`: where an answer stands in a text; `seq2seq`: a text made of a text.
   */
  readonly task: TrainTask;
  /** Data set whose labels and columns are known (`classify`); by the file's columns and labels without it. */
  readonly dataSet?: LabelledSetName;
  /** Names of the classes of a new head (`classify`); by the data without it. */
  readonly labels?: readonly string[];
  /** Which biases are trained besides an adapter, as PEFT has it. */
  readonly biases: TrainedBiases;
  /** Further modules that are trained in full besides an adapter, by the ends of their paths. */
  readonly modulesToSave?: readonly string[];
  /** Tokens of a block, or of an example at the most. */
  readonly block: number;
  /** Sequences of a batch. */
  readonly batch: number;
  /** Batches of a step. */
  readonly accumulation: number;
  /** Steps in all; either these or {@linkcode epochs}. */
  readonly steps?: number;
  /** Passes through the data; 1 where no steps are given either. */
  readonly epochs?: number;
  /** Largest learning rate. */
  readonly learningRate: number;
  /** How the learning rate goes on after the warm-up. */
  readonly schedule: ScheduleName;
  /** Steps in which the learning rate rises; 3 % of them all without it. */
  readonly warmup?: number;
  /** AdamW's decay. */
  readonly weightDecay: number;
  /** AdamW's decay of the first moment. */
  readonly beta1: number;
  /** AdamW's decay of the second moment. */
  readonly beta2: number;
  /** Added to the root of the second moment. */
  readonly epsilon: number;
  /** Largest norm of the gradients; 0 for none. */
  readonly clip: number;
  /** Share of the adapter's inputs that is dropped. */
  readonly dropout: number;
  /** Whether blocks are computed again going backwards. */
  readonly checkpointing: boolean;
  /** How products with quantised weights are computed: `int8` rounds inputs and gradients to 8 bits, for affine formats. */
  readonly compute: Compute;
  /** Order of the examples: shuffled each epoch, windows at random (`lm`), or as they come. */
  readonly order: "shuffle" | "random" | "sequential";
  /** How a record becomes prompt and answer (`sft`); by its fields without it. */
  readonly template?: TemplateName;
  /** Which answers of a conversation are learnt (`sft`); all without it. */
  readonly learn?: Learn;
  /** What happens to examples beyond the block; they are dropped (`sft`) or cut without it. */
  readonly overflow?: Overflow;
  /** Field of a record that holds the text (`lm`). */
  readonly field: string;
  /** What is a text of a plain file (`lm`). */
  readonly unit: TextUnit;
  /** Rank of a new adapter (`lora`). */
  readonly rank: number;
  /** Its alpha. */
  readonly alpha: number;
  /** Whether its scale is `alpha / sqrt(rank)`. */
  readonly rslora: boolean;
  /** Its layers, by name or pattern; all linear layers of the blocks without it. */
  readonly targets?: readonly string[];
  /** Its ranks by name or pattern. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Its alphas by name or pattern. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** Seed of what is random. */
  readonly seed: number;
}

/** All of these; true for what has no default. */
export const TRAIN_OPTIONS: OptionTable<TrainOptions> = {
  method: true,
  task: true,
  dataSet: false,
  labels: false,
  biases: true,
  modulesToSave: false,
  block: true,
  batch: true,
  accumulation: true,
  steps: false,
  epochs: false,
  learningRate: true,
  schedule: true,
  warmup: false,
  weightDecay: true,
  beta1: true,
  beta2: true,
  epsilon: true,
  clip: true,
  dropout: true,
  checkpointing: true,
  compute: true,
  order: true,
  template: false,
  learn: false,
  overflow: false,
  field: true,
  unit: true,
  rank: true,
  alpha: true,
  rslora: true,
  targets: false,
  rankPattern: false,
  alphaPattern: false,
  seed: true,
};

/** What `loqa train` does where it is not told otherwise: an epoch of language modelling, one adapter of rank 16. */
export const TRAIN_DEFAULTS: Omit<TrainOptions, "method"> = {
  task: "lm",
  block: 512,
  batch: 4,
  accumulation: 1,
  learningRate: 2e-4,
  schedule: "cosine",
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  clip: 1,
  dropout: 0,
  checkpointing: false,
  compute: "f32",
  order: "shuffle",
  field: "text",
  unit: "file",
  biases: "none",
  /** Rank of a new adapter (`lora`). */
  rank: 16,
  alpha: 16,
  rslora: false,
  seed: 0,
};

/** Whether what is trained writes token by token. */
export function writes({ task }: Pick<TrainOptions, "task">): boolean {
  return task !== "classify" && task !== "qa";
}

/** How a run goes about it. */
export interface TrainRun {
  /** Where to work. */
  readonly device: Device;
  /** A folder that `init` wrote, or a model. */
  readonly path: string;
  /** Folder to write; `path` itself for `adapter`. */
  readonly out: string;
  /**
   * Where to start instead of what `init` left: the number of a run of `path`, or the path of a run, a checkpoint or an
   * adapter.
   */
  readonly from?: string;
  /** The model's weights, where they are not where `path` says. */
  readonly model?: string;
  /** Files to learn from. */
  readonly data: readonly string[];
  /** Files to measure the loss on, now and then. */
  readonly evaluation?: readonly string[];
  /** Steps between two evaluations; only at the start and end without it. */
  readonly evaluateEvery?: number;
  /** Batches of an evaluation at the most (32). */
  readonly evaluationBatches?: number;
  /** Steps between two checkpoints. */
  readonly saveEvery: number;
  /** Checkpoints that are kept. */
  readonly keep: number;
  /** Steps between two readings of the loss. */
  readonly logEvery: number;
  /**
   * Goes on from the last checkpoint of the last run of the same options and data, one that has not ended before one
   * that has. More steps than it had make it longer, by the schedule of all of them.
   */
  readonly resume?: boolean;
  /** Stops after the present step, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** The tokenizer; the model's own without it. */
  readonly codec?: TextCodec;
  /** Told the share done, from 0 to 1, and where it is. */
  readonly onProgress?: (done: number, text: string) => void;
  /** Takes a line that a person should see. */
  readonly onNote?: (line: string) => void;
  /** Takes a line that a person must see: something is wrong with the training, though it goes on. */
  readonly onWarning?: (line: string) => void;
}

/** All of these; true for what has no default. */
export const TRAIN_RUN: OptionTable<TrainRun> = {
  device: true,
  path: true,
  out: true,
  from: false,
  model: false,
  data: true,
  evaluation: false,
  evaluateEvery: false,
  evaluationBatches: false,
  saveEvery: true,
  keep: true,
  logEvery: true,
  resume: false,
  signal: false,
  codec: false,
  onProgress: false,
  onNote: false,
  onWarning: false,
};

/** What `loqa train` tells: the document of `--json`. */
export interface TrainReport {
  /** Always `train`. */
  readonly verb: "train";
  /** Version of loqa. */
  readonly version: string;
  /** Folder that was written. */
  readonly out: string;
  /** Number of the run: what it wrote besides is in `runs/N` of that folder. */
  readonly run: number;
  /** What was trained. */
  readonly method: TrainOptions["method"];
  /** Updates. */
  readonly steps: number;
  /** Mean loss of the last tenth of the steps. */
  readonly loss: number;
  /** Loss on the evaluation files before and after, where there are some. */
  readonly evaluation?: {
    readonly before: number;
    readonly after: number;
    /** Of what is written token by token. */
    readonly perplexityBefore?: number;
    readonly perplexityAfter?: number;
    /** Share of the classes that are right (`classify`). */
    readonly accuracyBefore?: number;
    readonly accuracyAfter?: number;
  };
  /** Tokens through the model, padding included, while training. */
  readonly tokensPerSecond: number;
  /** Trained values. */
  readonly trainableParameters: number;
  /** Wall time of the run. */
  readonly seconds: number;
  /** Largest resident size of the process. */
  readonly peakBytes: number;
  /** Folder of the last checkpoint. */
  readonly checkpoint: string;
  /** What is wrong with it, where something is. */
  readonly warnings?: readonly string[];
}
