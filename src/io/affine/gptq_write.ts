/**
 * Writing affine groups as GPTQ, version 2; see `gptq.ts` for the layout.
 *
 * Zeros are whole there, so that every bias is moved to the nearest multiple of its scale, by up to half a step, and
 * further where the group does not contain 0: an approximation.
 *
 * @module
 */

import { packCodes } from "../../quant/pack.ts";
import { format, type ScaleDType } from "../../quant/formats.ts";
import type { QuantizedMatrix, QuantizedShape } from "../../quant/quantized.ts";
import { narrow } from "../../tensor/dtype.ts";
import {
  type EncodedAffine,
  groupSize,
  groupsOf,
  zeroForm,
} from "./affine_write.ts";
import type { JsonObject } from "../files/json.ts";
import type { SafetensorsEntry } from "../safetensors/write.ts";

/** Why GPTQ cannot hold a weight of this shape; undefined if it can. */
export function gptqRefuses(
  { format: key, rows, cols }: QuantizedShape,
): string | undefined {
  const { bits } = format(key);
  if (bits > 4) return `codes of ${bits} bits, wanted 4, 3 or 2`;
  if (cols * bits % 32 !== 0 || rows * bits % 32 !== 0) {
    return `${rows} x ${cols} codes of ${bits} bits do not fill 32-bit words along both sides`;
  }
}

/** Tensors of layer `module`, in the order of {@linkcode gptqTensors}. */
export function gptqEntries(
  module: string,
  shape: QuantizedShape,
  dtype: ScaleDType,
): SafetensorsEntry[] {
  const { rows, cols } = shape;
  const { bits } = format(shape.format);
  const groups = groupsOf(shape);
  return [
    {
      name: `${module}.qweight`,
      dtype: "i32",
      shape: [cols * bits / 32, rows],
    },
    {
      name: `${module}.qzeros`,
      dtype: "i32",
      shape: [groups, rows * bits / 32],
    },
    { name: `${module}.scales`, dtype, shape: [groups, rows] },
    { name: `${module}.g_idx`, dtype: "i32", shape: [cols] },
  ];
}

/**
 * The bytes of layer `module`, with zeros rounded to whole codes.
 *
 * @throws {RangeError} If a scale is beyond `dtype`.
 */
export function gptqTensors(
  module: string,
  q: QuantizedMatrix,
  dtype: ScaleDType,
): EncodedAffine {
  const { rows, cols } = q;
  const spec = format(q.format);
  const size = groupSize(q);
  const groups = groupsOf(q);
  const form = zeroForm(q, { dtype, name: `${module}.scales` });
  const top = (1 << spec.bits) - 1;
  const zeros = form.zeros.map((z) =>
    Math.min(Math.max(Math.round(z), 0), top)
  );
  const stream = packCodes(spec, { rows, cols, codes: form.codes });
  const words = new Uint32Array(stream.buffer);
  const points = Uint8Array.from(transpose(zeros, rows, groups));
  return {
    tensors: [
      {
        name: `${module}.qweight`,
        bytes: bytesOf(transpose(words, rows, words.length / rows)),
      },
      {
        name: `${module}.qzeros`,
        bytes: packCodes(spec, { rows: groups, cols: rows, codes: points }),
      },
      {
        name: `${module}.scales`,
        bytes: narrow(
          transpose(form.scales.values, rows, groups),
          dtype,
          `${module}.scales`,
        ),
      },
      {
        name: `${module}.g_idx`,
        bytes: bytesOf(
          Int32Array.from({ length: cols }, (_, k) => Math.floor(k / size)),
        ),
      },
    ],
    scales: form.steps,
    biases: form.scales.values.map((s, i) => 0 - zeros[i] * s),
  };
}

/** `[rows, cols]` as `[cols, rows]`. */
function transpose<T extends Float32Array | Uint32Array>(
  values: T,
  rows: number,
  cols: number,
): T {
  const out = values.slice() as T;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) out[c * rows + r] = values[r * cols + c];
  }
  return out;
}

function bytesOf(values: Uint32Array | Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** The `quantization_config` of `config.json`, as GPTQModel writes it. */
export function gptqConfigBlock(shape: QuantizedShape): JsonObject {
  return {
    quant_method: "gptq",
    bits: format(shape.format).bits,
    group_size: shape.block === 0 ? -1 : shape.block,
    desc_act: false,
    sym: false,
    checkpoint_format: "gptq_v2",
    pack_dtype: "int32",
    lm_head: false,
  };
}
