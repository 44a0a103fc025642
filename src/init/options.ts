/**
 * What an initialisation is asked for.
 *
 * @module
 */

import type { Device, ScaleRule } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint.ts";
import type { Metric } from "../loftq/metric.ts";
import type { FormatName } from "../quant/formats.ts";
import type { BackboneKind, PlainDType } from "./backbone.ts";

/** What decides the bytes of the result; all of it goes into loqa.json. */
export interface InitOptions {
  readonly method: "loftq" | "qlora";
  readonly format: FormatName;
  readonly block?: number;
  readonly scale?: ScaleRule;
  readonly rank: number;
  readonly alpha: number;
  readonly rslora?: boolean;
  readonly iterations: number;
  readonly svd?: "randomized" | "exact";
  readonly earlyStop?: boolean;
  readonly mixed?: string;
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly alphaPattern?: Readonly<Record<string, number>>;
  readonly targets?: readonly string[];
  /** By default `bnb` where every layer fits it and is nf4, else `packed`. */
  readonly backbone?: BackboneKind;
  readonly dtype?: PlainDType;
  readonly doubleQuant?: boolean;
  readonly metric?: Metric["kind"];
  readonly seed: number;
}

/** How a run goes about it. */
export interface RunOptions {
  readonly device: Device;
  /** Folder to write. */
  readonly out: string;
  /** Goes on with an interrupted run. */
  readonly resume?: boolean;
  /** A model quantised elsewhere: its layers are kept as they are, only the factors are found. */
  readonly base?: Checkpoint;
  /** Stops between two layers, leaving what `resume` needs. */
  readonly signal?: AbortSignal;
  /** The metric of a layer, where `options.metric` asks for one. */
  readonly metricOf?: (module: string) => Promise<Metric>;
  /** Milliseconds between two points that `resume` can go on from (5000). */
  readonly safeInterval?: number;
  readonly onProgress?: (done: number, text: string) => void;
}
