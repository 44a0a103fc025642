/**
 * Q4_1 and Q5_1 blocks of ggml to and from affine groups, without a change of a code.
 *
 * A block is 32 values of one row: scale and minimum in f16, in Q5_1 the fifth bits of the codes in 4 bytes, value `j`'s in
 * bit `j`, then 16 bytes, in which value `j` has the low half of byte `j` and value `j + 16` the high half;
 * `w = scale * q + minimum` (llama.cpp, `ggml-quants.c`).
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import { format, FORMATS, GROUP_FORMATS } from "../../quant/formats.ts";
import type { Format, FormatName } from "../../quant/formats.ts";
import { codesOf, packMatrix } from "../../quant/pack.ts";
import type { QuantizedMatrix } from "../../quant/quantized.ts";
import type {
  Checkpoint,
  QuantizedInfo,
  TensorInfo,
} from "../checkpoint/checkpoint.ts";
import { quoted } from "../files/errors.ts";
import { type AffineBlockType, ggufTypeNamed, ggufTypes } from "./types.ts";

const BLOCK = 32;
/** Bytes of the scale and the minimum. */
const HEAD = 4;

/** Types of blocks with a minimum, the narrowest first. */
export const AFFINE_BLOCKS: readonly AffineBlockType[] = ggufTypes()
  .filter(({ affine }) => affine !== undefined)
  .map(({ name }) => name as AffineBlockType);

/** `name` if it is a type of blocks with a minimum. */
export function affineBlockType(name: string): AffineBlockType | undefined {
  return AFFINE_BLOCKS.find((type) => type === name);
}

/** Bits of a block's codes, where its halves of bytes begin, and its size. */
function layout(
  type: AffineBlockType,
): { bits: 4 | 5; halves: number; bytes: number } {
  const { affine, bytes } = ggufTypeNamed(type);
  return { bits: affine!.bits, halves: bytes - BLOCK / 2, bytes };
}

/** A matrix in blocks. */
export interface EncodedBlocks {
  /** Rows one after the other. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Scales of the matrix's groups as they are in the blocks. */
  readonly scales: Float16Array<ArrayBuffer>;
  /** The same of its biases. */
  readonly biases: Float16Array<ArrayBuffer>;
}

/** True if blocks of a type hold codes of a format. */
export function blocksHold(type: AffineBlockType, name: FormatName): boolean {
  return format(name).bits <= layout(type).bits;
}

/** The narrowest type that holds codes of a format. */
export function blockTypeOf(name: FormatName): AffineBlockType {
  return AFFINE_BLOCKS.find((type) => blocksHold(type, name)) ??
    AFFINE_BLOCKS.at(-1)!;
}

/** Layout of a group's codes in its 32-blocks. */
interface Groups {
  readonly spec: Format;
  /** Values of a group. */
  readonly size: number;
  /** Groups of a row. */
  readonly count: number;
}

/**
 * Checks that `q` can be written in blocks.
 *
 * @param name What errors call it.
 * @param type The blocks' type.
 * @throws {TypeError} If it has no affine groups along the row, these are no whole blocks of 32, or its codes are too wide.
 */
function groupsOf(
  q: QuantizedMatrix,
  { name, type }: { name: string; type: AffineBlockType },
): Groups {
  const spec = format(q.format);
  if (spec.levels !== null || spec.grouping !== "row" || !q.biases) {
    throw new KindError(
      `Cannot write ${
        quoted(name)
      } as ${type}: wanted affine groups along the row (${GROUP_FORMATS}), got ${q.format}`,
    );
  }
  if (!blocksHold(type, q.format)) {
    throw new KindError(
      `Cannot write ${quoted(name)} as ${type}: wanted codes of at most ${
        layout(type).bits
      } bits, got ${q.format}`,
    );
  }
  const size = q.block || q.cols;
  if (q.cols % BLOCK !== 0 || (size % BLOCK !== 0 && size < q.cols)) {
    throw new KindError(
      `Cannot write ${
        quoted(name)
      } as ${type}: wanted rows and groups of whole blocks of ${BLOCK}, got ${q.cols} columns in groups of ${size}`,
    );
  }
  return { spec, size, count: Math.ceil(q.cols / size) };
}

/**
 * The matrix as blocks. Codes of fewer bits than a block's stay unchanged; a longer group repeats its scale and bias
 * in each of its blocks; both are rounded to f16.
 *
 * @param name What errors call it.
 * @param type The blocks' type, Q4_1 by default.
 * @param rowOf Row of the file for each row of the matrix; the same without it.
 * @throws {TypeError} If the groups are not affine along the row or no whole blocks of 32, or the codes too wide.
 * @throws {RangeError} If a scale or bias is beyond f16.
 */
export function encodeQ41(
  q: QuantizedMatrix,
  { name, type = "Q4_1", rowOf = (row) => row }: {
    name: string;
    type?: AffineBlockType;
    rowOf?: (row: number) => number;
  },
): EncodedBlocks {
  const { size, count } = groupsOf(q, { name, type });
  const codes = codesOf(q);
  const scales = new Float16Array(q.scales);
  const biases = new Float16Array(q.biases!);
  const far = scales.findIndex((s, i) => !Number.isFinite(s + biases[i]));
  if (far >= 0) {
    throw new ValueError(
      `Cannot write ${quoted(name)} as ${type}: scale ${
        q.scales[far]
      } or bias ${q.biases![far]} of row ${
        Math.floor(far / count)
      } is beyond f16`,
    );
  }
  const perRow = q.cols / BLOCK;
  const { bits, halves, bytes } = layout(type);
  const out = new Uint8Array(q.rows * perRow * bytes);
  const words = new DataView(out.buffer);
  for (let r = 0; r < q.rows; r++) {
    let to = rowOf(r) * perRow * bytes;
    for (let b = 0; b < perRow; b++, to += bytes) {
      const group = r * count + Math.floor(b * BLOCK / size);
      words.setFloat16(to, scales[group], true);
      words.setFloat16(to + 2, biases[group], true);
      const from = r * q.cols + b * BLOCK;
      for (let j = 0; j < BLOCK / 2; j++) {
        out[to + halves + j] = codes[from + j] & 15 |
          codes[from + j + BLOCK / 2] << 4;
      }
      if (bits === 4) continue;
      let fifths = 0;
      for (let j = 0; j < BLOCK; j++) {
        fifths |= codes[from + j] >> 4 << j;
      }
      words.setUint32(to + HEAD, fifths, true);
    }
  }
  return { bytes: out, scales, biases };
}

/** A matrix in blocks, by their type: of the widest codes that they hold. */
export function affineBlocksInfo(
  type: AffineBlockType,
  { rows, cols }: { rows: number; cols: number },
): QuantizedInfo {
  return {
    format: `int${layout(type).bits}`,
    ...{ rows, cols, block: BLOCK },
    scaleDType: "f16",
    biasDType: "f16",
  };
}

/**
 * A quantised weight with the format of its codes, as {@linkcode decodeQ41Matrix} finds it; undefined for a plain one.
 *
 * The width of codes in Q5_1 blocks is in their values; those that a quantiser filled show it by their first row: that is
 * read here and once more with the weight. Only blocks around narrower codes (`export --blocks q5_1`) are read to their
 * end.
 */
export async function narrowestShape(
  checkpoint: Checkpoint,
  { name, blocks, quantized }: TensorInfo,
): Promise<QuantizedInfo | undefined> {
  const type = blocks && affineBlockType(blocks);
  if (!quantized || !type) return quantized;
  const { bits, bytes: step } = layout(type);
  if (bits === 4) return quantized;
  const { rows } = quantized;
  for (let from = 0, to = 1; from < rows; [from, to] = [to, 2 * to]) {
    const bytes = await checkpoint.readBlocks!(name, from, Math.min(to, rows));
    for (let at = HEAD; at < bytes.length; at += step) {
      for (let i = at; i < at + BLOCK / 8; i++) {
        if (bytes[i] !== 0) return quantized;
      }
    }
  }
  return { ...quantized, format: "int4" };
}

/**
 * Rows of blocks as a matrix of groups of 32, the same codes, scales and biases: `int4`, or `int5` where a code of a Q5_1
 * block has its fifth bit.
 *
 * @param bytes The rows, one after the other.
 */
export function decodeQ41Matrix(
  bytes: Uint8Array<ArrayBuffer>,
  { rows, cols, type = "Q4_1" }: {
    rows: number;
    cols: number;
    type?: AffineBlockType;
  },
): QuantizedMatrix {
  const blocks = rows * cols / BLOCK;
  const { bits, halves, bytes: step } = layout(type);
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const scales = new Float32Array(blocks);
  const biases = new Float32Array(blocks);
  const codes = new Uint8Array(rows * cols);
  let wide = false;
  for (let b = 0, from = 0; b < blocks; b++, from += step) {
    const fifths = bits === 5 ? words.getUint32(from + HEAD, true) : 0;
    wide ||= fifths !== 0;
    scales[b] = words.getFloat16(from, true);
    biases[b] = words.getFloat16(from + 2, true);
    for (let j = 0; j < BLOCK / 2; j++) {
      const byte = bytes[from + halves + j];
      codes[b * BLOCK + j] = byte & 15;
      codes[b * BLOCK + j + BLOCK / 2] = byte >> 4;
    }
    if (fifths === 0) continue;
    for (let j = 0; j < BLOCK; j++) {
      codes[b * BLOCK + j] |= (fifths >>> j & 1) << 4;
    }
  }
  const name = wide ? "int5" : "int4";
  return {
    format: name,
    rows,
    cols,
    block: BLOCK,
    codes: packMatrix(FORMATS[name], { rows, cols, codes }),
    scales,
    biases,
  };
}
