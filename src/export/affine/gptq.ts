/**
 * `loqa export --to gptq`: a folder for GPTQModel and what builds on it, with whole zeros.
 *
 * @module
 */

import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import {
  gptqConfigBlock,
  gptqEntries,
  gptqRefuses,
  gptqTensors,
} from "../../io/affine/gptq_write.ts";
import { type AffineTarget, exportAffine } from "./export.ts";
import type { ExporterOptions, ExportReport } from "../exporter.ts";

const GPTQ: AffineTarget = {
  name: "GPTQ",
  metadata: { format: "pt" },
  uniform: true,
  refuses: gptqRefuses,
  entries: gptqEntries,
  encode: gptqTensors,
  config({ layers }) {
    const [shape] = layers.values();
    return { quantization_config: gptqConfigBlock(shape) };
  },
};

/**
 * Writes a checkpoint as GPTQ, version 2: the same codes, biases moved to whole multiples of their scales. The loss by
 * that is in the report.
 *
 * @throws {TypeError} That lists the weights which do not fill words, or if none is quantised or they differ in format.
 * @throws {RangeError} If a scale is beyond the element type.
 */
export async function exportGptq(
  checkpoint: Checkpoint,
  options: ExporterOptions,
): Promise<ExportReport> {
  const report = await exportAffine(checkpoint, options, GPTQ);
  return {
    ...report,
    notes: report.layers.every(({ exact }) => exact) ? [] : [
      "an approximation: GPTQ has whole zeros, so biases were moved to multiples of their scales; mlx, hqq, gguf and onnx keep them",
    ],
  };
}
