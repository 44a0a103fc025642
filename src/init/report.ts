/**
 * Report of `loqa init`: the document of `--json` and of `loqa.json`.
 *
 * @module
 */

import type { FormatName } from "../quant/formats.ts";

/** One initialised layer. Errors are relative, in the Frobenius norm. */
export interface LayerReport {
  /** Module path. */
  readonly name: string;
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Number format of the backbone. */
  readonly format: FormatName;
  /** Weights that share a scale. */
  readonly block: number;
  /** Rank of the adapter. */
  readonly rank: number;
  /** Error of quantising alone. */
  readonly plainError: number;
  /** Error of `Q + s B A`. */
  readonly error: number;
  /** Error after each iteration, in the metric. */
  readonly history: readonly number[];
  /** The best iteration, from 1; 0 if there was none. */
  readonly iteration: number;
  /** {@linkcode plainError} in the metric, where one was given. */
  readonly plainOutputError?: number;
  /** {@linkcode error} in the metric, where one was given. */
  readonly outputError?: number;
  /** Time it took. */
  readonly seconds: number;
}

/** The whole run. */
export interface InitReport {
  /** Always `init`. */
  readonly verb: "init";
  /** Version of loqa. */
  readonly version: string;
  /** Path of the model that was read. */
  readonly model: string;
  /** Folder that was written. */
  readonly out: string;
  /** Hash of options and model: where it is the same, a run has nothing left to do. */
  readonly key?: string;
  /** SHA-256 over the quantised weights: an adapter fits the backbone with the same one. */
  readonly base: string;
  /** Source of the codes and scales, if they are a pre-quantised base's. */
  readonly kept?: string;
  /** PEFT's task type of the adapter, null where it has none. */
  readonly taskType?: string | null;
  /** Auto class of transformers that builds the model with the names that the files have. */
  readonly autoClass?: string;
  /** Inputs that QA-LoRA's adapter sums. */
  readonly group?: number;
  /** Source of the adapter that `loqa merge` put into the biases. */
  readonly merged?: { readonly version: string; readonly of: string };
  /** Everything that decides the bytes of the result. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The layers, in file order. */
  readonly layers: readonly LayerReport[];
  /** All of them together. */
  readonly summary: {
    /** Number of layers. */
    readonly layers: number;
    /** Mean error of quantising alone. */
    readonly meanPlainError: number;
    /** Mean error with the adapter. */
    readonly meanError: number;
    /** Wall time of the run. */
    readonly seconds: number;
    /** Share of it spent on the layers themselves. */
    readonly layerSeconds: number;
    /** Largest resident size of the process. */
    readonly peakBytes: number;
    /** Stored bits of a quantised weight, scales included. */
    readonly bitsPerWeight: number;
  };
}

/** Mean of `values`, 0 where there are none. */
export function mean(values: readonly number[]): number {
  return values.length === 0
    ? 0
    : values.reduce((sum, x) => sum + x, 0) / values.length;
}
