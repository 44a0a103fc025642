/**
 * `loqa export --to hqq`: a folder of HQQ's layers, as `HQQLinear` loads them.
 *
 * Transformers 5.24 has no loader for checkpoints that HQQ quantised; HQQ itself has.
 *
 * @module
 */

import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import {
  hqqConfigBlock,
  hqqEntries,
  hqqRefuses,
  hqqTensors,
} from "../../io/affine/hqq_write.ts";
import { type AffineTarget, exportAffine } from "./export.ts";
import type { ExporterOptions, ExportReport } from "../exporter.ts";

const HQQ: AffineTarget = {
  name: "HQQ",
  metadata: { format: "pt" },
  uniform: true,
  refuses: hqqRefuses,
  entries: hqqEntries,
  encode: hqqTensors,
  config({ layers, plain }) {
    const [shape] = layers.values();
    return { quantization_config: hqqConfigBlock(shape, plain) };
  },
};

/**
 * Writes a checkpoint in HQQ's layers with `axis=1`: the same codes, zeros `-bias / scale`, rounded to the element type.
 *
 * @throws {TypeError} That lists the weights which HQQ cannot pack, or if none is quantised or they differ in format.
 * @throws {RangeError} If a scale or zero is beyond the element type.
 */
export function exportHqq(
  checkpoint: Checkpoint,
  options: ExporterOptions,
): Promise<ExportReport> {
  return exportAffine(checkpoint, options, HQQ);
}
