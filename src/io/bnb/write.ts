/**
 * Writing weights in the 4-bit format of bitsandbytes, so that transformers loads them as they are.
 *
 * Names, types and sizes are known from shapes alone ({@linkcode bnbEntries}); the bytes follow layer by layer
 * ({@linkcode bnbTensors}).
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { dynamicMap, NESTED_BLOCK, nestScales } from "../../quant/double.ts";
import { format, type FormatName } from "../../quant/formats.ts";
import type { NamedBytes } from "../files/bytes.ts";
import type { QuantizedMatrix } from "../../quant/quantized.ts";
import { recode } from "../../quant/recode.ts";
import { storedSizes } from "../checkpoint/dequantize.ts";
import { quoted } from "../files/errors.ts";
import { floatJson } from "../files/json.ts";
import type { JsonObject } from "../files/json.ts";
import type { SafetensorsEntry } from "../safetensors/write.ts";

/** Element types that bitsandbytes can decode to. */
export type BnbDType = "f16" | "bf16" | "f32";

const DTYPES: Readonly<Record<BnbDType, string>> = {
  f16: "float16",
  bf16: "bfloat16",
  f32: "float32",
};

/** Block sizes that bitsandbytes has kernels for. */
const BLOCKS: readonly number[] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

/** Options of writing weights. */
export interface BnbOptions {
  /** Scales in 8 bits. */
  readonly doubleQuant?: boolean;
  /** Type that bitsandbytes decodes to (`bf16`). */
  readonly dtype?: BnbDType;
}

/** Shape of a weight for {@linkcode bnbEntries}. */
export interface BnbShape {
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Elements that share a scale. */
  readonly block: number;
}

/** A double takes at most this many characters in JSON. */
const LONGEST_NUMBER = 24;

/** True if bitsandbytes can hold weights of this format in blocks of this size: nf4, or nf2 in nf4's codes. */
export function bnbHolds(format: FormatName, block: number): boolean {
  return (format === "nf4" || format === "nf2") && BLOCKS.includes(block);
}

function checkBlock(name: string, block: number): void {
  if (!BLOCKS.includes(block)) {
    throw new ValueError(
      `Cannot write tensor ${quoted(name)} for bitsandbytes: wanted blocks of ${
        BLOCKS.join(", ")
      }, got ${block}`,
    );
  }
}

/**
 * The JSON of `quant_state` as Python's `json.dumps` spaces it.
 *
 * Spaces fill it up to a multiple of eight bytes that holds any offset: the size is known before the scales are,
 * and the tensors behind stay aligned. JSON readers skip them.
 */
function stateBytes(
  { rows, cols, block }: BnbShape,
  { doubleQuant = false, dtype = "bf16" }: BnbOptions,
  offset: number,
): Uint8Array<ArrayBuffer> {
  const text = (last: string) =>
    `{"quant_type": "nf4", "blocksize": ${block}, "dtype": "${
      DTYPES[dtype]
    }", "shape": [${rows}, ${cols}]${
      doubleQuant
        ? `, "nested_blocksize": ${NESTED_BLOCK}, "nested_dtype": "float32", "nested_offset": ${last}`
        : ""
    }}`;
  const length = text("0".repeat(LONGEST_NUMBER)).length;
  const out = new Uint8Array(Math.ceil(length / 8) * 8).fill(0x20);
  out.set(new TextEncoder().encode(text(JSON.stringify(offset))));
  return out;
}

/**
 * Tensors of weight `name`, in the order of {@linkcode bnbTensors}.
 *
 * @throws {RangeError} If bitsandbytes has no such block size.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { bnbEntries } from "@loqa/loqa";
 *
 * const entries = bnbEntries("q_proj.weight", { rows: 64, cols: 128, block: 64 });
 * assert.deepEqual(entries[0], { name: "q_proj.weight", dtype: "u8", shape: [4096, 1] });
 * ```
 */
export function bnbEntries(
  name: string,
  shape: BnbShape,
  options: BnbOptions = {},
): SafetensorsEntry[] {
  checkBlock(name, shape.block);
  const { blocks, codeBytes } = storedSizes(format("nf4"), shape);
  const f32 = (key: string, n: number): SafetensorsEntry => ({
    name: `${name}.${key}`,
    dtype: "f32",
    shape: [n],
  });
  const state: SafetensorsEntry = {
    name: `${name}.quant_state.bitsandbytes__nf4`,
    dtype: "u8",
    shape: [stateBytes(shape, options, 0).length],
  };
  const codes: SafetensorsEntry = { name, dtype: "u8", shape: [codeBytes, 1] };
  return options.doubleQuant
    ? [
      codes,
      { name: `${name}.absmax`, dtype: "u8", shape: [blocks] },
      f32("nested_absmax", Math.ceil(blocks / NESTED_BLOCK)),
      f32("nested_quant_map", 256),
      f32("quant_map", 16),
      state,
    ]
    : [codes, f32("absmax", blocks), f32("quant_map", 16), state];
}

/**
 * The bytes of weight `name`. An nf2 matrix is written in nf4 codes, which hold the same values.
 *
 * @throws {TypeError} If nf4 has not the levels of its format.
 * @throws {RangeError} If bitsandbytes has no such block size.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { bnbEntries, bnbTensors, matrix, quantize, Random } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const q = await quantize(weight, { format: "nf4" });
 * assert.deepEqual( // for a file whose header has bnbEntries(name, q)
 *   bnbTensors("q_proj.weight", q).map(({ name }) => name),
 *   bnbEntries("q_proj.weight", q).map(({ name }) => name),
 * );
 * ```
 */
export function bnbTensors(
  name: string,
  matrix: QuantizedMatrix,
  options: BnbOptions = {},
): NamedBytes[] {
  checkBlock(name, matrix.block);
  const q = matrix.format === "nf4" ? matrix : recode(matrix, "nf4");
  const bytes = (key: string, data: ArrayBufferView<ArrayBuffer>) => ({
    name: key === "" ? name : `${name}.${key}`,
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });
  const levels = bytes("quant_map", Float32Array.from(format("nf4").levels!));
  const state = (offset: number) =>
    bytes("quant_state.bitsandbytes__nf4", stateBytes(q, options, offset));
  if (!options.doubleQuant) {
    return [bytes("", q.codes), bytes("absmax", q.scales), levels, state(0)];
  }
  const nested = nestScales(q.scales);
  return [
    bytes("", q.codes),
    bytes("absmax", nested.codes),
    bytes("nested_absmax", nested.absmax),
    bytes("nested_quant_map", dynamicMap()),
    levels,
    state(nested.offset),
  ];
}

/** Options of {@linkcode bnbConfigBlock}. */
export interface BnbConfigOptions {
  /** Modules that were left unquantised beside the output head; null for transformers' default. */
  readonly skipModules?: readonly string[] | null;
  /** Type that products are taken in (`bf16`). */
  readonly computeDtype?: BnbDType;
  /** True if scales are in 8 bits. */
  readonly doubleQuant?: boolean;
}

/**
 * The `quantization_config` of `config.json`, to be written with `JSON.stringify`, by which transformers
 * recognises the file.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { bnbConfigBlock } from "@loqa/loqa";
 *
 * const block = bnbConfigBlock({ computeDtype: "bf16" }); // quantization_config of config.json
 * assert.equal(block.load_in_4bit, true);
 * ```
 */
export function bnbConfigBlock(
  { skipModules = null, computeDtype = "bf16", doubleQuant = false }:
    BnbConfigOptions = {},
): JsonObject {
  return {
    _load_in_4bit: true,
    _load_in_8bit: false,
    bnb_4bit_compute_dtype: DTYPES[computeDtype],
    bnb_4bit_quant_storage: "uint8",
    bnb_4bit_quant_type: "nf4",
    bnb_4bit_use_double_quant: doubleQuant,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: skipModules,
    llm_int8_threshold: floatJson(6),
    load_in_4bit: true,
    load_in_8bit: false,
    quant_method: "bitsandbytes",
  };
}
