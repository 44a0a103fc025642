/**
 * Writing affine groups as MLX has them; see `mlx.ts` for the layout.
 *
 * @module
 */

import { format, type ScaleDType } from "../../quant/formats.ts";
import type { QuantizedMatrix, QuantizedShape } from "../../quant/quantized.ts";
import { type EncodedAffine, groupsOf, roundTo } from "./affine_write.ts";
import type { JsonObject } from "../files/json.ts";
import type { SafetensorsEntry } from "../safetensors/write.ts";

/** Groups that MLX has kernels for. */
const GROUPS: readonly number[] = [32, 64, 128];

/** Why MLX cannot hold a weight of this shape; undefined if it can. */
export function mlxRefuses(
  { cols, block }: QuantizedShape,
): string | undefined {
  if (!GROUPS.includes(block)) {
    return `groups of ${block || cols}, wanted ${GROUPS.join(", ")}`;
  }
  if (cols % block !== 0) return `groups of ${block} do not divide ${cols}`;
}

/** Tensors of layer `module`, in the order of {@linkcode mlxTensors}. */
export function mlxEntries(
  module: string,
  shape: QuantizedShape,
  dtype: ScaleDType,
): SafetensorsEntry[] {
  const { rows, cols } = shape;
  const words = cols * format(shape.format).bits / 32;
  const groups = [rows, groupsOf(shape)];
  return [
    { name: `${module}.weight`, dtype: "u32", shape: [rows, words] },
    { name: `${module}.scales`, dtype, shape: groups },
    { name: `${module}.biases`, dtype, shape: groups },
  ];
}

/**
 * The bytes of layer `module`. Codes are those of `q`, bit for bit.
 *
 * @throws {RangeError} If a scale or bias is beyond `dtype`.
 */
export function mlxTensors(
  module: string,
  q: QuantizedMatrix,
  dtype: ScaleDType,
): EncodedAffine {
  const scales = roundTo(q.scales, dtype, `${module}.scales`);
  const biases = roundTo(q.biases!, dtype, `${module}.biases`);
  return {
    tensors: [
      { name: `${module}.weight`, bytes: q.codes },
      { name: `${module}.scales`, bytes: scales.bytes },
      { name: `${module}.biases`, bytes: biases.bytes },
    ],
    scales: scales.values,
    biases: biases.values,
  };
}

/**
 * The `quantization` of `config.json`: the width and group of the most layers for all, others by module path.
 *
 * @param layers Quantised layers by module path, at least one.
 */
export function mlxConfigBlock(
  layers: ReadonlyMap<string, QuantizedShape>,
): JsonObject {
  const settings = (shape: QuantizedShape) => ({
    group_size: shape.block,
    bits: format(shape.format).bits,
  });
  const key = (shape: QuantizedShape) => JSON.stringify(settings(shape));
  const counts = Map.groupBy(layers.values(), key);
  const [most] = [...counts.values()].sort((a, b) => b.length - a.length);
  const common = key(most[0]);
  return {
    ...settings(most[0]),
    mode: "affine",
    ...Object.fromEntries(
      [...layers].filter(([, shape]) => key(shape) !== common)
        .map(([module, shape]) => [module, settings(shape)]),
    ),
  };
}
