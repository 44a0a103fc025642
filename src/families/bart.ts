/**
 * `config.json` of BART, and the names of its tensors.
 *
 * @module
 */

import type { TensorShapes, WantedTensor } from "./tensors.ts";
import type { Activation } from "../device/contract/activation.ts";
import { type ConfigJson, ConfigReader } from "./config_reader.ts";

/** Model types that this architecture serves. */
export const BART_TYPES = ["bart"] as const;

/** Position id of the first token: rows of the position embedding before it are of no token. */
export const POSITION_OFFSET = 2;

/** Sizes of one side of a model. */
export interface BartSide {
  /** Number of layers. */
  readonly layers: number;
  /** Number of attention heads. */
  readonly heads: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
}

/** Configuration of a model: sizes and switches. */
export interface BartConfig {
  readonly modelType: typeof BART_TYPES[number];
  /** Vocabulary size. */
  readonly vocabSize: number;
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
  readonly encoder: BartSide;
  readonly decoder: BartSide;
  /** Maximum sequence length of either side. */
  readonly maxLength: number;
  /** Embedding scale: factor of the token embeddings. */
  readonly scale: number;
  readonly activation: Activation;
  /** Tied embeddings: the head is the token embedding. */
  readonly tied: boolean;
  /** Decoder start token id. */
  readonly startId: number;
}

/** Name of the bias that is added to the logits; not trained. */
export const FINAL_BIAS = "final_logits_bias";

/** Epsilon of a layer norm, added to the variance. */
export const BART_EPSILON = 1e-5;

/**
 * Reads a config, with the defaults that transformers has.
 *
 * @param where Name of the model, for errors.
 * @throws {TypeError} If it is another architecture, or asks for something that is not supported.
 * @throws {SyntaxError} If a value is missing or no number.
 */
export function readBartConfig(config: ConfigJson, where: string): BartConfig {
  const read = new ConfigReader(config, where);
  const modelType = read.type(BART_TYPES);
  const hiddenSize = read.whole("d_model", 1024);
  const side = (name: "encoder" | "decoder"): BartSide => {
    const heads = read.whole(`${name}_attention_heads`, 16);
    if (hiddenSize % heads !== 0) {
      read.refuse(`d_model ${hiddenSize} is no multiple of ${heads} heads`);
    }
    return {
      heads,
      layers: read.whole(`${name}_layers`, 12),
      intermediateSize: read.whole(`${name}_ffn_dim`, 4096),
    };
  };
  return {
    ...{ modelType, hiddenSize },
    encoder: side("encoder"),
    decoder: side("decoder"),
    vocabSize: read.whole("vocab_size", 50265),
    maxLength: read.whole("max_position_embeddings", 1024),
    scale: read.flag("scale_embedding", false) ? Math.sqrt(hiddenSize) : 1,
    activation: read.activation("activation_function", "gelu"),
    tied: read.flag("tie_word_embeddings", true),
    startId: read.whole("decoder_start_token_id", 2, 0),
  };
}

/** Attentions of a layer by the side it is on, in the order of the computation. */
export const ATTENTIONS = {
  encoder: ["self_attn"],
  decoder: ["self_attn", "encoder_attn"],
} as const;

/** Linear layers of an attention. */
export const PROJECTIONS = ["q_proj", "k_proj", "v_proj", "out_proj"] as const;

/** Names of a checkpoint's embeddings and head. */
export interface BartNames {
  /** Prefix of the names: `model.`, or nothing where the model was stored without its head. */
  readonly prefix: string;
  /** Token embeddings of the two sides, and the head. */
  readonly tables: Readonly<Record<"encoder" | "decoder" | "head", string>>;
}

/** The names of a checkpoint's tensors. */
export function bartNames(
  { tied }: Pick<BartConfig, "tied">,
  { tensors }: TensorShapes,
): BartNames {
  const prefix = tensors.has("model.encoder.embed_positions.weight") ||
      !tensors.has("encoder.embed_positions.weight")
    ? "model."
    : "";
  const shared = `${prefix}shared.weight`;
  const own = (side: "encoder" | "decoder") => {
    const name = `${prefix}${side}.embed_tokens.weight`;
    return !tied && tensors.has(name) ? name : shared;
  };
  const head = tied ? shared : "lm_head.weight";
  return {
    prefix,
    tables: { encoder: own("encoder"), decoder: own("decoder"), head },
  };
}

/** Path of a layer. */
export function bartLayer(
  { prefix }: Pick<BartNames, "prefix">,
  side: "encoder" | "decoder",
  index: number,
): string {
  return `${prefix}${side}.layers.${index}`;
}

function layerTensors(
  config: BartConfig,
  side: "encoder" | "decoder",
  layerPath: string,
): WantedTensor[] {
  const { hiddenSize: n } = config;
  const { intermediateSize: m } = config[side];
  const layer = (name: string, rows: number, cols: number): WantedTensor[] => [
    { name: `${layerPath}.${name}.weight`, shape: [rows, cols] },
    { name: `${layerPath}.${name}.bias`, shape: [rows] },
  ];
  const norm = (name: string): WantedTensor[] =>
    ["weight", "bias"].map((part) => ({
      name: `${layerPath}.${name}.${part}`,
      shape: [n],
    }));
  return [
    ...ATTENTIONS[side].flatMap((name) => [
      ...PROJECTIONS.flatMap((part) => layer(`${name}.${part}`, n, n)),
      ...norm(`${name}_layer_norm`),
    ]),
    ...layer("fc1", m, n),
    ...layer("fc2", n, m),
    ...norm("final_layer_norm"),
  ];
}

/** Every tensor of a model, by the names that its checkpoint has for them. */
export function bartTensors(
  config: BartConfig,
  names: BartNames,
): WantedTensor[] {
  const { hiddenSize: n, vocabSize, maxLength } = config;
  const { prefix, tables } = names;
  return [
    ...[...new Set(Object.values(tables))].map((name) => ({
      name,
      shape: [vocabSize, n],
    })),
    ...(["encoder", "decoder"] as const).flatMap((side) => [
      {
        name: `${prefix}${side}.embed_positions.weight`,
        shape: [maxLength + POSITION_OFFSET, n],
      },
      ...["weight", "bias"].map((part) => ({
        name: `${prefix}${side}.layernorm_embedding.${part}`,
        shape: [n],
      })),
      ...Array.from(
        { length: config[side].layers },
        (_, i) => layerTensors(config, side, bartLayer(names, side, i)),
      ).flat(),
    ]),
  ];
}

/**
 * Tensors that files carry along and the model does not use: a shared embedding that no side uses, a bias of the head
 * (checked where it is read), position ids and version numbers.
 */
export const BART_IGNORED =
  /(^|\.)shared\.weight$|^final_logits_bias$|(^|\.)(position_ids|version)$/;
