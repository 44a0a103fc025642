/**
 * Exporters of affine groups to checkpoints of other programs: a folder with `model.safetensors`, `config.json` and the
 * files beside them.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { copySideFiles, copyTensor } from "../../io/safetensors/copy.ts";
import type { EncodedAffine } from "../../io/affine/affine_write.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { narrowestShape } from "../../io/ggml/affine_blocks.ts";
import { fileSink, joinPath, makeFolder } from "../../io/files/deno.ts";
import type { JsonObject } from "../../io/files/json.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../../io/safetensors/write.ts";
import type { SafetensorsEntry } from "../../io/safetensors/write.ts";
import { checkWhole } from "../../models/load/whole.ts";
import { GROUP_FORMATS, type ScaleDType } from "../../quant/formats.ts";
import type { QuantizedMatrix, QuantizedShape } from "../../quant/quantized.ts";
import { isFloat, TORCH_DTYPES } from "../../tensor/dtype.ts";
import type {
  ExportedLayer,
  ExporterOptions,
  ExportReport,
} from "../exporter.ts";
import { roundingLoss } from "../rounding.ts";
import { few, RefusedFormats } from "../weights.ts";

/** A program's format. */
export interface AffineTarget {
  /** Its name in errors. */
  readonly name: string;
  /** `__metadata__` of the file. */
  readonly metadata: Readonly<Record<string, string>>;
  /** True if all layers have one width and group size. */
  readonly uniform: boolean;
  /** Why it cannot hold a weight; undefined if it can. */
  refuses(shape: QuantizedShape): string | undefined;
  /** Tensors of a layer. */
  entries(
    module: string,
    shape: QuantizedShape,
    dtype: ScaleDType,
  ): SafetensorsEntry[];
  /** Their bytes, in the same order. */
  encode(module: string, q: QuantizedMatrix, dtype: ScaleDType): EncodedAffine;
  /** The quantisation's entries of config.json. */
  config(plan: AffinePlan): JsonObject;
}

/** Layers that are quantised. */
export interface AffinePlan {
  /** By module path, in file order; at least one. */
  readonly layers: ReadonlyMap<string, QuantizedShape>;
  /** Paths of modules with a plain matrix. */
  readonly plain: readonly string[];
}

/**
 * Writes a checkpoint in a program's format; plain tensors and scales in f16 by default.
 *
 * @throws {TypeError} That lists the weights which the format cannot hold, or if none is quantised.
 * @throws {RangeError} If a scale, bias or zero is beyond the element type.
 */
export async function exportAffine(
  checkpoint: Checkpoint,
  { out, dtype = "f16", signal, onProgress }: ExporterOptions,
  target: AffineTarget,
): Promise<ExportReport> {
  checkWhole(checkpoint);
  const plan = await planLayers(checkpoint, target);
  const tensors = [...checkpoint.tensors.values()];
  const layout = safetensorsHeader(
    tensors.flatMap(({ name, shape, dtype: stored }) => {
      const layer = plan.layers.get(moduleOf(name));
      return layer !== undefined && name.endsWith(".weight")
        ? target.entries(moduleOf(name), layer, dtype)
        : [{ name, shape, dtype: isFloat(stored) ? dtype : stored }];
    }),
    target.metadata,
  );
  // A tokenizer that cannot be made is reported before the work, not behind it.
  await checkpoint.sideFiles();
  await makeFolder(out);
  await using sink = await fileSink(joinPath(out, "model.safetensors"));
  const writer = await SafetensorsWriter.open(sink, layout);
  const layers: ExportedLayer[] = [];
  for (const [i, tensor] of tensors.entries()) {
    const { name, dtype: stored } = tensor;
    signal?.throwIfAborted();
    onProgress?.(i / tensors.length, name);
    const module = moduleOf(name);
    if (plan.layers.has(module) && name.endsWith(".weight")) {
      const q = (await checkpoint.readQuantized!(name))!;
      const encoded = target.encode(module, q, dtype);
      for (const part of encoded.tensors) {
        await writer.write(part.name, part.bytes);
      }
      const { format, block } = q;
      const loss = roundingLoss(q, encoded);
      layers.push({ name: module, format, block, ...loss });
      continue;
    }
    const as = isFloat(stored) ? dtype : stored;
    await copyTensor(checkpoint, writer, { ...tensor, as });
  }
  await writer.close();
  await writeSideFiles(checkpoint, out, {
    ...target.config(plan),
    dtype: TORCH_DTYPES[dtype],
  });
  onProgress?.(1, `${tensors.length} tensors`);
  return { layers, notes: [] };
}

function moduleOf(name: string): string {
  return name.replace(/\.weight$/, "");
}

async function planLayers(
  checkpoint: Checkpoint,
  target: AffineTarget,
): Promise<AffinePlan> {
  const layers = new Map<string, QuantizedShape>();
  const plain: string[] = [];
  const formats = new RefusedFormats(target.name);
  const wrong: string[] = [];
  const refused: { name: string; reason: string }[] = [];
  const kinds = new Set<string>();
  for (const tensor of checkpoint.tensors.values()) {
    const { name } = tensor;
    const shape = await narrowestShape(checkpoint, tensor);
    if (shape === undefined) {
      if (tensor.shape.length === 2) plain.push(moduleOf(name));
      continue;
    }
    const { format, block } = shape;
    if (!formats.accepts(name, format)) continue;
    const reason = target.refuses(shape);
    if (reason !== undefined) refused.push({ name, reason });
    kinds.add(`${format} in groups of ${block}`);
    layers.set(moduleOf(name), shape);
  }
  formats.throwIfAny(checkpoint.name);
  for (const [reason, some] of Map.groupBy(refused, (x) => x.reason)) {
    wrong.push(`${few(some.map(({ name }) => name))}: ${reason}`);
  }
  if (layers.size === 0) {
    wrong.push(`it has no quantised layers; wanted ${GROUP_FORMATS}`);
  }
  if (target.uniform && kinds.size > 1) {
    wrong.push(
      `wanted one format for all layers, got ${[...kinds].join(", ")}`,
    );
  }
  if (wrong.length > 0) {
    throw new KindError(
      `Cannot export ${checkpoint.name} to ${target.name}: ${
        wrong.slice(0, 20).join("; ")
      }${wrong.length > 20 ? `; and ${wrong.length - 20} more` : ""}`,
    );
  }
  return { layers, plain };
}

async function writeSideFiles(
  checkpoint: Checkpoint,
  out: string,
  changed: JsonObject,
): Promise<void> {
  const config: JsonObject = { ...checkpoint.config };
  delete config.quantization;
  delete config.quantization_config;
  delete config.torch_dtype;
  Object.assign(config, changed);
  await copySideFiles(checkpoint, out, config);
}
