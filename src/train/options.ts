/**
 * Options and report of a training run.
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
import type { OrderKind } from "./order.ts";
import type { ScheduleName } from "./step/schedule.ts";

/** Training tasks. */
export const TRAIN_TASKS = [
  "lm",
  "sft",
  "classify",
  "qa",
  "seq2seq",
] as const;

/** Name of a training task. */
export type TrainTask = typeof TRAIN_TASKS[number];

/** Training methods. */
export const TRAIN_METHODS: readonly TrainOptions["method"][] = [
  "adapter",
  "lora",
  "full",
];

/** Training options: they decide the bytes of the result. */
export interface TrainOptions {
  /**
   * Method: `adapter` trains the LoRA adapter of a folder that `init` wrote (LoftQ's or QLoRA's initialisation); `lora` a
   * new one on the model as it is; `full` is full fine-tuning, of all weights.
   */
  readonly method: "adapter" | "lora" | "full";
  /**
   * Task: `lm`: causal language modelling, every token of packed sequences; `sft`: supervised fine-tuning on the answers of
   * examples; `classify`: sequence classification or regression of a text or two; `qa`: extractive question answering;
   * `seq2seq`: source/target pairs.
   */
  readonly task: TrainTask;
  /** Data set whose labels and columns are known (`classify`); by the file's columns and labels without it. */
  readonly dataSet?: LabelledSetName;
  /** Names of the classes of a new head (`classify`); by the data without it. */
  readonly labels?: readonly string[];
  /** Biases that are trained beside an adapter, as PEFT has it. */
  readonly biases: TrainedBiases;
  /** Modules that are trained in full beside an adapter (PEFT's `modules_to_save`), by the ends of their paths. */
  readonly modulesToSave?: readonly string[];
  /** Maximum sequence length in tokens (`--seq-len`): length of a packed sequence (`lm`), or of an example at the most. */
  readonly block: number;
  /** Batch size: sequences of a batch. */
  readonly batch: number;
  /** Gradient accumulation steps: batches of an optimizer step. */
  readonly accumulation: number;
  /** Number of optimizer steps; either these or {@linkcode epochs}. */
  readonly steps?: number;
  /** Number of epochs, passes through the data; 1 where no steps are given either. */
  readonly epochs?: number;
  /** Peak learning rate. */
  readonly learningRate: number;
  /** Learning rate schedule after the warm-up. */
  readonly schedule: ScheduleName;
  /** Warm-up steps, in which the learning rate rises; 3 % of all steps without it. */
  readonly warmup?: number;
  /** AdamW's weight decay. */
  readonly weightDecay: number;
  /** AdamW's beta1: decay of the first moment. */
  readonly beta1: number;
  /** AdamW's beta2: decay of the second moment. */
  readonly beta2: number;
  /** AdamW's epsilon, added to the root of the second moment. */
  readonly epsilon: number;
  /** Max gradient norm (gradient clipping), over all gradients; 0 for none. */
  readonly clip: number;
  /** LoRA dropout probability, of the adapter's inputs. */
  readonly dropout: number;
  /** Activation (gradient) checkpointing: recompute blocks in the backward pass. */
  readonly checkpointing: boolean;
  /** Arithmetic of products with quantised weights: `int8` rounds inputs and gradients to 8 bits, for affine formats. */
  readonly compute: Compute;
  /** Order of the examples: shuffled each epoch, windows at random (`lm`), or as they come. */
  readonly order: OrderKind;
  /** Prompt template of a record (`sft`); by its fields without it. */
  readonly template?: TemplateName;
  /** Answers of a conversation that are trained on (`sft`); all without it. */
  readonly learn?: Learn;
  /** Handling of examples longer than {@linkcode block}; they are dropped (`sft`) or truncated without it. */
  readonly overflow?: Overflow;
  /** Field of a record that holds the text (`lm`). */
  readonly field: string;
  /** Unit of a plain text file that is one text (`lm`). */
  readonly unit: TextUnit;
  /** LoRA rank of a new adapter (`lora`). */
  readonly rank: number;
  /** LoRA alpha of a new adapter. */
  readonly alpha: number;
  /** Rank-stabilised LoRA: scale `alpha / sqrt(rank)`. */
  readonly rslora: boolean;
  /** Target modules of a new adapter, by name or pattern; all linear layers of the blocks without it. */
  readonly targets?: readonly string[];
  /** LoRA ranks by module name or pattern. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** LoRA alphas by module name or pattern. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** Random seed. */
  readonly seed: number;
}

/** Training options as they are asked for: without a length the default one, or the model's context where it is shorter. */
export type TrainRequest =
  & Omit<TrainOptions, "block">
  & Partial<Pick<TrainOptions, "block">>;

/** All of these; true for those without a default. */
export const TRAIN_OPTIONS: OptionTable<TrainOptions> = {
  method: true,
  task: true,
  dataSet: false,
  labels: false,
  biases: true,
  modulesToSave: false,
  block: false,
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

/** Defaults of `loqa train`: an epoch of causal language modelling, one adapter of rank 16. */
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

/** True if the task trains a model that generates: a causal LM or an encoder-decoder. */
export function writes({ task }: Pick<TrainOptions, "task">): boolean {
  return task !== "classify" && task !== "qa";
}

/** Files, device and callbacks of a run. */
export interface TrainRun {
  /** Device to train on. */
  readonly device: Device;
  /** A folder that `init` wrote, or a model. */
  readonly path: string;
  /** Output folder; `path` itself for `adapter`. */
  readonly out: string;
  /**
   * Start in place of the adapter of `init`: the number of a run of `path`, or the path of a run, a checkpoint or an
   * adapter.
   */
  readonly from?: string;
  /** The model's weights, where they are not where `path` says. */
  readonly model?: string;
  /** Training data files. */
  readonly data: readonly string[];
  /** Evaluation data files, to measure the loss on. */
  readonly evaluation?: readonly string[];
  /** Steps between evaluations; only at the start and end without it. */
  readonly evaluateEvery?: number;
  /** Number of evaluation batches at the most (32). */
  readonly evaluationBatches?: number;
  /** Steps between checkpoints. */
  readonly saveEvery: number;
  /** Number of the last checkpoints to retain. */
  readonly keep: number;
  /** Steps between readings of the loss. */
  readonly logEvery: number;
  /**
   * Resumes from the last checkpoint of the last run of the same options and data, an unfinished one before a finished one.
   * More steps than it had extend it, by the schedule of all of them.
   */
  readonly resume?: boolean;
  /** Abort signal: stops after the present step, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** The tokenizer; the model's own without it. */
  readonly codec?: TextCodec;
  /** Called with the share done, from 0 to 1, and the present stage. */
  readonly onProgress?: (done: number, text: string) => void;
  /** Called with a note for the user. */
  readonly onNote?: (line: string) => void;
  /** Called with a warning for the user: something is wrong with the training, though it continues. */
  readonly onWarning?: (line: string) => void;
}

/** All of these; true for those without a default. */
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

/** Report of `loqa train`: the document of `--json`. */
export interface TrainReport {
  /** Always `train`. */
  readonly verb: "train";
  /** Version of loqa. */
  readonly version: string;
  /** Output folder. */
  readonly out: string;
  /** Number of the run, whose own files are in `runs/N` of that folder. */
  readonly run: number;
  /** Method of the training. */
  readonly method: TrainOptions["method"];
  /** Number of optimizer steps. */
  readonly steps: number;
  /** Mean loss of the last tenth of the steps. */
  readonly loss: number;
  /** Loss on the evaluation files before and after, where there are some. */
  readonly evaluation?: {
    readonly before: number;
    readonly after: number;
    /** Perplexity, of causal LMs and encoder-decoders. */
    readonly perplexityBefore?: number;
    readonly perplexityAfter?: number;
    /** Accuracy of the classes (`classify`). */
    readonly accuracyBefore?: number;
    readonly accuracyAfter?: number;
  };
  /** Training throughput in tokens a second, padding included. */
  readonly tokensPerSecond: number;
  /** Number of trainable parameters. */
  readonly trainableParameters: number;
  /** Wall time of the run in seconds. */
  readonly seconds: number;
  /** Peak resident memory of the process in bytes. */
  readonly peakBytes: number;
  /** Folder of the last checkpoint. */
  readonly checkpoint: string;
  /** Warnings about the training, where there are some. */
  readonly warnings?: readonly string[];
}
