/**
 * The metadata of a GGUF file for a decoder, beside its tokenizer.
 *
 * @module
 */

import { ggufTypeNamed } from "../../io/ggml/types.ts";
import { ggufPair } from "../../io/gguf/write.ts";
import type { DecoderConfig } from "../../families/decoder.ts";
import { decoderFamily } from "../../families/decoders.ts";
import { ropeFrequencies } from "../../nn/rope.ts";

/** The pair `general.file_type`. @param type ggml's name of the type of most values. */
export function fileTypePair(type: string): Uint8Array<ArrayBuffer> {
  return ggufPair("general.file_type", "u32", ggufTypeNamed(type).fileType!);
}

/**
 * Metadata pairs of a model.
 *
 * @param name A name for people.
 * @param type ggml's name of the type of most values.
 */
export function ggufModelPairs(
  config: DecoderConfig,
  { name, type }: { name: string; type: string },
): Uint8Array<ArrayBuffer>[] {
  const { gguf } = decoderFamily(config.modelType);
  const arch = gguf.writtenAs ?? gguf.arch;
  const { hiddenSize, heads, headDim, ropeScaling } = config;
  const whole = (key: string, value: number) =>
    ggufPair(`${arch}.${key}`, "u32", value);
  const real = (key: string, value: number) =>
    ggufPair(`${arch}.${key}`, "f32", value);
  return [
    ggufPair("general.architecture", "string", arch),
    ggufPair("general.type", "string", "model"),
    ggufPair("general.name", "string", name),
    fileTypePair(type),
    ggufPair("general.quantization_version", "u32", 2),
    whole("vocab_size", config.vocabSize),
    whole("context_length", config.maxLength),
    whole("embedding_length", hiddenSize),
    whole("block_count", config.layers),
    whole("feed_forward_length", config.intermediateSize),
    whole("attention.head_count", heads),
    whole("attention.head_count_kv", config.kvHeads),
    ...(headDim === hiddenSize / heads ? [] : [
      whole("attention.key_length", headDim),
      whole("attention.value_length", headDim),
    ]),
    real("attention.layer_norm_rms_epsilon", config.normEpsilon),
    whole("rope.dimension_count", headDim),
    real("rope.freq_base", config.ropeTheta),
    ...(ropeScaling.type === "linear"
      ? [
        ggufPair(`${arch}.rope.scaling.type`, "string", "linear"),
        real("rope.scaling.factor", ropeScaling.factor),
      ]
      : []),
  ];
}

/**
 * Contents of `rope_freqs.weight`, `[headDim / 2]`: divisors of the rotary positions' frequencies; undefined unless the
 * model has the scaling of Llama 3, which is stored as this tensor.
 */
export function ropeFactors(
  { headDim, ropeTheta: theta, ropeScaling: scaling }: DecoderConfig,
): Float32Array<ArrayBuffer> | undefined {
  if (scaling.type !== "llama3") return undefined;
  const plain = ropeFrequencies({
    headDim,
    theta,
    scaling: { type: "default" },
  });
  const scaled = ropeFrequencies({ headDim, theta, scaling });
  return Float32Array.from(plain, (f, i) => f / scaled[i]);
}
