/**
 * `config.json` of BART, and the names of its tensors.
 *
 * @module
 */

import {
  type LayersShape,
  type ModuleShape,
  type TensorShapes,
  tensorsOf,
  type WantedTensor,
} from "./tensors.ts";
import type { Activation } from "../device/contract/activation.ts";
import { type ConfigJson, ConfigReader } from "./config_reader.ts";

/** Model types that this architecture serves. */
export const BART_TYPES = ["bart"] as const;

/** Position id of the first token: rows of the position embedding before it are of no token. */
export const POSITION_OFFSET = 2;

/** Sizes of one side of a model. */
export interface BartSideSizes {
  /** Number of layers. */
  readonly layers: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
}

/** Configuration of one side of a model. */
export interface BartSide extends BartSideSizes {
  /** Number of attention heads. */
  readonly heads: number;
}

/** Sizes of a model, and the switches that its tensors depend on. */
export interface BartSizes {
  readonly modelType: typeof BART_TYPES[number];
  /** Vocabulary size. */
  readonly vocabSize: number;
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
  readonly encoder: BartSideSizes;
  readonly decoder: BartSideSizes;
  /** Maximum sequence length of either side. */
  readonly maxLength: number;
  /** Tied embeddings: the head is the token embedding. */
  readonly tied: boolean;
}

/** Configuration of a model: sizes and switches. */
export interface BartConfig extends BartSizes {
  readonly encoder: BartSide;
  readonly decoder: BartSide;
  /** Embedding scale: factor of the token embeddings. */
  readonly scale: number;
  readonly activation: Activation;
  /** Decoder start token id. */
  readonly startId: number;
}

/** Name of the bias that is added to the logits; not trained. */
export const FINAL_BIAS = "final_logits_bias";

/** Epsilon of a layer norm, added to the variance. */
export const BART_EPSILON = 1e-5;

/**
 * Reads the sizes of a config, with the defaults that transformers has.
 *
 * @throws {TypeError} If it is another architecture.
 * @throws {SyntaxError} If a value is no number.
 */
export function readBartSizes(read: ConfigReader): BartSizes {
  const side = (name: "encoder" | "decoder"): BartSideSizes => ({
    layers: read.whole(`${name}_layers`, 12),
    intermediateSize: read.whole(`${name}_ffn_dim`, 4096),
  });
  return {
    modelType: read.type(BART_TYPES),
    hiddenSize: read.whole("d_model", 1024),
    encoder: side("encoder"),
    decoder: side("decoder"),
    vocabSize: read.whole("vocab_size", 50265),
    maxLength: read.whole("max_position_embeddings", 1024),
    tied: read.flag("tie_word_embeddings", true),
  };
}

/**
 * Reads a config, with the defaults that transformers has.
 *
 * @param where Name of the model, for errors.
 * @throws {TypeError} If it is another architecture, or asks for something that is not supported.
 * @throws {SyntaxError} If a value is missing or no number.
 */
export function readBartConfig(config: ConfigJson, where: string): BartConfig {
  const read = new ConfigReader(config, where);
  const sizes = readBartSizes(read);
  const { hiddenSize } = sizes;
  const side = (name: "encoder" | "decoder"): BartSide => {
    const heads = read.whole(`${name}_attention_heads`, 16);
    if (hiddenSize % heads !== 0) {
      read.refuse(`d_model ${hiddenSize} is no multiple of ${heads} heads`);
    }
    return { ...sizes[name], heads };
  };
  return {
    ...sizes,
    encoder: side("encoder"),
    decoder: side("decoder"),
    scale: read.flag("scale_embedding", false) ? Math.sqrt(hiddenSize) : 1,
    activation: read.activation("activation_function", "gelu"),
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
  { tied }: Pick<BartSizes, "tied">,
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
  return `${layersPath(prefix, side)}.${index}`;
}

function layersPath(prefix: string, side: "encoder" | "decoder"): string {
  return `${prefix}${side}.layers`;
}

function layersOf(
  config: BartSizes,
  side: "encoder" | "decoder",
  prefix: string,
): LayersShape {
  const { hiddenSize: n } = config;
  const { layers, intermediateSize: m } = config[side];
  const module = (name: string, ...shape: number[]): ModuleShape => ({
    name,
    shape,
    bias: true,
  });
  const attentions = ATTENTIONS[side];
  return {
    path: layersPath(prefix, side),
    count: layers,
    hiddenSize: n,
    intermediateSize: m,
    attentions: { count: attentions.length, width: n },
    modules: [
      ...attentions.flatMap((name) => [
        ...PROJECTIONS.map((part) => module(`${name}.${part}`, n, n)),
        module(`${name}_layer_norm`, n),
      ]),
      module("fc1", m, n),
      module("fc2", n, m),
      module("final_layer_norm", n),
    ],
  };
}

/** The parts of a model, by the names that its checkpoint has for them. */
export function bartParts(
  config: BartSizes,
  { prefix, tables }: BartNames,
): (ModuleShape | LayersShape)[] {
  const { hiddenSize: n, vocabSize, maxLength } = config;
  return [
    ...[...new Set(Object.values(tables))].map((name) => ({
      name: name.replace(/\.weight$/, ""),
      shape: [vocabSize, n],
    })),
    ...(["encoder", "decoder"] as const).flatMap((side) => [
      {
        name: `${prefix}${side}.embed_positions`,
        shape: [maxLength + POSITION_OFFSET, n],
      },
      { name: `${prefix}${side}.layernorm_embedding`, shape: [n], bias: true },
      layersOf(config, side, prefix),
    ]),
  ];
}

/** Every tensor of a model, by the names that its checkpoint has for them. */
export function bartTensors(
  config: BartSizes,
  names: BartNames,
): WantedTensor[] {
  return tensorsOf(bartParts(config, names));
}

/**
 * Tensors that files carry along and the model does not use: a shared embedding that no side uses, a bias of the head
 * (checked where it is read), position ids and version numbers.
 */
export const BART_IGNORED =
  /(^|\.)shared\.weight$|^final_logits_bias$|(^|\.)(position_ids|version)$/;
