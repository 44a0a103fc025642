/**
 * `loqa export --to gguf`: one file for llama.cpp.
 *
 * Affine groups become Q4_1 blocks, or Q5_1 ones for codes of 5 bits and where asked, with the same codes; embeddings, norms
 * and biases stay what they are. Where the model came from a GGUF file that is still there, its metadata, its tokenizer and
 * all tensors that did not change are copied byte for byte.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { Checkpoint, TensorInfo } from "../../io/checkpoint/checkpoint.ts";
import { fileSink } from "../../io/files/deno.ts";
import { decoderFamily } from "../../families/decoders.ts";
import { fileRow, ggufName, headRows } from "../../families/gguf_names.ts";
import {
  blocksHold,
  blockTypeOf,
  encodeQ41,
  narrowestShape,
} from "../../io/ggml/affine_blocks.ts";
import { type GgufEntry, ggufHeader, GgufWriter } from "../../io/gguf/write.ts";
import {
  type AffineBlockType,
  type GgufType,
  ggufTypeNamed,
  ggufTypes,
} from "../../io/ggml/types.ts";
import { ggufTokenizerPairs } from "../../io/gguf/write_tokenizer.ts";
import { sourceFiles } from "../../io/files/files.ts";
import { bytesSource } from "../../io/files/sources.ts";
import { readTokenizerFiles } from "../../io/open_tokenizer.ts";
import {
  type DecoderConfig,
  readDecoderConfig,
  rotaryLayers,
} from "../../families/decoder.ts";
import { checkDecoderTensors } from "../../models/decoder/check.ts";
import { decoderTensors } from "../../families/decoder_block.ts";
import { fromF32, narrow } from "../../tensor/dtype.ts";
import type {
  ExportDType,
  ExportedLayer,
  ExporterOptions,
  ExportReport,
} from "../exporter.ts";
import { fileTypePair, ggufModelPairs, ropeFactors } from "./metadata.ts";
import { type GgufOriginal, openOriginal } from "./original.ts";
import { roundingLoss } from "../rounding.ts";
import { losslessDType, RefusedFormats } from "../weights.ts";

/** Values of a plain tensor that are held at a time. */
const CHUNK = 2 ** 21;

const ROPE_FACTORS = "rope_freqs.weight";

/** A tensor of the file: its source and type. */
interface Plan extends GgufEntry {
  /** The checkpoint's tensor. */
  readonly tensor: TensorInfo;
  readonly kind: "blocks" | "plain" | "copy";
  /** Row of the file for each row of the tensor. */
  readonly rowOf: (row: number) => number;
  /** Rows that change places among each other. */
  readonly unit: number;
}

/**
 * Writes a checkpoint of the LLaMA family as a GGUF file.
 *
 * @throws {TypeError} If llama.cpp has no such architecture or tokenizer, or a weight is in a format that is not affine
 *   or in groups that are no whole blocks of 32.
 * @throws {SyntaxError} If the checkpoint lacks tensors.
 * @throws {RangeError} If a scale or bias is beyond f16.
 */
export async function exportGguf(
  checkpoint: Checkpoint,
  options: ExporterOptions,
): Promise<ExportReport> {
  const config = readDecoderConfig(checkpoint.config, checkpoint.name);
  checkDecoderTensors(checkpoint, config);
  checkPlaces(checkpoint.name, config);
  await using original = await openOriginal(checkpoint, options.original);
  const plans = await planTensors(checkpoint, { config, original, options });
  const blocks = plans.find(({ kind }) => kind === "blocks")?.type;
  const factors = original?.ropeFactors ?? ropeFactors(config);
  const entries: GgufEntry[] = [...plans];
  if (factors) {
    entries.push({ name: ROPE_FACTORS, type: "F32", shape: [factors.length] });
  }
  const layout = ggufHeader(
    original
      ? await original.pairs(blocks ? fileTypePair(blocks) : undefined)
      : [
        ...ggufModelPairs(config, {
          name: modelName(checkpoint),
          type: blocks ?? plans[0].type,
        }),
        ...await tokenizerPairs(checkpoint, config),
      ],
    entries,
    original?.alignment,
  );
  const layers: ExportedLayer[] = [];
  await using sink = await fileSink(options.out);
  const writer = await GgufWriter.open(sink, layout);
  for (const [i, plan] of plans.entries()) {
    options.signal?.throwIfAborted();
    options.onProgress?.(i / plans.length, plan.tensor.name);
    if (plan.kind === "blocks") {
      layers.push(await writeBlocks(writer, checkpoint, plan));
    } else {
      const parts = plan.kind === "copy"
        ? original!.stored(plan.tensor.name)
        : plainRows(checkpoint, plan);
      for await (const bytes of parts) await writer.write(plan.name, bytes);
    }
  }
  if (factors) await writer.write(ROPE_FACTORS, fromF32(factors, "f32"));
  await writer.close();
  options.onProgress?.(1, `${plans.length} tensors`);
  return { layers, notes: notesOf(config, original) };
}

/** Refuses a model with what llama.cpp's architecture has not: it would not load the file, or compute something else. */
function checkPlaces(name: string, config: DecoderConfig): void {
  const { block, noRope, gguf } = decoderFamily(config.modelType);
  const biased = block.filter(({ bias }) =>
    bias && config[bias] && gguf.without?.includes(bias)
  );
  const usual = rotaryLayers(noRope, config.layers);
  const missing = biased.length > 0
    ? `no bias of ${biased.map((layer) => layer.name).join(", ")}`
    : config.rotary.some((on, i) => on !== usual[i])
    ? `no rotary positions in every ${noRope}th layer, and has them in all others`
    : undefined;
  if (missing === undefined) return;
  throw new KindError(
    `Cannot export ${name} to GGUF: llama.cpp's architecture ${gguf.arch} has ${missing}; export it to another format`,
  );
}

async function planTensors(
  checkpoint: Checkpoint,
  { config, original, options: { dtype, blocks, signal } }: {
    config: DecoderConfig;
    original: GgufOriginal | undefined;
    options: ExporterOptions;
  },
): Promise<Plan[]> {
  const wanted = decoderTensors(config).map(({ name }) => name);
  const plans: Plan[] = [];
  const refused = new RefusedFormats("GGUF");
  for (const key of original?.sorted(wanted) ?? wanted) {
    signal?.throwIfAborted();
    const tensor = checkpoint.tensors.get(key)!;
    const { shape } = tensor;
    const inHead = headRows(key, config);
    const plan = {
      name: ggufName(key)!,
      shape,
      tensor,
      unit: inHead ?? 1,
      rowOf: (row: number) => inHead ? fileRow(row, inHead) : row,
    };
    const format = (await narrowestShape(checkpoint, tensor))?.format;
    if (format) {
      if (!refused.accepts(key, format)) continue;
      const columns = shape[1];
      const type = blocks ?? blockTypeOf(format);
      if (columns % ggufTypeNamed(type).block !== 0) {
        refused.add(`${key} has ${columns} columns, no whole blocks of 32`);
      } else if (!blocksHold(type, format)) {
        refused.add(`${key} is ${format}, too wide for ${type}`);
      } else {
        plans.push({ ...plan, type, kind: "blocks" });
      }
    } else if (!dtype && await original?.holds(checkpoint, key)) {
      plans.push({ ...plan, type: original!.typeOf(key), kind: "copy" });
    } else {
      // llama.cpp computes with vectors in f32 only.
      const to = shape.length < 2 ? "f32" : dtype ?? losslessDType(tensor);
      plans.push({ ...plan, type: plainType(to).name, kind: "plain" });
    }
  }
  refused.throwIfAny(checkpoint.name);
  return plans;
}

async function writeBlocks(
  writer: GgufWriter,
  checkpoint: Checkpoint,
  { name, type, tensor, rowOf }: Plan,
): Promise<ExportedLayer> {
  const q = (await checkpoint.readQuantized!(tensor.name))!;
  const { bytes, scales, biases } = encodeQ41(q, {
    name: tensor.name,
    type: type as AffineBlockType,
    rowOf,
  });
  await writer.write(name, bytes);
  return {
    name: tensor.name.replace(/\.weight$/, ""),
    format: q.format,
    block: q.block,
    ...roundingLoss(q, { scales, biases }),
  };
}

/** Rows of a plain tensor in the order and type of the file. */
async function* plainRows(
  checkpoint: Checkpoint,
  { type, tensor: { name, shape }, rowOf, unit }: Plan,
): AsyncGenerator<Uint8Array> {
  const [rows] = shape;
  const width = shape.slice(1).reduce((a, b) => a * b, 1);
  const step = unit * Math.max(1, Math.floor(CHUNK / (width * unit)));
  const dtype = ggufTypeNamed(type).dtype as ExportDType;
  for (let from = 0; from < rows; from += step) {
    const to = Math.min(rows, from + step);
    const values = await checkpoint.readF32(name, from, to);
    const out = new Float32Array(values.length);
    for (let row = from; row < to; row++) {
      const at = (row - from) * width;
      out.set(values.subarray(at, at + width), (rowOf(row) - from) * width);
    }
    yield narrow(out, dtype, name);
  }
}

/** ggml's type of plain values. */
function plainType(dtype: ExportDType): GgufType {
  return ggufTypes().find((type) => type.dtype === dtype)!;
}

function modelName({ config, name }: Checkpoint): string {
  const given = config._name_or_path;
  const path = typeof given === "string" && given !== "" ? given : name;
  return path.replace(/[\\/]+(backbone[\\/]*)?$/, "").split(/[\\/]/).at(-1)!;
}

async function tokenizerPairs(
  checkpoint: Checkpoint,
  config: DecoderConfig,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const side = await checkpoint.sideFiles();
  const files = sourceFiles(
    new Map(side.map(({ name, bytes }) => [name, bytesSource(bytes, name)])),
    checkpoint.name,
  );
  return ggufTokenizerPairs(
    await readTokenizerFiles(files, "source"),
    config.vocabSize,
  );
}

function notesOf(
  { windows, maxLength }: DecoderConfig,
  original: GgufOriginal | undefined,
): string[] {
  const window = windows.find((w) => w > 0 && w < maxLength);
  return [
    original
      ? `metadata, tokenizer and unchanged tensors copied from ${original.name}`
      : "metadata and tokenizer made from the model's config and tokenizer files",
    ...(window === undefined ? [] : [
      `llama.cpp does not know the model's sliding window: beyond ${window} tokens its results differ`,
    ]),
  ];
}
