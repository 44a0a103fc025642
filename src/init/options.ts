/**
 * Options of an initialisation.
 *
 * @module
 */

import type { OptionTable } from "../arguments.ts";
import type { Device } from "../device/device.ts";
import type { ScaleRule } from "../device/quant_mat.ts";
import type { DeviceFailure } from "../device/errors.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import type { Metric } from "../loftq/metric.ts";
import type { BaseQuantizer } from "../qalora/quantizer.ts";
import type { FormatName } from "../quant/formats.ts";
import type { PlainDType } from "./plain_dtype.ts";
import type { Output } from "../io/output/output.ts";

/** Methods of an initialisation. */
export const INIT_METHODS: readonly InitOptions["method"][] = [
  "loftq",
  "qlora",
  "qalora",
];

/** Algorithms of truncated SVDs. */
export const SVDS: readonly NonNullable<InitOptions["svd"]>[] = [
  "randomized",
  "exact",
];

/** Types that scales and biases are stored in. */
export const SCALE_DTYPES: readonly NonNullable<InitOptions["scaleDType"]>[] = [
  "f16",
  "f32",
];

/**
 * Layout of the backbone: `bnb` as bitsandbytes has it (nf4, and nf2 in nf4's codes), `dense` as plain weights,
 * `packed` in loqa's own layout at their real width, `none` not at all.
 */
export type BackboneKind = "packed" | "bnb" | "dense" | "none";

/** Every {@linkcode BackboneKind}. */
export const BACKBONES: readonly BackboneKind[] = [
  "packed",
  "bnb",
  "dense",
  "none",
];

/** Milliseconds between two points that a run can be resumed from. */
export const SAFE_INTERVAL = 5000;

/** Options that decide the bytes of the result; all of them go into loqa.json. */
export interface InitOptions {
  /**
   * LoRA initialisation: `loftq`; `qlora`: the default one, A at random, B zero; `qalora`: affine groups, an adapter on the
   * sums of their inputs.
   */
  readonly method: "loftq" | "qlora" | "qalora";
  /**
   * Number format of layers that `mixed` does not name; nf4 without it. For `qalora` without format, block, scale and
   * mixed, a checkpoint that holds every layer in affine groups is the base as it is; any other is quantised to int4.
   */
  readonly format?: FormatName;
  /** Quantisation group size, weights that share a scale; the format's default without it. */
  readonly block?: number;
  /** Scale rule, for `qalora` the quantizer of codes and scales; the format's default without it. */
  readonly scale?: ScaleRule | BaseQuantizer;
  /** True if biases of groups are calibrated by the metric, for `qalora`. */
  readonly biases?: boolean;
  /** LoRA rank of the adapter. */
  readonly rank: number;
  /** LoRA alpha. */
  readonly alpha: number;
  /** Rank-stabilised LoRA: scale `alpha / sqrt(rank)`. */
  readonly rslora?: boolean;
  /** Number of LoftQ iterations; for `qalora` 0 is the default LoRA initialisation. */
  readonly iterations: number;
  /** `randomized` by default. */
  readonly svd?: "randomized" | "exact";
  /** Stops after an iteration that made the error larger (true). */
  readonly earlyStop?: boolean;
  /** Mixed precision by layer, see `planLayers`. */
  readonly mixed?: string;
  /** LoRA rank by module name or pattern. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** LoRA alpha by module name or pattern. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** Target modules to quantise; all linear layers but the head without it. */
  readonly targets?: readonly string[];
  /** True if an encoder's token embedding is quantised too, with LoRA factors of its own; not for `qalora`. */
  readonly quantEmbedding?: boolean;
  /** Storage of the quantised model; by default `bnb` where every layer fits it and is nf4, else `packed`. */
  readonly backbone?: BackboneKind;
  /** Element type of plain tensors; without it as stored if packed, else one type that loses nothing (`oneDType`). */
  readonly dtype?: PlainDType;
  /** Double quantisation: scales of a `bnb` backbone in 8 bits. */
  readonly doubleQuant?: boolean;
  /** Type that scales and biases are rounded to and stored in; f16 in a packed backbone, else f32, without it. */
  readonly scaleDType?: "f16" | "f32";
  /** Kind of the metric that `metricOf` gives. */
  readonly metric?: Metric["kind"];
  /** Random seed. */
  readonly seed: number;
}

/** All of these; true for those without a default. */
export const INIT_OPTIONS: OptionTable<InitOptions> = {
  method: true,
  format: false,
  block: false,
  scale: false,
  biases: false,
  rank: true,
  alpha: true,
  rslora: false,
  iterations: true,
  svd: false,
  earlyStop: false,
  mixed: false,
  rankPattern: false,
  alphaPattern: false,
  targets: false,
  quantEmbedding: false,
  backbone: false,
  dtype: false,
  scaleDType: false,
  doubleQuant: false,
  metric: false,
  seed: true,
};

/** Files, device and callbacks of a run. */
export interface RunOptions {
  /** Device to work on. */
  readonly device: Device;
  /**
   * Opens another device when a GPU fails; the layer begun is done again there, and all that follow. Without it the
   * failure ends the run. Its caller disposes of the device.
   */
  readonly fallback?: (failure: DeviceFailure) => Promise<Device>;
  /** Output folder. */
  readonly out: string;
  /** That folder, where it was opened before: it is disposed of with the run. */
  readonly output?: Output;
  /** Resumes an interrupted run; of one that is finished only the report is returned again. */
  readonly resume?: boolean;
  /**
   * Replaces any earlier output of loqa at `out`, and an interrupted run beside it; without it both are refused, the
   * latter unless `resume` continues it.
   */
  readonly force?: boolean;
  /** Pre-quantised base: its layers stay as they are, only the adapter is fitted. */
  readonly base?: Checkpoint;
  /** Stops between two layers, so that `resume` can continue. */
  readonly signal?: AbortSignal;
  /** The metric of a layer, where `options.metric` asks for one. */
  readonly metricOf?: (module: string) => Promise<Metric>;
  /** Milliseconds between two points that `resume` can go on from (5000). */
  readonly safeInterval?: number;
  /** Called with warnings: parts that the result lacks, files that it replaces, an interrupted run of no use. */
  readonly onWarning?: (line: string) => void;
  /** Called with the share done, from 0 to 1, and the next step. */
  readonly onProgress?: (done: number, text: string) => void;
}

/** All of these; true for those without a default. */
export const RUN_OPTIONS: OptionTable<RunOptions> = {
  device: true,
  fallback: false,
  out: true,
  output: false,
  resume: false,
  force: false,
  base: false,
  signal: false,
  metricOf: false,
  safeInterval: false,
  onWarning: false,
  onProgress: false,
};
