/**
 * `loqa export --to mlx`: a folder for mlx and mlx_lm.
 *
 * @module
 */

import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import {
  mlxConfigBlock,
  mlxEntries,
  mlxRefuses,
  mlxTensors,
} from "../../io/affine/mlx_write.ts";
import { type AffineTarget, exportAffine } from "./export.ts";
import type { ExporterOptions, ExportReport } from "../exporter.ts";

const MLX: AffineTarget = {
  name: "MLX",
  metadata: { format: "mlx" },
  uniform: false,
  refuses: mlxRefuses,
  entries: mlxEntries,
  encode: mlxTensors,
  config({ layers }) {
    const block = mlxConfigBlock(layers);
    return { quantization: block, quantization_config: block };
  },
};

/**
 * Writes a checkpoint as mlx_lm does, with the same codes; scales and biases are rounded to the element type.
 *
 * @throws {TypeError} That lists the weights whose groups MLX has no kernels for, or if none is quantised.
 * @throws {RangeError} If a scale or bias is beyond the element type.
 */
export function exportMlx(
  checkpoint: Checkpoint,
  options: ExporterOptions,
): Promise<ExportReport> {
  return exportAffine(checkpoint, options, MLX);
}
