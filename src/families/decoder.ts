/**
 * `config.json` of decoders: LLaMA 1 to 3, Mistral, Qwen2, Qwen3, SmolLM (3 too), TinyLlama.
 *
 * @module
 */

import { type ConfigJson, ConfigReader } from "./config_reader.ts";
import {
  DECODER_TYPES,
  type DecoderBias,
  type DecoderFamily,
  decoderFamily,
} from "./decoders.ts";
import { readRope, type RopeConfig } from "./rope.ts";

/** Sizes of a model, and the switches that its tensors depend on. */
export interface DecoderSizes extends Readonly<Record<DecoderBias, boolean>> {
  /** `llama`, `mistral`, `qwen2`, … */
  readonly modelType: string;
  /** Vocabulary size. */
  readonly vocabSize: number;
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
  /** Number of layers (transformer blocks). */
  readonly layers: number;
  /** Number of attention (query) heads. */
  readonly heads: number;
  /** Number of key/value heads; fewer than query heads in grouped-query attention. */
  readonly kvHeads: number;
  /** Head dimension: features of a head. */
  readonly headDim: number;
  /** Tied embeddings: the head is the token embedding. */
  readonly tied: boolean;
  /** Biases of q, k and v. */
  readonly qkvBias: boolean;
  /** Bias of the attention's output. */
  readonly outputBias: boolean;
  /** Biases of the feed-forward part (MLP). */
  readonly mlpBias: boolean;
}

/** Configuration of a model: sizes and switches. */
export interface DecoderConfig extends DecoderSizes, RopeConfig {
  /** RMS norm epsilon, added to the mean square. */
  readonly normEpsilon: number;
  /** Maximum sequence length (context length). */
  readonly maxLength: number;
  /** Sliding window of each layer's attention; 0 for none. */
  readonly windows: readonly number[];
  /** True for each layer with rotary positions. */
  readonly rotary: readonly boolean[];
}

/**
 * Reads the sizes of a config, with the defaults that transformers has.
 *
 * @throws {TypeError} If it is another architecture.
 * @throws {SyntaxError} If a value is missing or no number.
 */
export function readDecoderSizes(given: ConfigReader): DecoderSizes {
  const modelType = given.type(DECODER_TYPES);
  const { biases = {}, defaults } = decoderFamily(modelType);
  const read = given.with(defaults);
  const bias = (name: DecoderBias): boolean => {
    const told = biases[name] ?? false;
    return typeof told === "string" ? read.flag(told, false) : told;
  };
  const heads = read.whole("num_attention_heads");
  const hiddenSize = read.whole("hidden_size");
  return {
    modelType,
    hiddenSize,
    heads,
    vocabSize: read.whole("vocab_size"),
    intermediateSize: read.whole("intermediate_size"),
    layers: read.whole("num_hidden_layers"),
    kvHeads: read.whole("num_key_value_heads", heads),
    headDim: read.whole("head_dim", hiddenSize / heads),
    tied: read.flag("tie_word_embeddings", false),
    qkvBias: bias("qkvBias"),
    outputBias: bias("outputBias"),
    mlpBias: bias("mlpBias"),
  };
}

/**
 * Reads a config, with the defaults that transformers has.
 *
 * @param where Name of the model, for errors.
 * @throws {TypeError} If it is another architecture, or asks for something that is not supported.
 * @throws {SyntaxError} If a value is missing or no number.
 */
export function readDecoderConfig(
  config: ConfigJson,
  where: string,
): DecoderConfig {
  const given = new ConfigReader(config, where);
  const sizes = readDecoderSizes(given);
  const { modelType, layers, heads, kvHeads, headDim } = sizes;
  const family = decoderFamily(modelType);
  const read = given.with(family.defaults);
  const activation = read.get("hidden_act") ?? "silu";
  if (activation !== "silu" && activation !== "swish") {
    read.refuse(`activation ${JSON.stringify(activation)} is not silu`);
  }
  if (heads % kvHeads !== 0) {
    read.refuse(`${heads} heads are no multiple of ${kvHeads} key heads`);
  }
  if (headDim % 2 !== 0) read.refuse(`head_dim ${headDim} is odd`);
  const rotary = readRotary(read, family, layers);
  return {
    ...sizes,
    ...readRope(read),
    normEpsilon: read.number("rms_norm_eps", 1e-6),
    maxLength: read.whole("max_position_embeddings", 2048),
    windows: readWindows(read, family, rotary),
    rotary,
  };
}

/** Layers with rotary positions where every `noRope`-th has none; all without it. */
export function rotaryLayers(
  noRope: DecoderFamily["noRope"],
  layers: number,
): boolean[] {
  return Array.from(
    { length: layers },
    (_, i) => noRope === undefined || (i + 1) % noRope !== 0,
  );
}

function readRotary(
  read: ConfigReader,
  { noRope }: DecoderFamily,
  layers: number,
): boolean[] {
  if (noRope === undefined) return rotaryLayers(noRope, layers);
  const told = read.get("no_rope_layers");
  if (!Array.isArray(told)) {
    return rotaryLayers(read.whole("no_rope_layer_interval", noRope), layers);
  }
  if (told.length < layers) {
    read.refuse(`no_rope_layers is of ${told.length} layers of ${layers}`);
  }
  return told.slice(0, layers).map(Boolean);
}

/**
 * Windows of the layers: of all, or of those that `layer_types` names, or of those without rotary positions, or of those
 * from `max_window_layers` on.
 */
function readWindows(
  read: ConfigReader,
  { window, noRope }: DecoderFamily,
  rotary: readonly boolean[],
): number[] {
  const none = rotary.map(() => 0);
  const size = read.get("sliding_window");
  const on = window === true ||
    (window !== undefined && read.flag(window, false));
  if (!on || typeof size !== "number" || !(size > 0)) return none;
  if (window === true) return none.fill(size);
  const kinds = read.get("layer_types");
  if (Array.isArray(kinds)) {
    return none.map((_, i) => kinds[i] === "sliding_attention" ? size : 0);
  }
  if (noRope !== undefined) return rotary.map((on) => on ? 0 : size);
  const first = read.whole("max_window_layers", undefined, 0);
  return none.map((_, i) => i >= first ? size : 0);
}
