/**
 * Shape of a model, by its config alone: linear layers, other parameters, activations that training keeps.
 *
 * @module
 */

import { FormatError, KindError } from "../errors.ts";

/** Linear layers of one shape. */
export interface LinearShape {
  /** Name within the layer: `q_proj`, `attention.self.query`. */
  readonly name: string;
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Number of such layers in the model. */
  readonly count: number;
}

/** Layers of one kind, as a pass for training sees them. */
export interface LayerShape {
  /** Layers of the kind. */
  readonly count: number;
  /** Features that pass from layer to layer. */
  readonly width: number;
  /** Attentions in a layer. */
  readonly attentions: number;
  /** Width of attention: features of all query heads. */
  readonly attentionWidth: number;
  /** Values of a token that a layer keeps for the backward pass, those of adapters apart. */
  readonly kept: number;
}

/** Sizes of a model. */
export interface ModelShape {
  /** `model_type` of the config. */
  readonly modelType: string;
  /** The linear layers that get adapters: all but the head. */
  readonly linears: readonly LinearShape[];
  /** Parameters of {@linkcode linears}, without biases. */
  readonly linearParameters: number;
  /** All others: embeddings, head, norms, biases. */
  readonly otherParameters: number;
  /** Layers by kind: one kind, or encoder and decoder. */
  readonly layers: readonly LayerShape[];
  /** Rows of the embedding. */
  readonly vocabSize: number;
  /** True if the model ends in a head over the vocabulary. */
  readonly hasHead: boolean;
}

/** A config.json. */
export type Config = Readonly<Record<string, unknown>>;

interface Reader {
  readonly type: string;
  whole(key: string, fallback?: number, least?: number): number;
  on(key: string, fallback?: boolean): boolean;
  text(key: string): string;
}

/** One layer of a kind: linear layers as name, `out`, `in` and whether they have a bias. */
interface Block {
  readonly linears: readonly (readonly [string, number, number, boolean])[];
  readonly count: number;
  readonly width: number;
  readonly attentionWidth: number;
  readonly attentions: number;
  readonly norms: number;
  /** Values of a norm: 1 (a weight) or 2 (and a bias) times the width. */
  readonly normParts: 1 | 2;
  /** Intermediate (MLP) size: features inside the feed-forward part. */
  readonly inner: number;
}

type Family = (read: Reader) => {
  readonly blocks: readonly Block[];
  /** Parameters outside the layers. */
  readonly outside: number;
  readonly hasHead: boolean;
};

/** LLaMA and its kin. Without a head of its own the embedding serves. */
const decoder: Family = ({ type, whole, on }) => {
  const width = whole("hidden_size");
  const heads = whole("num_attention_heads");
  const head = whole("head_dim", width / heads);
  const q = heads * head;
  const kv = whole("num_key_value_heads", heads) * head;
  const inner = whole("intermediate_size");
  const bias = on("attention_bias");
  const qkv = bias || type === "qwen2";
  const mlp = on("mlp_bias");
  const table = whole("vocab_size") * width;
  return {
    blocks: [{
      linears: [
        ["q_proj", q, width, qkv],
        ["k_proj", kv, width, qkv],
        ["v_proj", kv, width, qkv],
        ["o_proj", width, q, bias && type !== "qwen2"],
        ["gate_proj", inner, width, mlp],
        ["up_proj", inner, width, mlp],
        ["down_proj", width, inner, mlp],
      ],
      count: whole("num_hidden_layers"),
      width,
      attentionWidth: q,
      attentions: 1,
      norms: 2,
      normParts: 1,
      inner,
    }],
    outside: table + width + (on("tie_word_embeddings") ? 0 : table),
    hasHead: true,
  };
};

/** The layer of BERT, and of DeBERTa, whose projections are called otherwise. */
function encoderBlock(
  { whole }: Reader,
  projections: readonly string[],
): Block {
  const width = whole("hidden_size");
  const inner = whole("intermediate_size");
  return {
    linears: [
      ...projections.map((name) =>
        [`attention.self.${name}`, width, width, true] as const
      ),
      ["attention.output.dense", width, width, true],
      ["intermediate.dense", inner, width, true],
      ["output.dense", width, inner, true],
    ],
    count: whole("num_hidden_layers"),
    width,
    attentionWidth: width,
    attentions: 1,
    norms: 2,
    normParts: 2,
    inner,
  };
}

/** BERT and RoBERTa with their pooler, without a task's head. */
const encoder: Family = (read) => {
  const block = encoderBlock(read, ["query", "key", "value"]);
  const { width } = block;
  const rows = read.whole("vocab_size") +
    read.whole("max_position_embeddings") + read.whole("type_vocab_size", 2);
  return {
    blocks: [block],
    outside: (rows + 2) * width + width * width + width,
    hasHead: false,
  };
};

/** DeBERTa v2 and v3: positions are relative, their projections shared with the contents' or not. */
const deberta: Family = (read) => {
  const { whole, on, text } = read;
  const relative = on("relative_attention");
  const own = relative && !on("share_att_key");
  const kinds = text("pos_att_type");
  const block = encoderBlock(read, [
    "query_proj",
    "key_proj",
    "value_proj",
    ...own && kinds.includes("c2p") ? ["pos_key_proj"] : [],
    ...own && kinds.includes("p2c") ? ["pos_query_proj"] : [],
  ]);
  const { width } = block;
  const size = whole("embedding_size", width);
  const rows = whole("vocab_size") +
    (on("position_biased_input", true) ? whole("max_position_embeddings") : 0) +
    whole("type_vocab_size", 0, 0);
  const longest = whole("max_relative_positions", -1, -1);
  const buckets = whole("position_buckets", -1, -1);
  const positions = buckets > 0
    ? buckets
    : longest > 0
    ? longest
    : whole("max_position_embeddings");
  const kernel = whole("conv_kernel_size", 0, 0);
  return {
    blocks: [block],
    outside: rows * size + 2 * width +
      (size === width ? 0 : size * width) +
      (relative ? 2 * positions * width : 0) +
      (text("norm_rel_ebd").includes("layer_norm") ? 2 * width : 0) +
      (kernel > 0 ? width * width * kernel + 3 * width : 0),
    hasHead: false,
  };
};

/** BART: the head is the embedding. */
const bart: Family = ({ whole }) => {
  const width = whole("d_model");
  const block = (side: "encoder" | "decoder", sources: readonly string[]) => {
    const inner = whole(`${side}_ffn_dim`);
    return {
      linears: [
        ...sources.flatMap((source) =>
          ["q_proj", "k_proj", "v_proj", "out_proj"].map((name) =>
            [`${side}.${source}.${name}`, width, width, true] as const
          )
        ),
        [`${side}.fc1`, inner, width, true] as const,
        [`${side}.fc2`, width, inner, true] as const,
      ],
      count: whole(`${side}_layers`),
      width,
      attentionWidth: width,
      attentions: sources.length,
      norms: sources.length + 1,
      normParts: 2 as const,
      inner,
    };
  };
  const positions = whole("max_position_embeddings") + 2;
  return {
    blocks: [
      block("encoder", ["self_attn"]),
      block("decoder", ["self_attn", "encoder_attn"]),
    ],
    outside: (whole("vocab_size") + 2 * positions + 4) * width,
    hasHead: true,
  };
};

const FAMILIES: Readonly<Record<string, Family>> = {
  llama: decoder,
  mistral: decoder,
  qwen2: decoder,
  bert: encoder,
  roberta: encoder,
  "deberta-v2": deberta,
  bart,
};

/**
 * Sizes of the model that `config` describes.
 *
 * A layer keeps for the backward pass the output of each linear layer, norm and attention, and what the activation
 * makes of the feed-forward part.
 *
 * @param where What errors call the config.
 * @throws {TypeError} If its `model_type` is not known.
 * @throws {SyntaxError} If a size is missing or none.
 */
export function modelShape(config: Config, where: string): ModelShape {
  const type = config.model_type;
  if (typeof type !== "string" || !Object.hasOwn(FAMILIES, type)) {
    throw new KindError(
      `Cannot plan for ${where}: wanted a model_type of ${
        Object.keys(FAMILIES).join(", ")
      }, got ${JSON.stringify(type) ?? "none"}`,
    );
  }
  const read = reader(config, type, where);
  const { blocks, outside, hasHead } = FAMILIES[type](read);
  const linears = blocks.flatMap(({ linears, count }) =>
    linears.map(([name, rows, cols]) => ({ name, rows, cols, count }))
  );
  const inLayers = blocks.map((block) => {
    const { linears, norms, normParts, width } = block;
    return block.count * (norms * normParts * width +
      linears.reduce((sum, [, rows, , bias]) => sum + (bias ? rows : 0), 0));
  });
  return {
    modelType: type,
    linears,
    linearParameters: linears.reduce(
      (sum, { rows, cols, count }) => sum + rows * cols * count,
      0,
    ),
    otherParameters: inLayers.reduce((a, b) => a + b, outside),
    layers: blocks.map((block) => ({
      count: block.count,
      width: block.width,
      attentions: block.attentions,
      attentionWidth: block.attentionWidth,
      kept: block.linears.reduce((sum, [, rows]) => sum + rows, 0) +
        block.norms * block.width + block.attentions * block.attentionWidth +
        block.inner,
    })),
    vocabSize: read.whole("vocab_size"),
    hasHead,
  };
}

function reader(config: Config, type: string, where: string): Reader {
  const wrong = (key: string, wanted: string): never => {
    throw new FormatError(
      `Cannot plan for ${where}: wanted ${wanted} for ${key}, got ${
        JSON.stringify(config[key]) ?? "none"
      }`,
    );
  };
  return {
    type,
    whole(key, fallback, least = 1) {
      const value = config[key] ?? fallback;
      return Number.isSafeInteger(value) && (value as number) >= least
        ? value as number
        : wrong(key, `a whole number >= ${least}`);
    },
    on(key, fallback = false) {
      const value = config[key] ?? fallback;
      return typeof value === "boolean" ? value : wrong(key, "true or false");
    },
    text(key) {
      const value = config[key] ?? "";
      return Array.isArray(value) ? value.join("|") : `${value}`;
    },
  };
}
