/**
 * `config.json` of BERT and RoBERTa, and the names of their tensors.
 *
 * @module
 */

import {
  type EncoderHead,
  type LayersShape,
  type ModuleShape,
  type TensorShapes,
  tensorsOf,
  type WantedTensor,
} from "./tensors.ts";
import type { Activation } from "../device/contract/activation.ts";
import { type ConfigJson, ConfigReader } from "./config_reader.ts";
import {
  type ClassifierShape,
  type EncoderBlockShape,
  encoderLayers,
  type EncoderLayerShape,
  headModules,
} from "./encoder.ts";

/** Model types that this architecture serves. */
export const BERT_TYPES = ["bert", "roberta"] as const;

/** Sizes of a model, from which its tensors derive. */
export interface BertSizes {
  readonly modelType: typeof BERT_TYPES[number];
  /** Vocabulary size. */
  readonly vocabSize: number;
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
  /** Number of layers. */
  readonly layers: number;
  /** Token type (segment) vocabulary size: texts that tokens can belong to. */
  readonly typeVocabSize: number;
  /** Rows of the position embedding. */
  readonly positions: number;
}

/** Configuration of a model: sizes and switches. */
export interface BertConfig extends BertSizes {
  /** Number of attention heads. */
  readonly heads: number;
  /** Position id of a sequence's first token; rows before it are of no token. */
  readonly firstPosition: number;
  /** Maximum sequence length (context length). */
  readonly maxLength: number;
  /** Epsilon of a layer norm, added to the variance. */
  readonly normEpsilon: number;
  readonly activation: Activation;
}

/**
 * Reads the sizes of a config, with the defaults that transformers has.
 *
 * @throws {TypeError} If it is another architecture.
 * @throws {SyntaxError} If a value is no number.
 */
export function readBertSizes(read: ConfigReader): BertSizes {
  return {
    modelType: read.type(BERT_TYPES),
    hiddenSize: read.whole("hidden_size", 768),
    positions: read.whole("max_position_embeddings", 512),
    vocabSize: read.whole("vocab_size", 30522),
    intermediateSize: read.whole("intermediate_size", 3072),
    layers: read.whole("num_hidden_layers", 12),
    typeVocabSize: read.whole("type_vocab_size", 2),
  };
}

/**
 * Reads a config, with the defaults that transformers has.
 *
 * @param where Name of the model, for errors.
 * @throws {TypeError} If it is another architecture, or asks for something that is not supported.
 * @throws {SyntaxError} If a value is missing or no number.
 */
export function readBertConfig(config: ConfigJson, where: string): BertConfig {
  const read = new ConfigReader(config, where);
  const sizes = readBertSizes(read);
  const { modelType, hiddenSize, positions } = sizes;
  const kind = read.get("position_embedding_type");
  if (kind !== undefined && kind !== "absolute") {
    read.refuse(
      `position_embedding_type ${JSON.stringify(kind)} is not absolute`,
    );
  }
  if (config.is_decoder === true) read.refuse("it is a decoder");
  const heads = read.whole("num_attention_heads", 12);
  if (hiddenSize % heads !== 0) {
    read.refuse(`hidden_size ${hiddenSize} is no multiple of ${heads} heads`);
  }
  // RoBERTa's positions begin after that of its padding.
  const firstPosition = modelType === "roberta"
    ? read.whole("pad_token_id", 1, 0) + 1
    : 0;
  if (positions <= firstPosition) {
    read.refuse(`max_position_embeddings ${positions} leaves no position`);
  }
  return {
    ...sizes,
    heads,
    firstPosition,
    maxLength: positions - firstPosition,
    normEpsilon: read.number("layer_norm_eps", 1e-12),
    activation: read.activation("hidden_act", "gelu"),
  };
}

/** Prefix of a checkpoint's names: `bert.`, or nothing where the model was stored without a head. */
export function bertPrefix(
  { modelType }: Pick<BertSizes, "modelType">,
  { tensors }: TensorShapes,
): string {
  const prefix = `${modelType}.`;
  return tensors.has(`${prefix}embeddings.word_embeddings.weight`)
    ? prefix
    : "";
}

function layerShape(
  { hiddenSize, intermediateSize }: BertSizes,
): EncoderLayerShape {
  const projections = ["query", "key", "value"] as const;
  return { hiddenSize, intermediateSize, projections };
}

/** The shape of a layer. */
export function bertBlock(config: BertConfig): EncoderBlockShape {
  const { activation, normEpsilon } = config;
  return { ...layerShape(config), activation, normEpsilon };
}

/** Classification head: BERT by its pooler, RoBERTa by a layer of the head's own. */
export function bertClassifier(
  { modelType }: Pick<BertSizes, "modelType">,
  prefix: string,
): ClassifierShape {
  return modelType === "roberta"
    ? {
      dense: "classifier.dense",
      activation: "tanh",
      out: "classifier.out_proj",
    }
    : {
      dense: `${prefix}pooler.dense`,
      activation: "tanh",
      out: "classifier",
    };
}

/** BERT's pooler, whether something asks it or not. */
export function bertPooler({ hiddenSize: n }: BertSizes): ModuleShape {
  return { name: "pooler.dense", shape: [n, n], bias: true };
}

/** The parts of a model. */
export function bertParts(
  config: BertSizes,
  { prefix, head }: { prefix: string; head: EncoderHead },
): (ModuleShape | LayersShape)[] {
  const { hiddenSize: n, layers } = config;
  const table = (name: string, rows: number): ModuleShape => ({
    name: `${prefix}embeddings.${name}`,
    shape: [rows, n],
  });
  return [
    table("word_embeddings", config.vocabSize),
    table("position_embeddings", config.positions),
    table("token_type_embeddings", config.typeVocabSize),
    { name: `${prefix}embeddings.LayerNorm`, shape: [n], bias: true },
    encoderLayers(prefix, layers, layerShape(config)),
    ...headModules(head, bertClassifier(config, prefix), n),
  ];
}

/** Every tensor of a model, by name. */
export function bertTensors(
  config: BertSizes,
  of: { prefix: string; head: EncoderHead },
): WantedTensor[] {
  return tensorsOf(bertParts(config, of));
}

/**
 * Tensors that files carry along and the model does not use: position ids, the pooler where nothing asks it, heads of
 * pre-training.
 */
export const BERT_IGNORED =
  /(^|\.)(position_ids|token_type_ids)$|(^|\.)pooler\.|^cls\.|^lm_head\./;
