/**
 * Values of rows of a quantised matrix, in plain TypeScript and without the rest of it.
 *
 * Checkpoints decode with this; the maths itself runs on a device. A product and a sum are each rounded to f32, as the
 * device contract says and as MLX does.
 *
 * @module
 */

import { format } from "../../quant/formats.ts";
import type { QuantizedMatrix } from "../../quant/quantized.ts";

/** Layout of codes in a file; other widths than the formats' occur there. */
export interface StoredSpec {
  /** Bits of a code, 2 to 8. */
  readonly bits: number;
  /** Direction of blocks: along rows or over the flattened matrix. */
  readonly grouping: "flat" | "row";
  /** Order of the codes in the bit stream, as the device contract has it. */
  readonly order: "high" | "low";
  /** Levels of a codebook, or null for an affine format. */
  readonly levels: Float32Array | null;
}

/** A quantised matrix as laid out in files. */
export interface StoredShape {
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Elements of a block; 0 means the whole matrix (flat) or row (row). */
  readonly block: number;
}

/** Sizes of the parts of a stored matrix, as `quantSizes` of the device contract has them. */
export function storedSizes(
  spec: Pick<StoredSpec, "bits" | "grouping">,
  shape: StoredShape,
): { blocks: number; codeBytes: number } {
  const { streams, length, block } = streamsOf(spec, shape);
  return {
    blocks: streams * Math.ceil(length / block),
    codeBytes: streams * Math.ceil(length * spec.bits / 8),
  };
}

/** Bit streams, elements of each and the block that is really used: one stream, or one a row. */
function streamsOf(
  spec: Pick<StoredSpec, "grouping">,
  { rows, cols, block }: StoredShape,
): { streams: number; length: number; block: number } {
  const [streams, length] = spec.grouping === "flat"
    ? [1, rows * cols]
    : [rows, cols];
  return { streams, length, block: block || Math.max(length, 1) };
}

/** Parts of a stored matrix that some rows need. */
export interface StoredRange {
  /** First byte of the codes, and one past the last. */
  readonly codes: readonly [number, number];
  /** First block, and one past the last. */
  readonly blocks: readonly [number, number];
}

/** Ranges of the codes' bytes and of the blocks for rows `from` up to `to`. */
export function storedRange(
  spec: Pick<StoredSpec, "bits" | "grouping">,
  shape: StoredShape,
  [from, to]: readonly [number, number],
): StoredRange {
  if (from === to) return { codes: [0, 0], blocks: [0, 0] };
  const { length, block } = streamsOf(spec, shape);
  if (spec.grouping === "row") {
    const bytes = Math.ceil(length * spec.bits / 8);
    const blocks = Math.ceil(length / block);
    return {
      codes: [from * bytes, to * bytes],
      blocks: [from * blocks, to * blocks],
    };
  }
  const first = from * shape.cols;
  const end = to * shape.cols;
  return {
    codes: [
      Math.floor(first * spec.bits / 8),
      Math.ceil(end * spec.bits / 8),
    ],
    blocks: [Math.floor(first / block), Math.ceil(end / block)],
  };
}

/** The parts that {@linkcode storedRange} names. */
export interface StoredParts {
  /** Packed codes. */
  readonly codes: Uint8Array;
  /** One a block. */
  readonly scales: Float32Array;
  /** For affine formats. */
  readonly biases?: Float32Array;
}

/** f32 values of rows `from` up to `to`, out of the parts that {@linkcode storedRange} names for them. */
export function dequantizeRows(
  spec: StoredSpec,
  shape: StoredShape,
  [from, to]: readonly [number, number],
  parts: StoredParts,
): Float32Array<ArrayBuffer> {
  const { cols } = shape;
  const out = new Float32Array((to - from) * cols);
  if (out.length === 0) return out;
  const { length, block } = streamsOf(spec, shape);
  if (spec.grouping === "flat") {
    const start = from * cols;
    decodeRun(spec, out, {
      ...parts,
      bit: start * spec.bits % 8,
      inBlock: start % block,
      block,
    });
    return out;
  }
  const bytes = Math.ceil(length * spec.bits / 8);
  const blocks = Math.ceil(length / block);
  for (let r = 0; r < to - from; r++) {
    decodeRun(spec, out.subarray(r * cols, (r + 1) * cols), {
      codes: parts.codes.subarray(r * bytes, (r + 1) * bytes),
      scales: parts.scales.subarray(r * blocks, (r + 1) * blocks),
      biases: parts.biases?.subarray(r * blocks, (r + 1) * blocks),
      bit: 0,
      inBlock: 0,
      block,
    });
  }
  return out;
}

/** f32 values of a whole matrix: those that `readF32` of its checkpoint has of it. */
export function decodedMatrix(q: QuantizedMatrix): Float32Array<ArrayBuffer> {
  return dequantizeRows(format(q.format), q, [0, q.rows], q);
}

/** Decodes consecutive codes, the first of which begins at `bit` of the first byte and is the `inBlock`-th of its block. */
function decodeRun(
  { bits, order, levels }: Pick<StoredSpec, "bits" | "order" | "levels">,
  out: Float32Array,
  { codes, scales, biases, bit, inBlock, block }: StoredParts & {
    bit: number;
    inBlock: number;
    block: number;
  },
): void {
  const mask = (1 << bits) - 1;
  // In the `high` order the two halves of a byte are swapped.
  const swap = order === "high" ? 4 : 0;
  for (let at = 0, b = 0; at < out.length; b++) {
    const end = Math.min(at + block - (b === 0 ? inBlock : 0), out.length);
    const scale = scales[b];
    const bias = biases === undefined ? 0 : biases[b];
    for (; at < end; at++, bit += bits) {
      const byte = bit >> 3;
      const shift = (bit & 7) ^ swap;
      let word = codes[byte];
      // Codes of 3, 5 and 6 bits cross the end of a byte.
      if (shift + bits > 8) word |= codes[byte + 1] << 8;
      const code = word >> shift & mask;
      out[at] = levels === null
        ? Math.fround(scale * code) + bias
        : scale * levels[code];
    }
  }
}
