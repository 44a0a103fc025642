/**
 * A Hugging Face `config.json` from the metadata of a GGUF file of the llama family.
 *
 * @module
 */

// deno-lint-ignore-file camelcase -- the keys are those of Hugging Face's files
import { FormatError, KindError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import type { GgufFile } from "./file.ts";
import type { GgufValue } from "./cursor.ts";
import type { JsonObject } from "../files/json.ts";
import { type DecoderFamily, DECODERS } from "../../families/decoders.ts";
import { familyOfArch } from "../../families/gguf_names.ts";

/** Typed access to metadata, with errors that name file and key. */
export class Metadata {
  readonly #file: Pick<GgufFile, "name" | "metadata">;

  /** Over the metadata of `file`. */
  constructor(file: Pick<GgufFile, "name" | "metadata">) {
    this.#file = file;
  }

  #get(key: string): GgufValue | undefined {
    return this.#file.metadata.get(key);
  }

  #bad(key: string, wanted: string): SyntaxError {
    const value = this.#get(key);
    const got = value === undefined
      ? "nothing"
      : typeof value === "object"
      ? "an array"
      : quoted(String(value));
    return new FormatError(
      `Cannot read ${quoted(this.#file.name)} as GGUF: metadata ${
        quoted(key)
      }: wanted ${wanted}, got ${got}`,
    );
  }

  /** A finite number. */
  number(key: string): number | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw this.#bad(key, "a number");
    }
    return value;
  }

  /** A whole number from `least` on. */
  whole(key: string, least = 0): number | undefined {
    const value = this.number(key);
    if (value !== undefined && !(Number.isInteger(value) && value >= least)) {
      throw this.#bad(key, `a whole number >= ${least}`);
    }
    return value;
  }

  /** The id of a token by its role (`bos`, `padding`); undefined where it is not given or -1, as i32 or as u32. */
  token(role: string): number | undefined {
    const key = `tokenizer.ggml.${role}_token_id`;
    const value = this.number(key);
    return value === -1 || value === 2 ** 32 - 1 ? undefined : this.whole(key);
  }

  /** A whole number that has to be there. */
  size(key: string): number {
    const value = this.whole(key, 1);
    if (value === undefined) throw this.#bad(key, "a number");
    return value;
  }

  /** A text. */
  text(key: string): string | undefined {
    const value = this.#get(key);
    if (value === undefined || typeof value === "string") return value;
    throw this.#bad(key, "a text");
  }

  /** A truth value. */
  flag(key: string): boolean | undefined {
    const value = this.#get(key);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.#bad(key, "true or false");
  }

  /** A list of texts. */
  texts(key: string): readonly string[] | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((s) => typeof s === "string")) {
      return value;
    }
    throw this.#bad(key, "a list of texts");
  }

  /** A list of numbers. */
  numbers(key: string): ArrayLike<number> | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (
      ArrayBuffer.isView(value) && !(value instanceof BigUint64Array) &&
      !(value instanceof BigInt64Array)
    ) return value;
    throw this.#bad(key, "a list of numbers");
  }
}

/** Facts of a model for its config and the order of rows. */
export interface GgufModel {
  /** The config of Hugging Face transformers. */
  readonly config: JsonObject;
  /** Its `model_type`. */
  readonly modelType: string;
  /** Rows of a head. */
  readonly headDim: number;
}

/**
 * Describes the model in `file`.
 *
 * @param ropeFactors Contents of the tensor `rope_freqs.weight`, where there is one.
 * @throws {TypeError} If its architecture is none of a decoder that is run, or it has features that their configs lack.
 * @throws {SyntaxError} If metadata is missing or has the wrong type.
 */
export function ggufModel(
  file: GgufFile,
  ropeFactors?: ArrayLike<number>,
): GgufModel {
  const meta = new Metadata(file);
  const arch = meta.text("general.architecture") ?? "";
  const unsupported = (what: string) =>
    new KindError(
      `Cannot read ${quoted(file.name)} as a checkpoint: ${what}`,
    );
  const family = familyOfArch(arch);
  if (family === undefined) {
    throw unsupported(
      `wanted architecture ${
        DECODERS.map(({ gguf }) => gguf.arch).join(", ")
      }, got ${quoted(arch)}`,
    );
  }
  const { type, model, window } = family;
  const hidden = meta.size(`${arch}.embedding_length`);
  const heads = meta.size(`${arch}.attention.head_count`);
  const keyHeads = meta.whole(`${arch}.attention.head_count_kv`, 1) ?? heads;
  const headDim = meta.whole(`${arch}.attention.key_length`, 1) ??
    hidden / heads;
  const rotary = meta.whole(`${arch}.rope.dimension_count`, 1) ?? headDim;
  if (
    headDim % 2 !== 0 || rotary !== headDim ||
    (meta.whole(`${arch}.attention.value_length`, 1) ?? headDim) !== headDim
  ) {
    throw unsupported(
      `heads of ${headDim} of which ${rotary} are rotated (wanted an even number, all rotated)`,
    );
  }
  if ((meta.whole(`${arch}.expert_count`) ?? 0) > 0) {
    throw unsupported("it is a mixture of experts");
  }
  const embedding = file.tensors.get("token_embd.weight");
  if (embedding === undefined || embedding.shape.length !== 2) {
    throw new FormatError(
      `Cannot read ${
        quoted(file.name)
      } as GGUF: it has no matrix "token_embd.weight"`,
    );
  }
  const context = meta.size(`${arch}.context_length`);
  const theta = meta.number(`${arch}.rope.freq_base`) ?? 10000;
  const rope = ropeParameters(meta, arch, {
    theta,
    headDim,
    factors: ropeFactors,
    unsupported,
  });
  const vocabulary = embedding.shape[0];
  const padding = meta.token("padding") ?? Infinity;
  const ids = {
    bos_token_id: meta.token("bos") ?? null,
    eos_token_id: meta.token("eos") ?? null,
    pad_token_id: padding < vocabulary ? padding : null,
  };
  const config: JsonObject = {
    architectures: [model],
    model_type: type,
    hidden_size: hidden,
    intermediate_size: meta.size(`${arch}.feed_forward_length`),
    num_hidden_layers: meta.size(`${arch}.block_count`),
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    head_dim: headDim,
    vocab_size: embedding.shape[0],
    max_position_embeddings: context,
    rms_norm_eps: exactDecimal(
      meta.number(`${arch}.attention.layer_norm_rms_epsilon`) ?? 1e-6,
    ),
    rope_theta: theta,
    rope_parameters: rope,
    ...(rope.rope_type === "default" ? {} : { rope_scaling: rope }),
    ...biasSwitches(file, family),
    ...(window === true
      ? {
        sliding_window: meta.whole(`${arch}.attention.sliding_window`, 1) ??
          null,
      }
      : {}),
    hidden_act: "silu",
    tie_word_embeddings: !file.tensors.has("output.weight"),
    ...ids,
    dtype: embedding.type.dtype === "f32"
      ? "float32"
      : embedding.type.dtype === "bf16"
      ? "bfloat16"
      : "float16",
    use_cache: true,
  };
  return { config, modelType: type, headDim };
}

/** The config's switches of biases, each by the first layer that it is of. */
function biasSwitches(
  file: GgufFile,
  { block, biases = {} }: DecoderFamily,
): JsonObject {
  const out: Record<string, boolean> = {};
  for (const { gguf, bias } of block) {
    const key = bias && biases[bias];
    if (typeof key === "string") {
      out[key] ??= file.tensors.has(`blk.0.${gguf}.bias`);
    }
  }
  return out;
}

/** The shortest decimal of an f32: 1e-5 where the file holds 9.999999747378752e-6. */
function exactDecimal(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function ropeParameters(
  meta: Metadata,
  arch: string,
  { theta, headDim, factors, unsupported }: {
    theta: number;
    headDim: number;
    factors: ArrayLike<number> | undefined;
    unsupported: (what: string) => TypeError;
  },
): JsonObject {
  // As llama.cpp reads it: files of 2023 have the factor under an older key, and without a type it is linear.
  const type = meta.text(`${arch}.rope.scaling.type`) ?? "linear";
  const told = meta.number(`${arch}.rope.scaling.factor`) ??
    meta.number(`${arch}.rope.scale_linear`) ?? 0;
  const scaled = type !== "none" && told !== 0 && told !== 1;
  if (factors !== undefined) {
    if (scaled) {
      throw unsupported(
        `rope_freqs.weight beside a rope scaling ${
          quoted(type)
        } with factor ${told}`,
      );
    }
    const factor = Math.max(...Array.from(factors));
    const llama3 = {
      rope_type: "llama3",
      rope_theta: theta,
      factor,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    if (!isLlama3(factors, llama3, headDim)) {
      throw unsupported("rope_freqs.weight is not the scaling of Llama 3");
    }
    return llama3;
  }
  if (type === "none" || (type === "linear" && !scaled)) {
    return { rope_type: "default", rope_theta: theta };
  }
  if ((type !== "linear" && type !== "yarn") || told === 0) {
    throw unsupported(
      `rope scaling ${quoted(type)} with factor ${told || "none"}`,
    );
  }
  const original = meta.whole(
    `${arch}.rope.scaling.original_context_length`,
    1,
  );
  return {
    rope_type: type,
    rope_theta: theta,
    factor: told,
    ...(type === "yarn" && original !== undefined
      ? { original_max_position_embeddings: original }
      : {}),
  };
}

/** True if `factors` are those which the converter computes for the Llama 3 scaling `rope`. */
function isLlama3(
  factors: ArrayLike<number>,
  rope: {
    rope_theta: number;
    factor: number;
    low_freq_factor: number;
    high_freq_factor: number;
    original_max_position_embeddings: number;
  },
  headDim: number,
): boolean {
  if (factors.length !== headDim / 2) return false;
  const low = rope.original_max_position_embeddings / rope.low_freq_factor;
  const high = rope.original_max_position_embeddings / rope.high_freq_factor;
  for (let i = 0; i < factors.length; i++) {
    const wavelength = 2 * Math.PI * rope.rope_theta ** (2 * i / headDim);
    let wanted = 1;
    if (wavelength > low) wanted = rope.factor;
    else if (wavelength >= high) {
      const smooth = (rope.original_max_position_embeddings / wavelength -
        rope.low_freq_factor) /
        (rope.high_freq_factor - rope.low_freq_factor);
      wanted = 1 / ((1 - smooth) / rope.factor + smooth);
    }
    if (!(Math.abs(factors[i] - wanted) <= 1e-4 * wanted)) return false;
  }
  return true;
}
