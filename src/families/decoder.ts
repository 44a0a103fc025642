/**
 * `config.json` of the LLaMA family: LLaMA 1 to 3, Mistral, Qwen2, SmolLM, TinyLlama.
 *
 * @module
 */

import { FormatError, KindError } from "../errors.ts";
import type { RopeScaling } from "./rope.ts";

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Configuration of a model: sizes and switches. */
export interface LlamaConfig {
  /** `llama`, `mistral`, `qwen2`. */
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
  /** RMS norm epsilon, added to the mean square. */
  readonly normEpsilon: number;
  /** RoPE theta: base of the frequencies of the rotary position embedding. */
  readonly ropeTheta: number;
  /** RoPE scaling. */
  readonly ropeScaling: RopeScaling;
  /** Maximum sequence length (context length). */
  readonly maxLength: number;
  /** Tied embeddings: the head is the token embedding. */
  readonly tied: boolean;
  /** Biases of q, k and v. */
  readonly qkvBias: boolean;
  /** Bias of the attention's output. */
  readonly outputBias: boolean;
  /** Biases of the feed-forward part (MLP). */
  readonly mlpBias: boolean;
  /** Sliding window of each layer's attention; 0 for none. */
  readonly windows: readonly number[];
}

type Json = Readonly<Record<string, unknown>>;

/** Model types that this architecture serves. */
export const LLAMA_TYPES: readonly string[] = ["llama", "mistral", "qwen2"];

/**
 * Reads a config, with the defaults that transformers has.
 *
 * @param where Name of the model, for errors.
 * @throws {TypeError} If it is another architecture, or asks for something that is not supported.
 * @throws {SyntaxError} If a value is missing or no number.
 */
export function readLlamaConfig(config: Json, where: string): LlamaConfig {
  const type = config.model_type;
  const unsupported = (what: string): never => {
    throw new KindError(`Cannot run the model ${where}: ${what}`);
  };
  if (typeof type !== "string" || !LLAMA_TYPES.includes(type)) {
    return unsupported(
      `wanted a model_type of ${LLAMA_TYPES.join(", ")}, got ${
        JSON.stringify(type) ?? "none"
      }`,
    );
  }
  const number = (key: string, fallback?: number): number => {
    const value = config[key] ?? fallback;
    if (typeof value !== "number" || !(value > 0)) {
      throw new FormatError(
        `Cannot run the model ${where}: config.json wants a number > 0 for ${key}, got ${
          JSON.stringify(value) ?? "none"
        }`,
      );
    }
    return value;
  };
  const whole = (key: string, fallback?: number): number => {
    const value = number(key, fallback);
    if (!Number.isInteger(value)) {
      throw new FormatError(
        `Cannot run the model ${where}: config.json wants a whole number for ${key}, got ${value}`,
      );
    }
    return value;
  };
  const activation = config.hidden_act ?? "silu";
  if (activation !== "silu" && activation !== "swish") {
    unsupported(`activation ${JSON.stringify(activation)} is not silu`);
  }
  const heads = whole("num_attention_heads");
  const hiddenSize = whole("hidden_size");
  const kvHeads = whole("num_key_value_heads", heads);
  const layers = whole("num_hidden_layers");
  if (heads % kvHeads !== 0) {
    unsupported(`${heads} heads are no multiple of ${kvHeads} key heads`);
  }
  const headDim = whole("head_dim", hiddenSize / heads);
  if (headDim % 2 !== 0) unsupported(`head_dim ${headDim} is odd`);
  const qwen = type === "qwen2";
  const attentionBias = config.attention_bias === true;
  return {
    modelType: type,
    vocabSize: whole("vocab_size"),
    hiddenSize,
    intermediateSize: whole("intermediate_size"),
    layers,
    heads,
    kvHeads,
    headDim,
    normEpsilon: number("rms_norm_eps", 1e-6),
    ...readRope(config, { number, unsupported }),
    maxLength: whole("max_position_embeddings", 2048),
    tied: config.tie_word_embeddings === true,
    qkvBias: qwen || attentionBias,
    outputBias: attentionBias && !qwen,
    mlpBias: config.mlp_bias === true,
    windows: readWindows(config, { type, layers }),
  };
}

function readRope(config: Json, { number, unsupported }: {
  number: (key: string, fallback?: number) => number;
  unsupported: (what: string) => never;
}): Pick<LlamaConfig, "ropeTheta" | "ropeScaling"> {
  const given = ropeEntry(config, unsupported);
  const theta = given.rope_theta ?? config.rope_theta ?? 10000;
  if (typeof theta !== "number" || !(theta > 0)) {
    unsupported(`rope_theta is ${JSON.stringify(theta)}`);
  }
  const partial = given.partial_rotary_factor ?? config.partial_rotary_factor;
  if (partial !== undefined && partial !== null && partial !== 1) {
    unsupported(`partial_rotary_factor is ${partial}`);
  }
  const part = (key: string): number => {
    const value = given[key];
    if (typeof value !== "number" || !(value > 0)) {
      return unsupported(
        `rope scaling wants a number > 0 for ${key}, got ${
          JSON.stringify(value) ?? "none"
        }`,
      );
    }
    return value;
  };
  const type: unknown = given.rope_type ?? given.type ?? "default";
  const ropeTheta = theta as number;
  switch (type) {
    case "default":
      return { ropeTheta, ropeScaling: { type: "default" } };
    case "linear":
      return {
        ropeTheta,
        ropeScaling: { type: "linear", factor: part("factor") },
      };
    case "llama3":
      return {
        ropeTheta,
        ropeScaling: {
          type: "llama3",
          factor: part("factor"),
          lowFreqFactor: part("low_freq_factor"),
          highFreqFactor: part("high_freq_factor"),
          originalLength: given.original_max_position_embeddings === undefined
            ? number("max_position_embeddings")
            : part("original_max_position_embeddings"),
        },
      };
    default:
      return unsupported(
        `rope scaling ${
          JSON.stringify(type)
        } is not one of default, linear, llama3, which is all that runs here ("loqa init" writes the model for Python all the same)`,
      );
  }
}

/**
 * Rotary position settings of a config: newer files have all in rope_parameters, older ones the scaling alone, in
 * rope_scaling. Where both are there, transformers takes rope_scaling; that they mean different things is an error.
 */
function ropeEntry(
  config: Json,
  unsupported: (what: string) => never,
): Json {
  const [old, now] = ["rope_scaling", "rope_parameters"].map((key) => {
    const value = config[key];
    if (value === undefined || value === null) return undefined;
    if (isObject(value)) {
      return Object.keys(value).length > 0 ? value : undefined;
    }
    return unsupported(
      `${key} is ${JSON.stringify(value)}, wanted an object`,
    );
  });
  if (old && now) {
    const meant = ({ type, ...entry }: Json) => {
      const all: Json = {
        ...entry,
        "rope_type": entry.rope_type ?? type ?? "default",
        "rope_theta": entry.rope_theta ?? config.rope_theta ?? 10000,
      };
      return JSON.stringify(
        Object.entries(all).filter(([, value]) => value !== null).sort(),
      );
    };
    if (meant(old) !== meant(now)) {
      unsupported(
        `its config.json has rope_scaling ${
          JSON.stringify(old)
        } and rope_parameters ${
          JSON.stringify(now)
        }, which disagree (transformers takes rope_scaling); delete the one that is wrong`,
      );
    }
  }
  return old ?? now ?? {};
}

/**
 * Mistral's window holds for all layers, and is 4096 where none is told; Qwen2's only where `use_sliding_window` says so,
 * in the layers of `layer_types`, or from one on.
 */
function readWindows(
  config: Json,
  { type, layers }: { type: string; layers: number },
): number[] {
  const { sliding_window: size, layer_types: kinds } = config;
  const mistral = type === "mistral";
  const none = type === "llama" ||
    (!mistral && config.use_sliding_window !== true);
  const given = mistral && size === undefined ? 4096 : size;
  const window = !none && typeof given === "number" && given > 0 ? given : 0;
  const first = config.max_window_layers;
  const from = mistral ? 0 : typeof first === "number" ? first : 28;
  return Array.from({ length: layers }, (_, i) => {
    const slides = !mistral && Array.isArray(kinds)
      ? kinds[i] === "sliding_attention"
      : i >= from;
    return slides ? window : 0;
  });
}
