/**
 * Loqa's own layout of quantised weights, for every format and width.
 *
 * A safetensors file in which a quantised weight `W` (`….q_proj.weight`, `[rows, cols]`) is
 *
 * - `W.codes`, U8: the packed codes, `[rows, bytes of a row]` where the format groups along rows, `[bytes]` where it
 *   runs over the flattened matrix;
 * - `W.scales`, F32: one a block, `[rows, blocks of a row]` or `[blocks]`;
 * - `W.biases`, F32: the same again, for affine formats (`w = scale * code + bias`);
 *
 * and everything else is a plain tensor under its own name. The file describes itself: its metadata hold, under
 * `loqa.packed`, the JSON `{"version": 1, "weights": {W: {"format", "bits", "shape", "block", "order", "scales"}}}`,
 * where `block` 0 means the whole matrix (or row), `order` is that of codes in the bit stream (`low`: code `i` at bits
 * `i * bits` of a little-endian stream; `high`: the first code of a byte in its high half) and `scales` the type of
 * scales and biases. Levels of the codebook formats are in `loqa.levels`, so that no other table is needed to decode.
 * `config.json` is written so that a loader which does not know the layout refuses it (`packed_config.ts`).
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { format, FORMATS } from "../quant/formats.ts";
import type { Format, FormatName } from "../quant/formats.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { BnbShape, NamedBytes } from "./bnb_write.ts";
import { dequantizeRows, storedRange, storedSizes } from "./dequantize.ts";
import { Problems, quoted } from "./errors.ts";
import { isObject, parseJsonObject } from "./json.ts";
import type { JsonObject } from "./json.ts";
import type { SafetensorsEntry } from "./safetensors_writer.ts";
import { decodedReader, readByteRange, readFloats } from "./tensor_reader.ts";
import type { TensorReader } from "./tensor_reader.ts";
import type { TensorStore } from "./tensor_store.ts";

const METADATA = "loqa.packed";
const VERSION = 1;

/** What has to be known of a weight before it is quantised. */
export interface PackedShape extends BnbShape {
  /** Row of the format table. */
  readonly format: FormatName;
}

/** Shapes of a weight's tensors. */
function partShapes(
  spec: Format,
  shape: BnbShape,
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

/** The tensors that weight `name` becomes, in the order of {@linkcode packedTensors}. */
export function packedEntries(
  name: string,
  shape: PackedShape,
): SafetensorsEntry[] {
  const spec = format(shape.format);
  const { codes, blocks } = partShapes(spec, shape);
  const entries: SafetensorsEntry[] = [
    { name: `${name}.codes`, dtype: "u8", shape: codes },
    { name: `${name}.scales`, dtype: "f32", shape: blocks },
  ];
  if (spec.levels === null) {
    entries.push({ name: `${name}.biases`, dtype: "f32", shape: blocks });
  }
  return entries;
}

/** The bytes of weight `name`. */
export function packedTensors(name: string, q: QuantizedMatrix): NamedBytes[] {
  const bytes = (key: string, data: ArrayBufferView<ArrayBuffer>) => ({
    name: `${name}.${key}`,
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });
  const out = [bytes("codes", q.codes), bytes("scales", q.scales)];
  if (q.biases !== undefined) out.push(bytes("biases", q.biases));
  return out;
}

/** The metadata of a file with the quantised `weights`, by name. */
export function packedMetadata(
  weights: ReadonlyMap<string, PackedShape>,
): Record<string, string> {
  const list: Record<string, JsonObject> = {};
  const levels: Record<string, number[]> = {};
  for (const [name, { format: key, rows, cols, block }] of weights) {
    const spec = format(key);
    list[name] = {
      format: key,
      bits: spec.bits,
      shape: [rows, cols],
      block,
      order: spec.order,
      scales: "F32",
    };
    if (spec.levels !== null) levels[key] = Array.from(spec.levels);
  }
  return {
    format: "pt",
    [METADATA]: JSON.stringify({ version: VERSION, weights: list }),
    "loqa.levels": JSON.stringify(levels),
  };
}

/** Whether a store is in this layout. */
export function hasPacked(store: TensorStore): boolean {
  return store.metadata.has(METADATA);
}

/**
 * Readers of the logical tensors of a packed store; plain tensors pass through.
 *
 * @param where What errors call the checkpoint.
 * @throws {SyntaxError} That lists every weight whose description or parts do not fit.
 * @throws {RangeError} If the layout's version is newer than this.
 */
export function packedReaders(
  store: TensorStore,
  where: string,
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
  if (typeof key !== "string" || !Object.hasOwn(FORMATS, key)) {
    return bad(`unknown format ${quoted(`${key}`)}`);
  }
  const spec = format(key);
  if (bits !== spec.bits || order !== spec.order || scales !== "F32") {
    return bad(
      `${key} has ${spec.bits} bits, order ${spec.order} and F32 scales, got ${
        quoted(`${bits} ${order} ${scales}`)
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
    scales: part("scales", "f32", wanted.blocks),
    biases: spec.levels === null
      ? part("biases", "f32", wanted.blocks)
      : undefined,
  };
  if (store.tensors.has(name)) bad("it is stored plain as well");
  if (!fine) return undefined;
  return weightReader(name, { spec, stored, parts });
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function weightReader(
  name: string,
  { spec, stored, parts }: {
    spec: Format;
    stored: BnbShape;
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
  const read = async (
    codeRange: readonly [number, number],
    blockRange: readonly [number, number],
  ) => ({
    codes: await readByteRange(codes, ...codeRange),
    scales: await readFloats(scales, ...blockRange),
    ...(biases && { biases: await readFloats(biases, ...blockRange) }),
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
        await read(range.codes, range.blocks),
      );
    },
    async () => {
      const { blocks, codeBytes } = storedSizes(spec, stored);
      return {
        format: spec.name,
        ...stored,
        ...await read([0, codeBytes], [0, blocks]),
      };
    },
  );
}
