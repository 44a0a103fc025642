/**
 * Writing affine groups as HQQ's layers store themselves (`axis=1`); see `hqq.ts` for the layout.
 *
 * @module
 */

import { format, type ScaleDType } from "../../quant/formats.ts";
import type { QuantizedMatrix, QuantizedShape } from "../../quant/quantized.ts";
import { TORCH_DTYPES } from "../../tensor/dtype.ts";
import type { DType } from "../../tensor/dtype.ts";
import {
  type EncodedAffine,
  groupSize,
  groupsOf,
  roundTo,
  zeroForm,
} from "./affine_write.ts";
import type { NamedBytes } from "../files/bytes.ts";
import { HQQ_PACKINGS, hqqWordRows, packHqq } from "./hqq_pack.ts";
import type { JsonObject } from "../files/json.ts";
import type { SafetensorsEntry } from "../safetensors/write.ts";

/** Why HQQ cannot hold a weight of this shape; undefined if it can. */
export function hqqRefuses(shape: QuantizedShape): string | undefined {
  const { rows, cols } = shape;
  const size = groupSize(shape);
  if (cols % size !== 0) return `groups of ${size} do not divide ${cols}`;
  const groups = rows * groupsOf(shape);
  const packing = HQQ_PACKINGS[format(shape.format).bits];
  if (hqqWordRows(packing, groups) === undefined) {
    return `${groups} groups are no multiple of ${packing.parts}`;
  }
}

/** A small tensor of a layer's layout. */
interface Small extends SafetensorsEntry, NamedBytes {}

/** The layer's description, as HQQ's `encode_safetensor_type` makes tensors of it. */
function description(
  module: string,
  shape: QuantizedShape,
  dtype: ScaleDType,
): Small[] {
  const { rows, cols } = shape;
  const packing = HQQ_PACKINGS[format(shape.format).bits];
  const small = (
    key: string,
    type: DType,
    sizes: readonly number[],
    bytes: Uint8Array,
  ): Small => ({ name: `${module}.${key}`, dtype: type, shape: sizes, bytes });
  const whole = (key: string, value: number) =>
    small(key, "i32", [], new Uint8Array(Int32Array.of(value).buffer));
  const flag = (key: string, value: boolean) =>
    small(key, "u8", [], Uint8Array.of(+value));
  const text = (key: string, value: string) =>
    small(key, "u8", [value.length], new TextEncoder().encode(value));
  const sizes = BigInt64Array.of(BigInt(rows), BigInt(cols));
  return [
    small("shape", "i64", [2], new Uint8Array(sizes.buffer)),
    whole("nbits", packing.bits),
    whole("group_size", groupSize(shape)),
    whole("axis", 1),
    text("packing", packing.name),
    text(
      "unpack_view_dtype",
      packing.dtype === "u8" ? "torch.uint8" : "torch.int32",
    ),
    text("compute_dtype", `torch.${TORCH_DTYPES[dtype]}`),
    flag("view_as_float", false),
    flag("quant_scale", false),
    flag("quant_zero", false),
    flag("offload_meta", false),
    flag("encoded_state_dict", true),
    flag("stores_quant_config", true),
    flag("channel_wise", true),
    flag("optimize", false),
    flag("round_zero", false),
  ];
}

/** Tensors of layer `module`, in the order of {@linkcode hqqTensors}. */
export function hqqEntries(
  module: string,
  shape: QuantizedShape,
  dtype: ScaleDType,
): SafetensorsEntry[] {
  const packing = HQQ_PACKINGS[format(shape.format).bits];
  const groups = shape.rows * groupsOf(shape);
  const rows = hqqWordRows(packing, groups)!;
  return [
    {
      name: `${module}.W_q`,
      dtype: packing.dtype,
      shape: [rows, groupSize(shape)],
    },
    { name: `${module}.scale`, dtype, shape: [groups, 1] },
    { name: `${module}.zero`, dtype, shape: [groups, 1] },
    ...description(module, shape, dtype),
  ];
}

/**
 * The bytes of layer `module`. Codes are those of `q`; zeros are `-bias / scale`, rounded to `dtype`, so that biases come
 * back to the bit only where the rounding allows it.
 *
 * @throws {RangeError} If a scale or zero is beyond `dtype`.
 */
export function hqqTensors(
  module: string,
  q: QuantizedMatrix,
  dtype: ScaleDType,
): EncodedAffine {
  const packing = HQQ_PACKINGS[format(q.format).bits];
  const form = zeroForm(q, { dtype, name: `${module}.scale` });
  const zeros = roundTo(form.zeros, dtype, `${module}.zero`);
  return {
    tensors: [
      {
        name: `${module}.W_q`,
        bytes: packHqq(packing, {
          codes: form.codes,
          groups: q.rows * groupsOf(q),
          group: groupSize(q),
        }),
      },
      { name: `${module}.scale`, bytes: form.scales.bytes },
      { name: `${module}.zero`, bytes: zeros.bytes },
      ...description(module, q, dtype),
    ],
    scales: form.steps,
    biases: form.scales.values.map((s, i) => 0 - zeros.values[i] * s),
  };
}

/**
 * The `quantization_config` of `config.json`, as transformers' `HqqConfig` has it.
 *
 * @param skipModules Linear layers that are not quantised.
 */
export function hqqConfigBlock(
  shape: QuantizedShape,
  skipModules: readonly string[],
): JsonObject {
  return {
    quant_method: "hqq",
    quant_config: {
      weight_quant_params: {
        nbits: format(shape.format).bits,
        channel_wise: true,
        group_size: groupSize(shape),
        optimize: false,
        round_zero: false,
        axis: 1,
        view_as_float: false,
      },
      scale_quant_params: null,
      zero_quant_params: null,
      offload_meta: false,
    },
    skip_modules: skipModules,
  };
}
