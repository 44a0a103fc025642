/**
 * Settings of LoftQ, their checks, and its result.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import type { ScaleRule } from "../device/quant_mat.ts";
import { format, type FormatName, scaleRules } from "../quant/formats.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Matrix } from "../tensor/matrix.ts";
import type { Metric } from "./metric.ts";

/** The form that a file gives a backbone which it does not hold as it is. */
export interface StoredForm {
  /** The scales that a reader of the file gets for these. */
  readonly scales?: (scales: Float32Array) => Float32Array<ArrayBuffer>;
  /** The weights that it gets for these decoded ones. */
  readonly values?: (values: Float32Array) => Float32Array;
}

/** Settings of `loftq`. */
export interface LoftqSettings {
  /** Number format of the backbone; not needed with `base`. */
  readonly format?: FormatName;
  /** Elements of a block; the format's default without it. */
  readonly block?: number;
  /** Rule of the scales; the format's default without it. With `mse` the metric's moments weight the error. */
  readonly scale?: ScaleRule;
  /** Rank of the adapter, 16 by default. It may exceed the matrix's: the surplus rows of A start at random, those columns of B at zero. */
  readonly rank?: number;
  /** LoRA's alpha, by default the rank. */
  readonly alpha?: number;
  /** Scaling `alpha / sqrt(rank)` instead of `alpha / rank` (Kalajdzievski, 2312.03732). */
  readonly rslora?: boolean;
  /** Number of iterations T, 5 by default; 0 gives the default LoRA initialisation (QLoRA's): A Kaiming-uniform, B zero. */
  readonly iterations?: number;
  /** Stops after an iteration that made the error larger (true): the alternation is not monotone. */
  readonly earlyStop?: boolean;
  /** `randomized` (default) or `exact`. */
  readonly svd?: "randomized" | "exact";
  /** Norm of the residual; the identity, LoftQ's own, by default. */
  readonly metric?: Metric;
  /** Type that scales and biases will be stored in: with `f16` all is computed with the rounded ones. `f32` by default. */
  readonly scaleDType?: "f16" | "f32";
  /** A pre-quantised backbone: its weights stay, and only the factors are computed, by one SVD. */
  readonly base?: QuantizedMatrix;
  /** Second rounding of the backbone when it is written: factors make up for that too, and errors count it. */
  readonly stored?: StoredForm;
  /** Seeds the random parts, together with `name`. */
  readonly seed?: number;
  /** Name of the weight in errors, and the label of its random numbers. */
  readonly name?: string;
}

/** Result of `loftq`. Errors are relative, `‖error‖ / ‖W‖`. */
export interface LoftqResult {
  /** The quantised weight. */
  readonly backbone: QuantizedMatrix;
  /** `lora_A: [rank, in]`. */
  readonly a: Matrix;
  /** `lora_B: [out, rank]`. */
  readonly b: Matrix;
  /** `s` of `W ≈ Q + s B A`, folded into the factors. */
  readonly scaling: number;
  /** Frobenius error of quantising without a correction. */
  readonly plainError: number;
  /** Frobenius error of `Q + s B A`. */
  readonly error: number;
  /** Error after each iteration, in the metric. */
  readonly history: number[];
  /** The iteration that was kept, from 1; 0 if there was none. */
  readonly iteration: number;
  /** {@linkcode plainError} in the metric, where one was given. */
  readonly plainOutputError?: number;
  /** {@linkcode error} in the metric, where one was given. */
  readonly outputError?: number;
}

/**
 * LoRA's scaling of `B A`: `alpha / rank`, or `alpha / sqrt(rank)` with rank-stabilised LoRA.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { loraScaling } from "@loqa/loqa";
 *
 * assert.equal(loraScaling(16, 32), 2);
 * assert.equal(loraScaling(16, 32, true), 8);
 * ```
 */
export function loraScaling(
  rank: number,
  alpha: number,
  rslora = false,
): number {
  return alpha / (rslora ? Math.sqrt(rank) : rank);
}

/** Values of one factor at most: what a device can hold of it. */
const MOST_FACTOR = 2 ** 30;

/** Settings that were checked, with their defaults. */
export interface CheckedLoftq {
  readonly name: string;
  readonly rank: number;
  readonly scaling: number;
  readonly iterations: number;
  readonly earlyStop: boolean;
}

/**
 * Checks the settings that need no device.
 *
 * @throws {RangeError} If one is out of its range.
 * @throws {TypeError} If the scale rule does not fit the format, or `base` not the weight's shape.
 */
export function checkLoftq(
  weight: Matrix,
  options: LoftqSettings,
): CheckedLoftq {
  const { name = "the weight", rank = 16, base } = options;
  const { alpha = rank, iterations = base ? 1 : 5 } = options;
  const fail = (what: string, wanted: string, got: unknown): never => {
    throw new ValueError(
      `Cannot run LoftQ on ${name}: ${what} must be ${wanted}, got ${got}`,
    );
  };
  if (!Number.isInteger(rank) || rank < 1) {
    fail("rank", "a whole number >= 1", rank);
  }
  const most = Math.floor(MOST_FACTOR / Math.max(weight.rows, weight.cols, 1));
  if (rank > most) fail("rank", `at most ${most}`, rank);
  if (!(alpha > 0 && alpha < Infinity)) fail("alpha", "> 0", alpha);
  if (!Number.isInteger(iterations) || iterations < 0) {
    fail("iterations", "a whole number >= 0", iterations);
  }
  const { block } = options;
  if (block !== undefined && !(Number.isInteger(block) && block >= 0)) {
    fail("block", "a whole number >= 0", block);
  }
  if (base) {
    if (base.rows !== weight.rows || base.cols !== weight.cols) {
      throw new KindError(
        `Cannot run LoftQ on ${name}: the base is ${base.rows} x ${base.cols}, the weight ${weight.rows} x ${weight.cols}`,
      );
    }
  } else if (options.format === undefined) {
    fail("format", "named where no base is given", undefined);
  } else {
    const rules = scaleRules(format(options.format));
    if (options.scale && !rules.includes(options.scale)) {
      throw new KindError(
        `Cannot run LoftQ on ${name}: scale "${options.scale}" does not fit ${options.format}, wanted one of ${
          rules.join(", ")
        }`,
      );
    }
  }
  return {
    name,
    rank,
    scaling: loraScaling(rank, alpha, options.rslora),
    iterations: base ? Math.min(iterations, 1) : iterations,
    earlyStop: options.earlyStop ?? true,
  };
}
