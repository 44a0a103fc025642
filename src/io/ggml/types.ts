/**
 * Element types of ggml, which GGUF files and packed backbones hold: sizes and decoding of the block formats.
 *
 * The blocks decoded here hold 32 values of one row: an f16 scale `d`, in the `_1` types an f16 minimum `m`, and the
 * codes; `w = d * (q - middle)` or `w = d * q + m`. Those of the K types and IQ4 are in `src/io/ggml/k_types.ts`.
 * Values are those of the gguf Python package bit for bit.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { toF32 } from "../../tensor/dtype.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type DecodeBlocks, halfTable, words } from "./fields.ts";
import {
  decodeIQ4NL,
  decodeIQ4XS,
  decodeQ2K,
  decodeQ3K,
  decodeQ4K,
  decodeQ5K,
  decodeQ6K,
  decodeQ8K,
} from "./k_types.ts";

/** A GGUF element type, with all its facts. */
export interface GgufType {
  /** ggml's number of it, as files have it. */
  readonly id: number;
  /** As ggml names it: `Q4_1`. */
  readonly name: string;
  /** Values of a block. */
  readonly block: number;
  /** Bytes of a block; 0 of a type that is not in the table. */
  readonly bytes: number;
  /** The plain element type it is; undefined for block formats. */
  readonly dtype?: DType;
  /** Decodes whole blocks; undefined where loqa has no decoder or the type is a plain one. */
  readonly decode?: DecodeBlocks;
  /** Number in `general.file_type` of a file whose values are mostly of it; undefined where there is none of its own. */
  readonly fileType?: number;
  /** Bits of a code, of types whose codes can be kept as a base of QA-LoRA and written (`src/io/ggml/affine_blocks.ts`). */
  readonly affine?: { readonly bits: 4 | 5 };
}

function decodeQ40(input: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; o += 32, p += 18) {
    const d = half[w[p >> 1]];
    for (let j = 0; j < 16; j++) {
      const q = bytes[p + 2 + j];
      out[o + j] = d * ((q & 15) - 8);
      out[o + 16 + j] = d * ((q >> 4) - 8);
    }
  }
}

function decodeQ41(input: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; o += 32, p += 20) {
    const d = half[w[p >> 1]];
    const m = half[w[(p >> 1) + 1]];
    for (let j = 0; j < 16; j++) {
      const q = bytes[p + 4 + j];
      out[o + j] = d * (q & 15) + m;
      out[o + 16 + j] = d * (q >> 4) + m;
    }
  }
}

function decodeQ50(input: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; o += 32, p += 22) {
    const d = half[w[p >> 1]];
    const low = w[(p >> 1) + 1];
    const high = w[(p >> 1) + 2];
    for (let j = 0; j < 16; j++) {
      const q = bytes[p + 6 + j];
      out[o + j] = d * ((q & 15 | (low >> j & 1) << 4) - 16);
      out[o + 16 + j] = d * ((q >> 4 | (high >> j & 1) << 4) - 16);
    }
  }
}

function decodeQ51(input: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; o += 32, p += 24) {
    const d = half[w[p >> 1]];
    const m = half[w[(p >> 1) + 1]];
    const low = w[(p >> 1) + 2];
    const high = w[(p >> 1) + 3];
    for (let j = 0; j < 16; j++) {
      const q = bytes[p + 8 + j];
      out[o + j] = d * (q & 15 | (low >> j & 1) << 4) + m;
      out[o + 16 + j] = d * (q >> 4 | (high >> j & 1) << 4) + m;
    }
  }
}

function decodeQ80(input: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  const { bytes, words: w } = words(input);
  for (let o = 0, p = 0; o < out.length; o += 32, p += 34) {
    const d = half[w[p >> 1]];
    for (let j = 0; j < 32; j++) {
      out[o + j] = d * (bytes[p + 2 + j] << 24 >> 24);
    }
  }
}

/** ggml's table of types; those without a decoder are listed so that errors can name them. */
const TYPES = [
  { id: 0, name: "F32", block: 1, bytes: 4, dtype: "f32", fileType: 0 },
  { id: 1, name: "F16", block: 1, bytes: 2, dtype: "f16", fileType: 1 },
  { id: 2, name: "Q4_0", block: 32, bytes: 18, decode: decodeQ40, fileType: 2 },
  {
    id: 3,
    name: "Q4_1",
    block: 32,
    bytes: 20,
    decode: decodeQ41,
    fileType: 3,
    affine: { bits: 4 },
  },
  { id: 6, name: "Q5_0", block: 32, bytes: 22, decode: decodeQ50, fileType: 8 },
  {
    id: 7,
    name: "Q5_1",
    block: 32,
    bytes: 24,
    decode: decodeQ51,
    fileType: 9,
    affine: { bits: 5 },
  },
  { id: 8, name: "Q8_0", block: 32, bytes: 34, decode: decodeQ80, fileType: 7 },
  { id: 9, name: "Q8_1", block: 32, bytes: 40 },
  { id: 10, name: "Q2_K", block: 256, bytes: 84, decode: decodeQ2K },
  { id: 11, name: "Q3_K", block: 256, bytes: 110, decode: decodeQ3K },
  { id: 12, name: "Q4_K", block: 256, bytes: 144, decode: decodeQ4K },
  { id: 13, name: "Q5_K", block: 256, bytes: 176, decode: decodeQ5K },
  { id: 14, name: "Q6_K", block: 256, bytes: 210, decode: decodeQ6K },
  { id: 15, name: "Q8_K", block: 256, bytes: 292, decode: decodeQ8K },
  { id: 16, name: "IQ2_XXS", block: 256, bytes: 66 },
  { id: 17, name: "IQ2_XS", block: 256, bytes: 74 },
  { id: 18, name: "IQ3_XXS", block: 256, bytes: 98 },
  { id: 19, name: "IQ1_S", block: 256, bytes: 50 },
  { id: 20, name: "IQ4_NL", block: 32, bytes: 18, decode: decodeIQ4NL },
  { id: 21, name: "IQ3_S", block: 256, bytes: 110 },
  { id: 22, name: "IQ2_S", block: 256, bytes: 82 },
  { id: 23, name: "IQ4_XS", block: 256, bytes: 136, decode: decodeIQ4XS },
  { id: 24, name: "I8", block: 1, bytes: 1, dtype: "i8" },
  { id: 25, name: "I16", block: 1, bytes: 2, dtype: "i16" },
  { id: 26, name: "I32", block: 1, bytes: 4, dtype: "i32" },
  { id: 27, name: "I64", block: 1, bytes: 8, dtype: "i64" },
  { id: 28, name: "F64", block: 1, bytes: 8, dtype: "f64" },
  { id: 29, name: "IQ1_M", block: 256, bytes: 56 },
  { id: 30, name: "BF16", block: 1, bytes: 2, dtype: "bf16", fileType: 32 },
  { id: 34, name: "TQ1_0", block: 256, bytes: 54 },
  { id: 35, name: "TQ2_0", block: 256, bytes: 66 },
  { id: 39, name: "MXFP4", block: 32, bytes: 17 },
  { id: 40, name: "NVFP4", block: 64, bytes: 36 },
  { id: 41, name: "Q1_0", block: 128, bytes: 18 },
] as const satisfies readonly GgufType[];

/** Types whose blocks have a scale, a minimum and codes. */
export type AffineBlockType = "Q4_1" | "Q5_1";

// The same as the rows say it: documentation cannot name a private table.
type Affine = Extract<typeof TYPES[number], { affine: object }>["name"];
true satisfies [Affine, AffineBlockType] extends [AffineBlockType, Affine]
  ? true
  : false;

/** The type with ggml's number `id`; undefined if there is none. */
export function ggufType(id: number): GgufType | undefined {
  return TYPES.find((type) => type.id === id);
}

/**
 * The type `name`.
 *
 * @throws {TypeError} If there is none.
 */
export function ggufTypeNamed(name: string): GgufType {
  const found = TYPES.find((type) => type.name === name);
  if (found) return found;
  throw new KindError(`Cannot use GGUF type ${name}: there is none`);
}

/** Every type. */
export function ggufTypes(): readonly GgufType[] {
  return TYPES;
}

/** True if values of `type` can be had as f32. */
export function isDecodable(type: GgufType): boolean {
  return type.decode !== undefined || type.dtype === "f32" ||
    type.dtype === "f16" || type.dtype === "bf16" || type.dtype === "f64";
}

/**
 * f32 values of whole blocks of `type`.
 *
 * @throws {TypeError} If loqa cannot decode the type.
 */
export function decodeBlocks(
  type: GgufType,
  bytes: Uint8Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  const { dtype, decode } = type;
  if (decode !== undefined) {
    const out = new Float32Array(bytes.byteLength / type.bytes * type.block);
    decode(bytes, out);
    return out;
  }
  if (
    dtype === "f32" || dtype === "f16" || dtype === "bf16" || dtype === "f64"
  ) {
    return toF32(bytes, dtype) as Float32Array<ArrayBuffer>;
  }
  throw new KindError(`Cannot decode GGUF type ${type.name} to f32`);
}
