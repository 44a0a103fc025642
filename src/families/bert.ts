/**
 * `config.json` of BERT and RoBERTa, and the names of their tensors.
 *
 * @module
 */

import type { EncoderHead, TensorShapes, WantedTensor } from "./tensors.ts";
import type { Activation } from "../device/contract/activation.ts";
import { type ConfigJson, ConfigReader } from "./config_reader.ts";
import {
  blockTensors,
  type ClassifierShape,
  type EncoderBlockShape,
  headTensors,
} from "./encoder.ts";

/** Model types that this architecture serves. */
export const BERT_TYPES = ["bert", "roberta"] as const;

/** Configuration of a model: sizes and switches. */
export interface BertConfig {
  readonly modelType: typeof BERT_TYPES[number];
  /** Vocabulary size. */
  readonly vocabSize: number;
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
  /** Number of layers. */
  readonly layers: number;
  /** Number of attention heads. */
  readonly heads: number;
  /** Token type (segment) vocabulary size: texts that tokens can belong to. */
  readonly typeVocabSize: number;
  /** Rows of the position embedding. */
  readonly positions: number;
  /** Position id of a sequence's first token; rows before it are of no token. */
  readonly firstPosition: number;
  /** Maximum sequence length (context length). */
  readonly maxLength: number;
  /** Epsilon of a layer norm, added to the variance. */
  readonly normEpsilon: number;
  readonly activation: Activation;
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
  const modelType = read.type(BERT_TYPES);
  const kind = read.get("position_embedding_type");
  if (kind !== undefined && kind !== "absolute") {
    read.refuse(
      `position_embedding_type ${JSON.stringify(kind)} is not absolute`,
    );
  }
  if (config.is_decoder === true) read.refuse("it is a decoder");
  const hiddenSize = read.whole("hidden_size", 768);
  const heads = read.whole("num_attention_heads", 12);
  if (hiddenSize % heads !== 0) {
    read.refuse(`hidden_size ${hiddenSize} is no multiple of ${heads} heads`);
  }
  const positions = read.whole("max_position_embeddings", 512);
  // RoBERTa's positions begin after that of its padding.
  const firstPosition = modelType === "roberta"
    ? read.whole("pad_token_id", 1, 0) + 1
    : 0;
  if (positions <= firstPosition) {
    read.refuse(`max_position_embeddings ${positions} leaves no position`);
  }
  return {
    modelType,
    hiddenSize,
    heads,
    positions,
    firstPosition,
    vocabSize: read.whole("vocab_size", 30522),
    intermediateSize: read.whole("intermediate_size", 3072),
    layers: read.whole("num_hidden_layers", 12),
    typeVocabSize: read.whole("type_vocab_size", 2),
    maxLength: positions - firstPosition,
    normEpsilon: read.number("layer_norm_eps", 1e-12),
    activation: read.activation("hidden_act", "gelu"),
  };
}

/** Prefix of a checkpoint's names: `bert.`, or nothing where the model was stored without a head. */
export function bertPrefix(
  { modelType }: Pick<BertConfig, "modelType">,
  { tensors }: TensorShapes,
): string {
  const prefix = `${modelType}.`;
  return tensors.has(`${prefix}embeddings.word_embeddings.weight`)
    ? prefix
    : "";
}

/** The shape of a layer. */
export function bertBlock(config: BertConfig): EncoderBlockShape {
  const { hiddenSize, intermediateSize, activation, normEpsilon } = config;
  const projections = ["query", "key", "value"] as const;
  const sizes = { hiddenSize, intermediateSize };
  return { ...sizes, activation, normEpsilon, projections };
}

/** Classification head: BERT by its pooler, RoBERTa by a layer of the head's own. */
export function bertClassifier(
  { modelType }: Pick<BertConfig, "modelType">,
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

/** Every tensor of a model, by name. */
export function bertTensors(
  config: BertConfig,
  { prefix, head }: { prefix: string; head: EncoderHead },
): WantedTensor[] {
  const { hiddenSize: n, layers } = config;
  const table = (name: string, rows: number): WantedTensor => ({
    name: `${prefix}embeddings.${name}.weight`,
    shape: [rows, n],
  });
  return [
    table("word_embeddings", config.vocabSize),
    table("position_embeddings", config.positions),
    table("token_type_embeddings", config.typeVocabSize),
    ...["weight", "bias"].map((part) => ({
      name: `${prefix}embeddings.LayerNorm.${part}`,
      shape: [n],
    })),
    ...Array.from(
      { length: layers },
      (_, i) => blockTensors(`${prefix}encoder.layer.${i}`, bertBlock(config)),
    ).flat(),
    ...headTensors(head, bertClassifier(config, prefix), n),
  ];
}

/**
 * Tensors that files carry along and the model does not use: position ids, the pooler where nothing asks it, heads of
 * pre-training.
 */
export const BERT_IGNORED =
  /(^|\.)(position_ids|token_type_ids)$|(^|\.)pooler\.|^cls\.|^lm_head\./;
