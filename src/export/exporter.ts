/**
 * Options and result of an exporter, shared by all targets of `loqa export`.
 *
 * @module
 */

import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import type { AffineBlockType } from "../io/ggml/types.ts";
import type { FormatName } from "../quant/formats.ts";
import type { RoundingLoss } from "./rounding.ts";

/** Element types that scales, biases and plain tensors can be written in, where a target leaves the choice. */
export type ExportDType = "f16" | "bf16" | "f32";

/** Options of an exporter. */
export interface ExporterOptions {
  /** File or folder to write, a new one; the caller puts it in its place when the exporter is done. */
  readonly out: string;
  /** Element type asked for; the exporter's own choice without it. */
  readonly dtype?: ExportDType;
  /** Blocks of quantised weights in a GGUF file, by default the narrowest for each; other targets have none to choose. */
  readonly blocks?: AffineBlockType;
  /** Path of the model that the checkpoint was made from, where loqa.json names one. */
  readonly original?: string;
  /** Stops the export; nothing is left of it. */
  readonly signal?: AbortSignal;
  /** Called with the share done, from 0 to 1, and the current step. */
  readonly onProgress?: (done: number, text: string) => void;
}

/** Export of one quantised weight. */
export interface ExportedLayer extends RoundingLoss {
  /** Module path: `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  /** Number format that it had. */
  readonly format: FormatName;
  /** Weights that share a scale. */
  readonly block: number;
}

/** Result of an exporter. */
export interface ExportReport {
  /** The quantised weights, in file order; none for a dense model. */
  readonly layers: readonly ExportedLayer[];
  /** Notes for the user, a sentence each. */
  readonly notes: readonly string[];
}

/**
 * Writes a checkpoint in another format.
 *
 * @throws {TypeError} If the format cannot hold the model: its architecture, a block, a number format.
 */
export type Exporter = (
  checkpoint: Checkpoint,
  options: ExporterOptions,
) => Promise<ExportReport>;
