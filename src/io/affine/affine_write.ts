/**
 * Common parts of the writers of affine groups in other programs' formats.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { codesOf } from "../../quant/pack.ts";
import type { QuantizedMatrix, QuantizedShape } from "../../quant/quantized.ts";
import { narrow, toF32 } from "../../tensor/dtype.ts";
import type { ScaleDType } from "../../quant/formats.ts";
import type { NamedBytes } from "../files/bytes.ts";
import { quoted } from "../files/errors.ts";

/** A quantised weight as its file has it. */
export interface EncodedAffine {
  /** The tensors of the file. */
  readonly tensors: readonly NamedBytes[];
  /** Scales as a reader of the file gets them, `[rows, groups]`. */
  readonly scales: Float32Array;
  /** Biases as a reader of the file gets them, in f32. */
  readonly biases: Float32Array;
}

/** Values rounded to a type. */
export interface Rounded {
  readonly bytes: Uint8Array;
  /** The same in f32. */
  readonly values: Float32Array;
}

/**
 * Rounds `values` to `dtype`.
 *
 * @param what Their name in errors.
 * @throws {RangeError} If one is beyond the type, or NaN.
 */
export function roundTo(
  values: Float32Array,
  dtype: ScaleDType,
  what: string,
): Rounded {
  if (values.some(Number.isNaN)) {
    throw new ValueError(
      `Cannot write ${quoted(what)} as ${dtype}: it holds NaN`,
    );
  }
  const bytes = narrow(values, dtype, what);
  return { bytes, values: toF32(bytes, dtype) };
}

/** Groups of a row. */
export function groupsOf({ cols, block }: QuantizedShape): number {
  return block === 0 ? 1 : Math.ceil(cols / block);
}

/** Weights that share a scale: 0, the whole row, is its length. */
export function groupSize({ cols, block }: QuantizedShape): number {
  return block === 0 ? cols : block;
}

/** A matrix in the form `w = scale * (code - zero)`. */
export interface ZeroForm {
  /** Row-major, one a byte. */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** Rounded to their type. */
  readonly scales: Rounded;
  /** `-bias / scale`, as exact as f32 is. */
  readonly zeros: Float32Array<ArrayBuffer>;
  /** Scales that the codes of `q` have in it: 0 where codes were cleared. */
  readonly steps: Float32Array<ArrayBuffer>;
}

/**
 * The zero form of affine groups.
 *
 * A group without a step (scale 0, or too small for the type) has no zero that gives its bias; it gets code 0, scale
 * `-bias` and zero 1.
 *
 * @throws {RangeError} If a scale is beyond the type.
 */
export function zeroForm(
  q: QuantizedMatrix,
  { dtype, name }: { dtype: ScaleDType; name: string },
): ZeroForm {
  const codes = codesOf(q);
  const biases = q.biases!;
  const steps = Float32Array.from(roundTo(q.scales, dtype, name).values);
  const given = steps.map((step, i) => step === 0 ? -biases[i] : step);
  const scales = roundTo(given, dtype, name);
  const size = groupSize(q);
  const each = groupsOf(q);
  for (let g = 0; g < steps.length; g++) {
    if (steps[g] !== 0) continue;
    const row = Math.floor(g / each) * q.cols;
    const first = (g % each) * size;
    codes.fill(0, row + first, row + Math.min(first + size, q.cols));
  }
  const zeros = steps.map((step, i) =>
    step !== 0 ? 0 - biases[i] / step : scales.values[i] === 0 ? 0 : 1
  );
  return { codes, scales, zeros, steps };
}
