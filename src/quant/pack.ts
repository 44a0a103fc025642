/**
 * Packed codes: plain TypeScript versions for whole quantised matrices. The bit orders themselves belong to the
 * device contract, `src/device/pack.ts`.
 *
 * @module
 */

import { packCodes, unpackCodes } from "../device/pack.ts";
import { type Format, format } from "./formats.ts";
import type { QuantizedMatrix } from "./quantized.ts";

export { packCodes, unpackCodes };

/** Row-major codes of `q`, one a byte. */
export function codesOf(q: QuantizedMatrix): Uint8Array<ArrayBuffer> {
  return unpackCodes(format(q.format), q);
}

/**
 * Packs row-major codes, one a byte, as a {@linkcode QuantizedMatrix} stores them.
 *
 * Unlike a device, which leaves them 0, this fills the half byte after an odd number of `high` codes with the code
 * of the value 0: bitsandbytes pads the weights, not the codes.
 */
export function packMatrix(
  spec: Format,
  matrix: { rows: number; cols: number; codes: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const bytes = packCodes(spec, matrix);
  padLastByte(spec, matrix.rows * matrix.cols, bytes);
  return bytes;
}

/** Puts the code of the value 0 into the half byte left over by an odd `count` of `high` codes. */
export function padLastByte(
  spec: Format,
  count: number,
  bytes: Uint8Array,
): void {
  if (spec.order !== "high" || count % 2 === 0 || spec.thresholds === null) {
    return;
  }
  const zero = spec.thresholds.filter((t) => t < 0).length;
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] & 0xf0) | zero;
}
