/**
 * What `loqa init` tells: the document of `--json` and of `loqa.json`.
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
  readonly format: FormatName;
  readonly block: number;
  readonly rank: number;
  /** Error of quantising alone. */
  readonly plainError: number;
  /** Error of `Q + s B A`. */
  readonly error: number;
  /** Error after each iteration, in the metric. */
  readonly history: readonly number[];
  /** Iteration that was kept, from 1; 0 if there was none. */
  readonly iteration: number;
  /** The errors in the metric, where one was given. */
  readonly plainOutputError?: number;
  readonly outputError?: number;
  readonly seconds: number;
}

/** The whole run. */
export interface InitReport {
  readonly verb: "init";
  readonly version: string;
  readonly model: string;
  readonly out: string;
  /** SHA-256 over the quantised weights: an adapter fits the backbone with the same one. */
  readonly base: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly layers: readonly LayerReport[];
  readonly summary: {
    readonly layers: number;
    readonly meanPlainError: number;
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
