/**
 * Packed codes in plain TypeScript: the two bit orders of the device contract.
 *
 * @module
 */

import type { QuantSpec } from "./quant_mat.ts";

/** A quantised matrix's codes and its sizes; `codes` holds one a byte, or packed ones, as the function says. */
export interface CodeArray {
  readonly rows: number;
  readonly cols: number;
  readonly codes: Uint8Array;
}

/** The bit streams of a matrix: how many, elements and bytes of each. */
function streams(
  spec: QuantSpec,
  rows: number,
  cols: number,
): { count: number; length: number; bytes: number } {
  const [count, length] = spec.grouping === "flat"
    ? [1, rows * cols]
    : [rows, cols];
  return { count, length, bytes: Math.ceil((length * spec.bits) / 8) };
}

/**
 * Packs row-major codes, one a byte, into the format's bit streams; the bits left over at the end of a stream
 * are 0.
 */
export function packCodes(
  spec: QuantSpec,
  { rows, cols, codes }: CodeArray,
): Uint8Array<ArrayBuffer> {
  const { count, length, bytes } = streams(spec, rows, cols);
  const out = new Uint8Array(count * bytes);
  for (let s = 0; s < count; s++) {
    for (let i = 0; i < length; i++) {
      const code = codes[s * length + i];
      const bit = i * spec.bits;
      const at = s * bytes + (bit >> 3);
      if (spec.order === "high") {
        out[at] |= code << (4 - (bit & 7));
      } else {
        const shifted = code << (bit & 7);
        out[at] |= shifted;
        // A 3-bit code may straddle two bytes.
        if (shifted > 0xff) out[at + 1] |= shifted >> 8;
      }
    }
  }
  return out;
}

/** The inverse of {@linkcode packCodes}: row-major codes, one a byte. */
export function unpackCodes(
  spec: QuantSpec,
  { rows, cols, codes }: CodeArray,
): Uint8Array<ArrayBuffer> {
  const { count, length, bytes } = streams(spec, rows, cols);
  const mask = (1 << spec.bits) - 1;
  const out = new Uint8Array(rows * cols);
  for (let s = 0; s < count; s++) {
    for (let i = 0; i < length; i++) {
      const bit = i * spec.bits;
      const at = s * bytes + (bit >> 3);
      const word = codes[at] | ((codes[at + 1] ?? 0) << 8);
      const shift = spec.order === "high" ? 4 - (bit & 7) : bit & 7;
      out[s * length + i] = (word >> shift) & mask;
    }
  }
  return out;
}
