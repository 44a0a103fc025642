/**
 * `config.json` of DeBERTa's second and third versions, and the names of their tensors.
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
export const DEBERTA_TYPES = ["deberta-v2"] as const;

/** Relative positions in the attention. */
export interface RelativePositions {
  /** Attention span: relative positions to each side; the embedding has twice as many rows. */
  readonly span: number;
  /** Position buckets to each side, which far positions share; 0 without. */
  readonly buckets: number;
  /** Maximum relative position: the farthest that has a bucket of its own kind. */
  readonly most: number;
  /** Content-to-position attention. */
  readonly c2p: boolean;
  /** Position-to-content attention. */
  readonly p2c: boolean;
  /** Shared projections (`share_att_key`): positions go through those of the contents. */
  readonly shared: boolean;
}

/** The convolution beside the first layer. */
export interface ConvolutionShape {
  readonly kernel: number;
  readonly groups: number;
  readonly activation: Activation;
}

/** Sizes of a model, and the switches that its tensors depend on. */
export interface DebertaSizes {
  readonly modelType: typeof DEBERTA_TYPES[number];
  /** Vocabulary size. */
  readonly vocabSize: number;
  /** Embedding size: features of the token, position and token type embeddings. */
  readonly embeddingSize: number;
  /** Hidden size: features of a token. */
  readonly hiddenSize: number;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly intermediateSize: number;
  /** Number of layers. */
  readonly layers: number;
  /** Token type (segment) vocabulary size; 0 without a token type embedding. */
  readonly typeVocabSize: number;
  /** Maximum sequence length (context length). */
  readonly maxLength: number;
  /** True if absolute position embeddings are added to the token embeddings. */
  readonly absolute: boolean;
  readonly relative?: RelativePositions;
  /** True if there is a layer norm for the relative position embedding, be there such an embedding or not. */
  readonly relativeNorm: boolean;
  /** Terms of the attention scores besides content-to-content, for their scaling. */
  readonly terms: number;
  readonly convolution?: ConvolutionShape;
}

/** Configuration of a model: sizes and switches. */
export interface DebertaConfig extends DebertaSizes {
  /** Number of attention heads. */
  readonly heads: number;
  readonly normEpsilon: number;
  readonly activation: Activation;
  /** After the layer that the first token goes through before the classes. */
  readonly poolerActivation: Activation;
}

/**
 * Reads the sizes of a config, with the defaults that transformers has.
 *
 * @throws {TypeError} If it is another architecture, or asks for something that is not supported.
 * @throws {SyntaxError} If a value is no number.
 */
export function readDebertaSizes(read: ConfigReader): DebertaSizes {
  const hiddenSize = read.whole("hidden_size", 1536);
  const maxLength = read.whole("max_position_embeddings", 512);
  const kinds = attentionKinds(read);
  return {
    ...{ hiddenSize, maxLength, modelType: read.type(DEBERTA_TYPES) },
    vocabSize: read.whole("vocab_size", 128100),
    embeddingSize: read.whole("embedding_size", hiddenSize),
    intermediateSize: read.whole("intermediate_size", 6144),
    layers: read.whole("num_hidden_layers", 24),
    typeVocabSize: read.whole("type_vocab_size", 0, 0),
    absolute: read.flag("position_biased_input", true),
    terms: kinds.length,
    relative: readRelative(read, { kinds, maxLength }),
    relativeNorm: readRelativeNorm(read),
    convolution: readConvolution(read, hiddenSize),
  };
}

/**
 * Reads a config, with the defaults that transformers has.
 *
 * @param where Name of the model, for errors.
 * @throws {TypeError} If it is another architecture, or asks for something that is not supported.
 * @throws {SyntaxError} If a value is missing or no number.
 */
export function readDebertaConfig(
  config: ConfigJson,
  where: string,
): DebertaConfig {
  const read = new ConfigReader(config, where);
  const sizes = readDebertaSizes(read);
  const { hiddenSize } = sizes;
  const heads = read.whole("num_attention_heads", 24);
  if (hiddenSize % heads !== 0) {
    read.refuse(`hidden_size ${hiddenSize} is no multiple of ${heads} heads`);
  }
  const headSize = read.get("attention_head_size");
  if (headSize !== undefined && headSize !== hiddenSize / heads) {
    read.refuse(
      `attention_head_size ${headSize} is not ${hiddenSize / heads}`,
    );
  }
  const pooled = read.whole("pooler_hidden_size", hiddenSize);
  if (pooled !== hiddenSize) {
    read.refuse(`pooler_hidden_size ${pooled} is not ${hiddenSize}`);
  }
  return {
    ...sizes,
    heads,
    normEpsilon: read.number("layer_norm_eps", 1e-7),
    activation: read.activation("hidden_act", "gelu"),
    poolerActivation: read.activation("pooler_hidden_act", "gelu"),
  };
}

function attentionKinds(read: ConfigReader): string[] {
  const given = read.get("pos_att_type") ?? [];
  const kinds = typeof given === "string" ? given.split("|") : given;
  if (
    !Array.isArray(kinds) ||
    kinds.some((kind) => kind !== "c2p" && kind !== "p2c")
  ) {
    read.refuse(
      `pos_att_type ${JSON.stringify(given)} is not made of c2p and p2c`,
    );
  }
  return [...new Set(kinds as string[])];
}

function readRelative(
  read: ConfigReader,
  { kinds, maxLength }: { kinds: readonly string[]; maxLength: number },
): RelativePositions | undefined {
  if (!read.flag("relative_attention", false)) return undefined;
  const given = read.number("max_relative_positions", -1, -Infinity);
  const most = given < 1 ? maxLength : given;
  const buckets = Math.max(0, read.number("position_buckets", -1, -Infinity));
  return {
    span: buckets > 0 ? buckets : most,
    buckets,
    most,
    c2p: kinds.includes("c2p"),
    p2c: kinds.includes("p2c"),
    shared: read.flag("share_att_key", false),
  };
}

function readRelativeNorm(read: ConfigReader): boolean {
  const norms = read.get("norm_rel_ebd") ?? "none";
  return typeof norms === "string" &&
    norms.toLowerCase().split("|").some((x) => x.trim() === "layer_norm");
}

function readConvolution(
  read: ConfigReader,
  hiddenSize: number,
): ConvolutionShape | undefined {
  const kernel = read.whole("conv_kernel_size", 0, 0);
  if (kernel === 0) return undefined;
  const groups = read.whole("conv_groups", 1);
  if (kernel % 2 === 0) read.refuse(`conv_kernel_size ${kernel} is even`);
  if (hiddenSize % groups !== 0) {
    read.refuse(`hidden_size ${hiddenSize} is no multiple of ${groups} groups`);
  }
  return { kernel, groups, activation: read.activation("conv_act", "tanh") };
}

/** Prefix of a checkpoint's names: `deberta.`, or nothing where the model was stored without a head. */
export function debertaPrefix(
  { tensors }: TensorShapes,
): string {
  return tensors.has("deberta.embeddings.word_embeddings.weight")
    ? "deberta."
    : "";
}

function layerShape(
  { hiddenSize, intermediateSize, relative }: DebertaSizes,
): EncoderLayerShape {
  const own = relative && !relative.shared;
  return {
    ...{ hiddenSize, intermediateSize },
    projections: ["query_proj", "key_proj", "value_proj"],
    others: [
      ...(own && relative.c2p ? ["pos_key_proj"] : []),
      ...(own && relative.p2c ? ["pos_query_proj"] : []),
    ],
  };
}

/** The shape of a layer. */
export function debertaBlock(config: DebertaConfig): EncoderBlockShape {
  const { activation, normEpsilon } = config;
  return { ...layerShape(config), activation, normEpsilon };
}

/** Names of the classification head. */
const CLASSIFIER = { dense: "pooler.dense", out: "classifier" } as const;

/** Classification head. */
export function debertaClassifier(
  { poolerActivation }: Pick<DebertaConfig, "poolerActivation">,
): ClassifierShape {
  return { ...CLASSIFIER, activation: poolerActivation };
}

/** The parts of a model. */
export function debertaParts(
  config: DebertaSizes,
  { prefix, head }: { prefix: string; head: EncoderHead },
): (ModuleShape | LayersShape)[] {
  const { hiddenSize: n, embeddingSize, layers, relative } = config;
  const { convolution } = config;
  const module = (name: string, shape: readonly number[]): ModuleShape => ({
    name: `${prefix}${name}`,
    shape,
  });
  const norm = (name: string): ModuleShape => ({
    ...module(`${name}.LayerNorm`, [n]),
    bias: true,
  });
  const table = (name: string, rows: number) =>
    module(`embeddings.${name}`, [rows, embeddingSize]);
  return [
    table("word_embeddings", config.vocabSize),
    ...(config.absolute
      ? [table("position_embeddings", config.maxLength)]
      : []),
    ...(config.typeVocabSize > 0
      ? [table("token_type_embeddings", config.typeVocabSize)]
      : []),
    ...(embeddingSize !== n
      ? [module("embeddings.embed_proj", [n, embeddingSize])]
      : []),
    norm("embeddings"),
    ...(relative
      ? [module("encoder.rel_embeddings", [2 * relative.span, n])]
      : []),
    ...(config.relativeNorm ? [norm("encoder")] : []),
    encoderLayers(prefix, layers, layerShape(config)),
    ...(convolution
      ? [
        {
          ...module("encoder.conv.conv", [
            n,
            n / convolution.groups,
            convolution.kernel,
          ]),
          bias: true,
        },
        norm("encoder.conv"),
      ]
      : []),
    ...headModules(head, CLASSIFIER, n),
  ];
}

/** Every tensor of a model, by name. */
export function debertaTensors(
  config: DebertaSizes,
  of: { prefix: string; head: EncoderHead },
): WantedTensor[] {
  return tensorsOf(debertaParts(config, of));
}

/**
 * Tensors that files carry along and the model does not use: position ids, the published third version's absolute position
 * embedding that its config switches off, the pooler where nothing asks it, heads of pre-training.
 */
export const DEBERTA_IGNORED =
  /(^|\.)position_ids$|(^|\.)position_embeddings\.|(^|\.)pooler\.|^(cls|lm_predictions|mask_predictions|legacy_predictions)\./;

/**
 * Row of the relative position embedding for a distance `i - j`: itself, or near 0 itself and farther out by its logarithm,
 * shifted so that it is never negative (He et al., 2006.03654, equation 3; buckets as in version 2).
 */
export function relativeRow(
  distance: number,
  { span, buckets, most }: RelativePositions,
): number {
  const bucket = buckets > 0 ? bucketOf(distance, { buckets, most }) : distance;
  return Math.min(Math.max(bucket + span, 0), 2 * span - 1);
}

/** In f32, as PyTorch computes it: a logarithm near a whole number decides on a bucket. */
function bucketOf(
  distance: number,
  { buckets, most }: Pick<RelativePositions, "buckets" | "most">,
): number {
  const middle = Math.floor(buckets / 2);
  const far = Math.abs(distance);
  if (far <= middle) return distance;
  const { fround, log } = Math;
  const share = fround(
    fround(log(fround(far / middle))) /
      fround(log(fround((most - 1) / middle))),
  );
  return Math.sign(distance) *
    (Math.ceil(fround(share * (middle - 1))) + middle);
}
