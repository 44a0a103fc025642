/**
 * Loqa's own layout of quantised weights, for every format and width.
 *
 * A safetensors file in which a quantised weight `W` (`….q_proj.weight`, `[rows, cols]`) is
 *
 * - `W.codes`, U8: the packed codes, `[rows, bytes of a row]` where the format groups along rows, `[bytes]` where it
 *   runs over the flattened matrix;
 * - `W.scales`, F16, BF16 or F32: one a block, `[rows, blocks of a row]` or `[blocks]`;
 * - `W.biases`, likewise: the same again, for affine formats (`w = scale * code + bias`);
 *
 * and everything else is a plain tensor under its own name, or, where it came from a GGUF file, as that had it:
 *
 * - `W.blocks`, U8: rows of whole blocks of a ggml type, `[rows, bytes of a row]`;
 *
 * with `{W: {"type", "shape"}}` in the metadata's `loqa.blocks`. The file describes itself: its metadata hold, under
 * `loqa.packed`, the JSON `{"version": 1, "weights": {W: {"format", "bits", "shape", "block", "order", "scales", "biases"}}}`,
 * where `block` 0 means the whole matrix (or row), `order` is that of codes in the bit stream (`low`: code `i` at bits
 * `i * bits` of a little-endian stream; `high`: the first code of a byte in its high half), `scales` the type of
 * scales and `biases` that of biases (as `scales` without it). Values are those that were computed with: a narrower type
 * is used only where it holds them exactly. Levels of the codebook formats are in `loqa.levels`, so that no other table is
 * needed to decode. `config.json` is written so that a loader which does not know the layout refuses it
 * (`config.ts`).
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { format, FORMATS } from "../../quant/formats.ts";
import type { Format, ScaleDType } from "../../quant/formats.ts";
import type { QuantizedMatrix, QuantizedShape } from "../../quant/quantized.ts";
import { fromF32, toF32 } from "../../tensor/dtype.ts";
import type { NamedBytes } from "../files/bytes.ts";
import {
  dequantizeRows,
  storedRange,
  storedSizes,
} from "../checkpoint/dequantize.ts";
import type { Checkpoint, TensorInfo } from "../checkpoint/checkpoint.ts";
import { Problems, quoted } from "../files/errors.ts";
import { narrowestShape } from "../ggml/affine_blocks.ts";
import { blocksReader } from "../ggml/blocks.ts";
import { ggufTypes } from "../ggml/types.ts";
import { isObject, parseJsonObject } from "../files/json.ts";
import type { JsonObject } from "../files/json.ts";
import type { SafetensorsEntry } from "../safetensors/write.ts";
import {
  decodedReader,
  readByteRange,
  readFloats,
} from "../checkpoint/tensor_reader.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";
import type { TensorStore } from "../checkpoint/store.ts";

const METADATA = "loqa.packed";
const BLOCKS = "loqa.blocks";
const VERSION = 1;

/** Types of scales and biases. */
const SCALE_TYPES: readonly ScaleDType[] = ["f16", "bf16", "f32"];

/** Shape and types of a weight before it is quantised. */
export interface PackedShape extends QuantizedShape {
  /** Type of the scales, which must hold them exactly; f32 without it. */
  readonly scaleDType?: ScaleDType;
  /** Type of the biases, likewise. */
  readonly biasDType?: ScaleDType;
}

/** Shapes of a weight's tensors. */
function partShapes(
  spec: Format,
  shape: Omit<QuantizedShape, "format">,
): { codes: number[]; blocks: number[] } {
  const { blocks, codeBytes } = storedSizes(spec, shape);
  const { rows } = shape;
  return spec.grouping === "row"
    ? {
      codes: [rows, rows === 0 ? 0 : codeBytes / rows],
      blocks: [rows, rows === 0 ? 0 : blocks / rows],
    }
    : { codes: [codeBytes], blocks: [blocks] };
}

/**
 * The tensors that weight `name` becomes, in the order of {@linkcode packedTensors}.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { packedEntries } from "@loqa/loqa";
 *
 * const shape = { format: "int3", rows: 64, cols: 128, block: 32 } as const;
 * const [codes] = packedEntries("q_proj.weight", shape);
 * assert.deepEqual(codes.shape, [64, 48]); // 128 codes of 3 bits in a row
 * ```
 */
export function packedEntries(
  name: string,
  shape: PackedShape,
): SafetensorsEntry[] {
  const spec = format(shape.format);
  const { codes, blocks } = partShapes(spec, shape);
  const entries: SafetensorsEntry[] = [
    { name: `${name}.codes`, dtype: "u8", shape: codes },
    { name: `${name}.scales`, dtype: shape.scaleDType ?? "f32", shape: blocks },
  ];
  if (spec.levels === null) {
    entries.push({
      name: `${name}.biases`,
      dtype: shape.biasDType ?? "f32",
      shape: blocks,
    });
  }
  return entries;
}

/**
 * The bytes of weight `name`, its scales and biases in the types of `shape`.
 *
 * @throws {RangeError} If a type does not hold them exactly.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { matrix, packedTensors, quantize, Random } from "@loqa/loqa";
 *
 * const weight = matrix(64, 128, new Random(0).normals(64 * 128));
 * const q = await quantize(weight, { format: "int3" });
 * const [codes] = packedTensors("q_proj.weight", q);
 * assert.equal(codes.bytes.length, 64 * 48);
 * ```
 */
export function packedTensors(
  name: string,
  q: QuantizedMatrix,
  shape: Pick<PackedShape, "scaleDType" | "biasDType"> = {},
): NamedBytes[] {
  const floats = (
    key: "scales" | "biases",
    values: Float32Array,
    dtype: ScaleDType = "f32",
  ) => {
    const bytes = fromF32(values, dtype) as Uint8Array<ArrayBuffer>;
    if (dtype !== "f32") {
      const at = toF32(bytes, dtype).findIndex((x, i) => x !== values[i]);
      if (at >= 0) {
        throw new ValueError(
          `Cannot write the ${key} of ${quoted(name)} as ${dtype}: it has not ${
            values[at]
          }, wanted f32`,
        );
      }
    }
    return { name: `${name}.${key}`, bytes };
  };
  const out = [
    { name: `${name}.codes`, bytes: q.codes },
    floats("scales", q.scales, shape.scaleDType),
  ];
  if (q.biases !== undefined) {
    out.push(floats("biases", q.biases, shape.biasDType));
  }
  return out;
}

/**
 * A weight of `checkpoint` as it is packed without a change, its scales and biases in the narrowest types that hold them;
 * undefined for one that is not quantised.
 *
 * Headers settle that where they say f16. Else scales and biases (not the codes) are read here and once more with the weight:
 * the types stand in the header of the file that is written, before the first of its weights.
 *
 * @param biases Type of the biases where it is settled.
 */
export async function packedShape(
  checkpoint: Checkpoint,
  tensor: TensorInfo,
  biases?: ScaleDType,
): Promise<PackedShape | undefined> {
  const shape = await narrowestShape(checkpoint, tensor);
  if (!shape) return undefined;
  const asked = shape.biasDType && biases;
  const open = [shape.scaleDType, asked ? undefined : shape.biasDType];
  const found = open.some((dtype) => dtype && dtype !== "f16")
    ? await checkpoint.readScales!(tensor.name)
    : undefined;
  return {
    ...shape,
    ...(found && { scaleDType: exactType(found.scales) }),
    ...(asked
      ? { biasDType: asked }
      : found?.biases && { biasDType: exactType(found.biases) }),
  };
}

/** The narrowest type that holds `values` exactly. */
function exactType(values: Float32Array): ScaleDType {
  for (const dtype of ["f16", "bf16"] as const) {
    const read = toF32(fromF32(values, dtype), dtype);
    if (read.every((x, i) => Object.is(x, values[i]))) return dtype;
  }
  return "f32";
}

/** Entry of a tensor that is not quantised: itself, or its blocks. */
export function keptEntry(tensor: TensorInfo): SafetensorsEntry {
  const { name, shape, blocks, bytes } = tensor;
  return blocks === undefined ? tensor : {
    name: `${name}.blocks`,
    dtype: "u8",
    shape: [shape[0], bytes / Math.max(shape[0], 1)],
  };
}

/**
 * The metadata of a file with the quantised `weights`, by name, and those of `tensors` that are kept in their blocks.
 *
 * @example
 * ```ts
 * import { packedEntries, packedMetadata, safetensorsHeader } from "@loqa/loqa";
 *
 * const shape = { format: "int3", rows: 64, cols: 128, block: 32 } as const;
 * const { header } = safetensorsHeader(
 *   packedEntries("q_proj.weight", shape),
 *   packedMetadata(new Map([["q_proj.weight", shape]])),
 * );
 * console.log(header.length);
 * ```
 */
export function packedMetadata(
  weights: ReadonlyMap<string, PackedShape>,
  tensors: Iterable<TensorInfo> = [],
): Record<string, string> {
  const blocks: Record<string, JsonObject> = {};
  for (const { name, shape, blocks: type } of tensors) {
    if (type !== undefined && !weights.has(name)) {
      blocks[name] = { type, shape };
    }
  }
  const list: Record<string, JsonObject> = {};
  const levels: Record<string, number[]> = {};
  for (const [name, weight] of weights) {
    const { format: key, rows, cols, block } = weight;
    const { scaleDType = "f32", biasDType = "f32" } = weight;
    const spec = format(key);
    list[name] = {
      format: key,
      bits: spec.bits,
      shape: [rows, cols],
      block,
      order: spec.order,
      scales: scaleDType.toUpperCase(),
      ...(spec.levels === null && { biases: biasDType.toUpperCase() }),
    };
    if (spec.levels !== null) levels[key] = Array.from(spec.levels);
  }
  return {
    format: "pt",
    [METADATA]: JSON.stringify({ version: VERSION, weights: list }),
    "loqa.levels": JSON.stringify(levels),
    ...(Object.keys(blocks).length > 0 && {
      [BLOCKS]: JSON.stringify(blocks),
    }),
  };
}

/** True if a store is in this layout. */
export function hasPacked(store: TensorStore): boolean {
  return store.metadata.has(METADATA);
}

/**
 * Readers of the logical tensors of a packed store; plain tensors pass through.
 *
 * @param where Name of the checkpoint in errors.
 * @throws {SyntaxError} That lists every weight whose description or parts do not fit.
 * @throws {RangeError} If the layout's version is newer than this.
 */
export function packedReaders(
  store: TensorStore,
  { where }: { where: string },
): TensorReader[] {
  const description = parseJsonObject(
    store.metadata.get(METADATA)!,
    `${where} (${METADATA})`,
  );
  if (description.version !== VERSION) {
    throw new ValueError(
      `Cannot read ${
        quoted(where)
      }: wanted version ${VERSION} of the packed layout, got ${
        quoted(`${description.version}`)
      }`,
    );
  }
  const problems = new Problems(`read ${quoted(where)} as packed`);
  if (!isObject(description.weights)) {
    problems.add("its description has no weights");
    throw problems.error();
  }
  const used = new Set<string>();
  const weights = new Map<string, TensorReader>();
  for (const [name, entry] of Object.entries(description.weights)) {
    const reader = readWeight(store, name, { entry, problems, used });
    if (reader !== undefined) weights.set(`${name}.codes`, reader);
  }
  const kept = store.metadata.get(BLOCKS);
  const lists = kept ? parseJsonObject(kept, `${where} (${BLOCKS})`) : {};
  for (const [name, entry] of Object.entries(lists)) {
    const reader = readKept(store, name, { entry, problems });
    if (reader !== undefined) weights.set(`${name}.blocks`, reader);
  }
  problems.throwIfAny();
  const readers: TensorReader[] = [];
  for (const [name, reader] of store.tensors) {
    const weight = weights.get(name);
    if (weight !== undefined) readers.push(weight);
    else if (!used.has(name)) readers.push(reader);
  }
  return readers;
}

function readWeight(
  store: TensorStore,
  name: string,
  { entry, problems, used }: {
    entry: unknown;
    problems: Problems;
    used: Set<string>;
  },
): TensorReader | undefined {
  let fine = true;
  const bad = (reason: string): undefined => {
    problems.add(`tensor ${quoted(name)}: ${reason}`);
    fine = false;
    return undefined;
  };
  if (!isObject(entry)) return bad("its description is no object");
  const { format: key, shape, block, bits, order, scales } = entry;
  const { biases = scales } = entry;
  if (typeof key !== "string" || !Object.hasOwn(FORMATS, key)) {
    return bad(`unknown format ${quoted(`${key}`)}`);
  }
  const spec = format(key);
  const [scaleOf, biasOf] = [scaleType(scales), scaleType(biases)];
  if (
    bits !== spec.bits || order !== spec.order || !scaleOf || !biasOf
  ) {
    return bad(
      `${key} has ${spec.bits} bits, order ${spec.order} and scales in F16, BF16 or F32, got ${
        quoted(`${bits} ${order} ${scales} ${biases}`)
      }`,
    );
  }
  if (
    !Array.isArray(shape) || shape.length !== 2 || !shape.every(isSize) ||
    !isSize(block)
  ) return bad("its shape or block is none");
  const [rows, cols] = shape as [number, number];
  const stored = { rows, cols, block };
  if (!Number.isSafeInteger(rows * cols)) return bad("its shape is too large");
  const wanted = partShapes(spec, stored);
  const part = (suffix: string, dtype: string, sizes: number[]) => {
    const reader = store.tensors.get(`${name}.${suffix}`);
    used.add(`${name}.${suffix}`);
    if (
      reader?.info.dtype !== dtype || `${reader.info.shape}` !== `${sizes}`
    ) {
      bad(
        `${suffix}: wanted ${dtype} [${sizes.join(", ")}], got ${
          reader === undefined
            ? "nothing"
            : `${reader.info.dtype} [${reader.info.shape.join(", ")}]`
        }`,
      );
    }
    return reader!;
  };
  const parts = {
    codes: part("codes", "u8", wanted.codes),
    scales: part("scales", scaleOf, wanted.blocks),
    biases: spec.levels === null
      ? part("biases", biasOf, wanted.blocks)
      : undefined,
  };
  if (store.tensors.has(name)) bad("it is stored plain as well");
  if (!fine) return undefined;
  return weightReader(name, { spec, stored, parts });
}

/** A tensor that is stored in blocks of a GGUF file. */
function readKept(
  store: TensorStore,
  name: string,
  { entry, problems }: { entry: unknown; problems: Problems },
): TensorReader | undefined {
  const bad = (reason: string): undefined => {
    problems.add(`tensor ${quoted(name)}: ${reason}`);
    return undefined;
  };
  if (!isObject(entry)) return bad("its description is no object");
  const type = ggufTypes().find((t) => t.name === entry.type);
  if (!type?.decode) return bad(`unknown type ${quoted(`${entry.type}`)}`);
  const { shape } = entry;
  if (
    !Array.isArray(shape) || shape.length !== 2 || !shape.every(isSize) ||
    shape[1] % type.block !== 0
  ) return bad("its shape is none, or no whole blocks");
  const [rows, cols] = shape as [number, number];
  const reader = store.tensors.get(`${name}.blocks`);
  const wanted = [rows, cols / type.block * type.bytes];
  if (reader?.info.dtype !== "u8" || `${reader.info.shape}` !== `${wanted}`) {
    return bad(`its blocks: wanted u8 [${wanted.join(", ")}]`);
  }
  if (store.tensors.has(name)) return bad("it is stored plain as well");
  return blocksReader(
    { name, shape: [rows, cols], type, bytes: reader.info.bytes },
    (from, to) => reader.readRaw(from, to),
  );
}

/** The element type that the description of a weight names. */
function scaleType(named: unknown): ScaleDType | undefined {
  return SCALE_TYPES.find((dtype) => dtype.toUpperCase() === named);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function weightReader(
  name: string,
  { spec, stored, parts }: {
    spec: Format;
    stored: Omit<QuantizedShape, "format">;
    parts: {
      codes: TensorReader;
      scales: TensorReader;
      biases: TensorReader | undefined;
    };
  },
): TensorReader {
  const { rows, cols } = stored;
  const { codes, scales, biases } = parts;
  const all = [codes, scales, ...(biases === undefined ? [] : [biases])];
  const shape = { format: spec.name, ...stored };
  const sizes = storedSizes(spec, stored);
  const readScales = async (from: number, to: number) => ({
    scales: await readFloats(scales, from, to),
    ...(biases && { biases: await readFloats(biases, from, to) }),
  });
  return decodedReader(
    {
      name,
      shape: [rows, cols],
      encoding: spec.name,
      dtype: "f32",
      bytes: all.reduce((sum, { info }) => sum + info.bytes, 0),
    },
    async (from, to) => {
      const range = storedRange(spec, stored, [from, to]);
      return dequantizeRows(
        spec,
        stored,
        [from, to],
        {
          codes: await readByteRange(codes, ...range.codes),
          ...await readScales(...range.blocks),
        },
      );
    },
    {
      shape: {
        ...shape,
        scaleDType: scales.info.dtype as ScaleDType,
        ...(biases && { biasDType: biases.info.dtype as ScaleDType }),
      },
      read: async () => ({
        ...shape,
        codes: await readByteRange(codes, 0, sizes.codeBytes),
        ...await readScales(0, sizes.blocks),
      }),
      scales: () => readScales(0, sizes.blocks),
    },
  );
}
