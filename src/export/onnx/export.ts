/**
 * `loqa export --to onnx`: a folder that ONNX Runtime and transformers.js load.
 *
 * `onnx/model_q4.onnx` (`onnx/model.onnx` for a dense model) is the graph, the weights are in a file beside it with
 * `_data` behind its name; config and tokenizer files are those of the model.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { copySideFiles } from "../../io/safetensors/copy.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import {
  fileSink,
  joinPath,
  makeFolder,
  writeFileAtomic,
} from "../../io/files/deno.ts";
import { narrowestShape } from "../../io/ggml/affine_blocks.ts";
import { OnnxGraph } from "../../io/onnx/graph.ts";
import { readDecoderConfig } from "../../families/decoder.ts";
import { checkDecoderTensors } from "../../models/decoder/check.ts";
import { decoderTensors } from "../../families/decoder_block.ts";
import { TOP_MODULES } from "../../families/decoders.ts";
import type { FormatName } from "../../quant/formats.ts";
import { VERSION } from "../../version.ts";
import type { ExporterOptions, ExportReport } from "../exporter.ts";
import { OnnxWeights } from "./linear.ts";
import { OnnxLlama } from "./decoder.ts";
import { RefusedFormats } from "../weights.ts";

/** Versions of the sets of operators. */
const OPSETS = { "": 21, "com.microsoft": 1 };

/**
 * Writes a checkpoint of the LLaMA family as an ONNX model.
 *
 * @throws {TypeError} If the architecture is another one, a weight is in a format that is not affine, a group is no power
 *   of two, or plain tensors are wanted in bf16.
 * @throws {SyntaxError} If the checkpoint lacks tensors.
 */
export async function exportOnnx(
  checkpoint: Checkpoint,
  { out, dtype, signal, onProgress }: ExporterOptions,
): Promise<ExportReport> {
  if (dtype === "bf16") {
    throw new KindError(
      `Cannot export ${checkpoint.name} to ONNX: wanted f16 or f32 for plain tensors, got bf16`,
    );
  }
  const config = readDecoderConfig(checkpoint.config, checkpoint.name);
  checkDecoderTensors(checkpoint, config);
  const formats = await linearFormats(
    checkpoint,
    decoderTensors(config).map(({ name }) => name),
  );
  const folder = joinPath(out, "onnx");
  // A tokenizer that cannot be made is reported before the work, not behind it.
  await checkpoint.sideFiles();
  await makeFolder(folder);
  const file = formats.size > 0 ? "model_q4.onnx" : "model.onnx";
  const data = `${file}_data`;
  await using sink = await fileSink(joinPath(folder, data));
  const graph = new OnnxGraph({ name: data, sink });
  const weights = new OnnxWeights(graph, { checkpoint, formats, dtype });
  await new OnnxLlama(graph, weights, config).build((layer) => {
    signal?.throwIfAborted();
    onProgress?.(layer / config.layers, `layer ${layer}`);
  });
  await sink.close();
  await writeFileAtomic(
    joinPath(folder, file),
    graph.encode({
      name: config.modelType,
      producer: "loqa",
      version: VERSION,
      opsets: OPSETS,
    }),
  );
  await writeSideFiles(checkpoint, out);
  onProgress?.(1, `${config.layers} layers`);
  const narrow = weights.layers.some((layer) => layer.format === "int2");
  return {
    layers: weights.layers,
    notes: narrow
      ? [
        "codes of 2 bits need ONNX Runtime 1.24 or later",
      ]
      : [],
  };
}

/** Formats of the weights that stay quantised: all but an embedding, which ONNX has to look rows up in. */
async function linearFormats(
  checkpoint: Checkpoint,
  names: readonly string[],
): Promise<Map<string, FormatName>> {
  const formats = new Map<string, FormatName>();
  const refused = new RefusedFormats("ONNX");
  for (const name of names) {
    if (name === `${TOP_MODULES.embedding.name}.weight`) continue;
    const tensor = checkpoint.tensors.get(name)!;
    const key = (await narrowestShape(checkpoint, tensor))?.format;
    if (key && refused.accepts(name, key)) formats.set(name, key);
  }
  refused.throwIfAny(checkpoint.name);
  return formats;
}

async function writeSideFiles(
  checkpoint: Checkpoint,
  out: string,
): Promise<void> {
  const config: Record<string, unknown> = { ...checkpoint.config };
  delete config.quantization_config;
  config["transformers.js_config"] = Object.fromEntries([
    ["use_external_data_format", true],
  ]);
  await copySideFiles(checkpoint, out, config);
}
