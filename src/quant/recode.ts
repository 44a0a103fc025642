/**
 * Lossless change of codebook, where one contains the other: an nf2 matrix as nf4, which bitsandbytes can load.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import { format, type FormatName } from "./formats.ts";
import { codesOf, packMatrix } from "./pack.ts";
import type { QuantizedMatrix } from "./quantized.ts";

/**
 * `q` in the codes of another codebook format that has each of its levels; scales, and so values, stay the same to
 * the bit.
 *
 * @throws {TypeError} If a format is affine, the groupings differ, or a level is missing (nf3 in nf4).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { dequantize, matrix, quantize, Random, recode } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const nf2 = await quantize(weight, { format: "nf2" });
 * assert.deepEqual(await dequantize(recode(nf2, "nf4")), await dequantize(nf2));
 * ```
 */
export function recode(q: QuantizedMatrix, to: FormatName): QuantizedMatrix {
  const from = format(q.format);
  const target = format(to);
  if (from.levels === null || target.levels === null) {
    throw new KindError(
      `Cannot recode ${q.format} as ${to}: wanted two codebook formats`,
    );
  }
  if (from.grouping !== target.grouping) {
    throw new KindError(
      `Cannot recode ${q.format} as ${to}: blocks run along a ${from.grouping} order in one, ${target.grouping} in the other`,
    );
  }
  const levels = target.levels;
  const map = Array.from(from.levels, (level) => levels.indexOf(level));
  const missing = map.indexOf(-1);
  if (missing >= 0) {
    throw new KindError(
      `Cannot recode ${q.format} as ${to}: it has no level ${
        from.levels[missing]
      }`,
    );
  }
  const codes = codesOf(q).map((code) => map[code]);
  return {
    ...q,
    format: to,
    codes: packMatrix(target, { rows: q.rows, cols: q.cols, codes }),
  };
}
