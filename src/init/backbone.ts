/**
 * The backbone of an initialised model: the tensors of its file, and the bytes of each.
 *
 * @module
 */

import { bnbConfigBlock, bnbEntries, bnbTensors } from "../io/bnb/write.ts";
import type { NamedBytes } from "../io/files/bytes.ts";
import type { Checkpoint, TensorInfo } from "../io/checkpoint/checkpoint.ts";
import {
  keptEntry,
  packedEntries,
  packedMetadata,
  type PackedShape,
  packedTensors,
} from "../io/packed/packed.ts";
import { packedConfig } from "../io/packed/config.ts";
import { safetensorsHeader } from "../io/safetensors/write.ts";
import type {
  SafetensorsEntry,
  SafetensorsLayout,
} from "../io/safetensors/write.ts";
import type { StoredForm } from "../loftq/options.ts";
import { nestScales, unnestScales } from "../quant/double.ts";
import { dequantize } from "../quant/quantize.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { Device } from "../device/device.ts";
import { isFloat, narrow, toF32, TORCH_DTYPES } from "../tensor/dtype.ts";
import { skipModules } from "./architecture.ts";
import type { BackboneKind } from "./options.ts";
import { matrixModules } from "./targets.ts";
import { oneDType, type PlainDType } from "./plain_dtype.ts";
import type { DType } from "../tensor/dtype.ts";

/** Options of {@linkcode planBackbone}. */
export interface BackboneOptions {
  readonly kind: Exclude<BackboneKind, "none">;
  /** Format and shape of each quantised weight, by tensor name. */
  readonly weights: ReadonlyMap<string, PackedShape>;
  /** Element type of plain tensors; without it {@linkcode oneDType}, in a packed backbone as stored. */
  readonly dtype?: PlainDType;
  /** Scales of a `bnb` backbone in 8 bits. */
  readonly doubleQuant?: boolean;
}

/** Layout of a backbone file. */
export interface BackbonePlan {
  readonly layout: SafetensorsLayout;
  /** config.json of the backbone. */
  readonly config: Record<string, unknown>;
  /** The one element type of its floating-point tensors; none where they are as stored. */
  readonly dtype?: PlainDType;
  /** Element type that a tensor which is not quantised is written in. */
  plainDType(tensor: TensorInfo): DType;
  /** Form as read of a quantised weight that is rounded once more when it is written. */
  stored(name: string): StoredForm | undefined;
  /** The bytes of a quantised weight. */
  tensors(
    name: string,
    q: QuantizedMatrix,
    device: Device,
  ): Promise<NamedBytes[]>;
}

/** Lays out the backbone of `checkpoint`. */
export async function planBackbone(
  checkpoint: Checkpoint,
  options: BackboneOptions,
): Promise<BackbonePlan> {
  const { kind, weights, doubleQuant } = options;
  const dtype = options.dtype ??
    (kind === "packed" ? undefined : await oneDType(checkpoint, weights));
  const plainDType = (tensor: TensorInfo): DType =>
    dtype && isFloat(tensor.dtype) ? dtype : tensor.dtype;
  const entries: SafetensorsEntry[] = [];
  for (const tensor of checkpoint.tensors.values()) {
    const { name, shape } = tensor;
    const weight = weights.get(name);
    if (!weight) {
      // Tables of a GGUF file stay as they are, unless another type is asked for.
      const keeps = kind === "packed" && !options.dtype && tensor.blocks;
      entries.push(
        keeps ? keptEntry(tensor) : { name, shape, dtype: plainDType(tensor) },
      );
    } else if (kind === "packed") entries.push(...packedEntries(name, weight));
    else if (kind === "dense") entries.push({ name, shape, dtype: dtype! });
    else entries.push(...bnbEntries(name, weight, { doubleQuant, dtype }));
  }
  const modules = matrixModules(checkpoint);
  const config: Record<string, unknown> = { ...checkpoint.config };
  delete config.quantization_config;
  // MLX names its own twice.
  delete config.quantization;
  if (dtype) {
    delete config.torch_dtype;
    config.dtype = TORCH_DTYPES[dtype];
  }
  if (kind === "bnb") {
    config.quantization_config = bnbConfigBlock({
      skipModules: skipModules(
        modules.filter((name) => !weights.has(`${name}.weight`)),
        modules.filter((name) => weights.has(`${name}.weight`)),
      ),
      computeDtype: dtype,
      doubleQuant,
    });
  }
  return {
    layout: safetensorsHeader(
      entries,
      kind === "packed"
        ? packedMetadata(
          weights,
          options.dtype ? [] : checkpoint.tensors.values(),
        )
        : undefined,
    ),
    config: kind === "packed" ? packedConfig(config) : config,
    ...(dtype && { dtype }),
    plainDType,
    stored(name) {
      if (doubleQuant) return { scales: (s) => unnestScales(nestScales(s)) };
      if (kind !== "dense" || !dtype || dtype === "f32") return undefined;
      return { values: (v) => toF32(narrow(v, dtype, name), dtype) };
    },
    async tensors(name, q, device) {
      if (kind === "packed") return packedTensors(name, q, weights.get(name));
      if (kind === "bnb") return bnbTensors(name, q, { doubleQuant, dtype });
      const { data } = await dequantize(device, q);
      return [{ name, bytes: narrow(data, dtype!, name) }];
    },
  };
}
