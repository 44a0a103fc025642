/**
 * Merging of an adapter on groups into the biases of its base: nothing is quantised again
 * (Xu et al., QA-LoRA, 2309.14717, section 3.3).
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import { checkSizes } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import { type Matrix, matrix } from "../tensor/matrix.ts";
import { groupCount, groupFormat, groupSize } from "./groups.ts";

/** An adapter on inputs summed over groups: it adds `scaling * b * a * pool(x)`. */
export interface GroupAdapter {
  /** `lora_A: [rank, groups]`. */
  readonly a: Matrix;
  /** `lora_B: [out, rank]`. */
  readonly b: Matrix;
  /** `alpha / rank`, or `alpha / sqrt(rank)`. */
  readonly scaling: number;
}

/**
 * `base` with `scaling * b * a` added to its biases, summed in f64 and rounded once to f32: codes and scales stay as
 * they are, and but for that rounding so does what the layer computes.
 *
 * @throws {TypeError} If the base is not affine in groups along the inputs, or the factors do not fit it; the message
 * lists all that does not.
 * @throws {RangeError} If a bias would not be finite.
 */
export function merge(
  base: QuantizedMatrix,
  adapter: GroupAdapter,
): QuantizedMatrix {
  groupFormat(base.format, "a merge");
  checkSizes(base);
  const { a, b } = adapter;
  const groups = groupCount(base);
  const wrong: string[] = [];
  if (a.cols !== groups) {
    wrong.push(
      `a is ${a.rows} x ${a.cols}, the base has ${groups} groups of ${
        groupSize(base)
      } inputs`,
    );
  }
  if (b.rows !== base.rows) {
    wrong.push(`b is ${b.rows} x ${b.cols}, the base has ${base.rows} outputs`);
  }
  if (a.rows !== b.cols) {
    wrong.push(`the rank is ${a.rows} in a and ${b.cols} in b`);
  }
  if (wrong.length > 0) {
    throw new KindError(`Cannot merge the adapter: ${wrong.join("; ")}`);
  }
  return withBiases(base, groupSums(adapter));
}

/**
 * The change of the weight that an adapter stands for, `ΔW: [out, cols]`, in f32.
 *
 * @throws {TypeError} If the factors do not fit each other or the groups.
 */
export function spread(
  adapter: GroupAdapter,
  { cols, block }: { readonly cols: number; readonly block: number },
): Matrix {
  const { a, b } = adapter;
  const groups = groupCount({ cols, block });
  if (a.cols !== groups || a.rows !== b.cols) {
    throw new KindError(
      `Cannot spread the adapter: wanted a of rank x ${groups} and b of out x rank, got ${a.rows} x ${a.cols} and ${b.rows} x ${b.cols}`,
    );
  }
  const size = groupSize({ cols, block });
  const sums = groupSums(adapter);
  const out = matrix(b.rows, cols);
  for (let i = 0; i < b.rows; i++) {
    for (let j = 0; j < cols; j++) {
      out.data[i * cols + j] = sums[i * groups + Math.floor(j / size)];
    }
  }
  return out;
}

/** `scaling * b * a` in f64, `[out, groups]`. */
function groupSums({ a, b, scaling }: GroupAdapter): Float64Array {
  const { rows: rank, cols: groups } = a;
  const out = new Float64Array(b.rows * groups);
  for (let i = 0; i < b.rows; i++) {
    const row = out.subarray(i * groups, (i + 1) * groups);
    for (let k = 0; k < rank; k++) {
      const x = scaling * b.data[i * rank + k];
      for (let g = 0; g < groups; g++) row[g] += x * a.data[k * groups + g];
    }
  }
  return out;
}

/**
 * `base` with `added: [out, groups]` in its biases.
 *
 * @throws {RangeError} If a bias would not be finite.
 */
export function withBiases(
  base: QuantizedMatrix,
  added: ArrayLike<number>,
): QuantizedMatrix {
  const biases = base.biases!.map((x, i) => x + added[i]);
  const at = biases.findIndex((x) => !Number.isFinite(x));
  if (at >= 0) {
    const groups = groupCount(base);
    throw new ValueError(
      `Cannot merge: the bias of row ${Math.floor(at / groups)}, group ${
        at % groups
      } would be ${biases[at]}`,
    );
  }
  return { ...base, biases };
}
