/**
 * What an initialisation is asked for.
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
import type { BackboneKind, PlainDType } from "./backbone.ts";
import type { Output } from "../io/output/output.ts";

/** What decides the bytes of the result; all of it goes into loqa.json. */
export interface InitOptions {
  /** `loftq`; `qlora`: quantise only, A at random, B zero; `qalora`: affine groups, an adapter on the sums of their inputs. */
  readonly method: "loftq" | "qlora" | "qalora";
  /**
   * Number format of layers that `mixed` does not name; nf4 without it. For `qalora` without format, block, scale and
   * mixed, a checkpoint that holds every layer in affine groups is the base as it is; any other is quantised to int4.
   */
  readonly format?: FormatName;
  /** Weights that share a scale; the format's default without it. */
  readonly block?: number;
  /** How scales, for `qalora` codes and scales, are chosen; the format's default without it. */
  readonly scale?: ScaleRule | BaseQuantizer;
  /** Whether biases of groups are calibrated by the metric, for `qalora`. */
  readonly biases?: boolean;
  /** Rank of the adapter. */
  readonly rank: number;
  /** LoRA's alpha. */
  readonly alpha: number;
  /** Scale by `alpha / sqrt(rank)`. */
  readonly rslora?: boolean;
  /** LoftQ's iterations; for `qalora` 0 is LoRA's own start. */
  readonly iterations: number;
  /** `randomized` by default. */
  readonly svd?: "randomized" | "exact";
  /** Whether to stop after an iteration that made the error larger (true). */
  readonly earlyStop?: boolean;
  /** Precision by layer, see `planLayers`. */
  readonly mixed?: string;
  /** Rank by module name or pattern. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Alpha by module name or pattern. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** Modules to quantise; all linear layers but the head without it. */
  readonly targets?: readonly string[];
  /** Whether an encoder's table of tokens' features is quantised too, with factors of its own; not for `qalora`. */
  readonly quantEmbedding?: boolean;
  /** By default `bnb` where every layer fits it and is nf4, else `packed`. */
  readonly backbone?: BackboneKind;
  /** Element type of plain tensors; without it as stored if packed, else one type that loses nothing (`oneDType`). */
  readonly dtype?: PlainDType;
  /** Scales of a `bnb` backbone in 8 bits. */
  readonly doubleQuant?: boolean;
  /** Type that scales and biases are rounded to and stored in; f16 in a packed backbone, else f32, without it. */
  readonly scaleDType?: "f16" | "f32";
  /** Kind of the metric that `metricOf` gives. */
  readonly metric?: Metric["kind"];
  /** Seed of what is random. */
  readonly seed: number;
}

/** All of these; true for what has no default. */
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

/** How a run goes about it. */
export interface RunOptions {
  /** Where to work. */
  readonly device: Device;
  /**
   * Opens another device when a GPU fails; the layer begun is done again there, and all that follow. Without it the
   * failure ends the run. Its caller disposes of the device.
   */
  readonly fallback?: (failure: DeviceFailure) => Promise<Device>;
  /** Folder to write. */
  readonly out: string;
  /** That folder, where it was opened before: it is disposed of with the run. */
  readonly output?: Output;
  /** Goes on with an interrupted run; one that is whole already is only told again. */
  readonly resume?: boolean;
  /**
   * Replaces what loqa wrote at `out` before, whatever it is, and what an interrupted run left beside it; without it both
   * are refused, the latter unless `resume` goes on with it.
   */
  readonly force?: boolean;
  /** A model quantised elsewhere: its layers are kept as they are, only the factors are found. */
  readonly base?: Checkpoint;
  /** Stops between two layers, leaving what `resume` needs. */
  readonly signal?: AbortSignal;
  /** The metric of a layer, where `options.metric` asks for one. */
  readonly metricOf?: (module: string) => Promise<Metric>;
  /** Milliseconds between two points that `resume` can go on from (5000). */
  readonly safeInterval?: number;
  /** Told what the result lacks, what it replaces, and that an interrupted run is of no use. */
  readonly onWarning?: (line: string) => void;
  /** Told the share done, from 0 to 1, and what is next. */
  readonly onProgress?: (done: number, text: string) => void;
}

/** All of these; true for what has no default. */
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
