/**
 * The tensors of decoders: one table of modules with their names, shapes and biases, from which all else derives: what a
 * checkpoint has to hold, what full training trains, names in GGUF files, layers that see the same input.
 *
 * @module
 */

import type { DecoderSizes } from "./decoder.ts";
import type { DecoderBias } from "./decoders.ts";
import {
  type LayersShape,
  type ModuleShape,
  tensorsOf,
  type WantedTensor,
} from "./tensors.ts";

/** Sizes that shapes are made of, by name. */
function namedSizes(config: DecoderSizes) {
  const { heads, kvHeads, headDim } = config;
  return {
    vocab: config.vocabSize,
    hidden: config.hiddenSize,
    inner: config.intermediateSize,
    /** Features of all query heads, and of all key heads. */
    q: heads * headDim,
    kv: kvHeads * headDim,
  };
}

type Size = keyof ReturnType<typeof namedSizes>;

/** A row of the table. */
export interface DecoderModule {
  /** Name in a checkpoint. */
  readonly name: string;
  /** Name in a GGUF file: `attn_q` of `blk.0.attn_q.weight`. */
  readonly gguf: string;
  /** Shape of the weight. */
  readonly shape: readonly Size[];
  /** Switch of its bias; none without it. */
  readonly bias?: DecoderBias;
  /** The layer before it that sees the same input. */
  readonly inputOf?: string;
  /** Whether its rows are those of heads that the rotary embedding turns. */
  readonly rotary?: true;
}

/** The modules of a block: linear layers in the order of the computation, then norms. */
export const BLOCK_MODULES: readonly DecoderModule[] = [
  {
    ...{ name: "self_attn.q_proj", gguf: "attn_q", rotary: true },
    ...{ shape: ["q", "hidden"], bias: "qkvBias" },
  },
  {
    ...{ name: "self_attn.k_proj", gguf: "attn_k", rotary: true },
    ...{ shape: ["kv", "hidden"], bias: "qkvBias" },
    inputOf: "self_attn.q_proj",
  },
  {
    ...{ name: "self_attn.v_proj", gguf: "attn_v" },
    ...{ shape: ["kv", "hidden"], bias: "qkvBias" },
    inputOf: "self_attn.q_proj",
  },
  {
    ...{ name: "self_attn.o_proj", gguf: "attn_output" },
    ...{ shape: ["hidden", "q"], bias: "outputBias" },
  },
  {
    ...{ name: "mlp.gate_proj", gguf: "ffn_gate" },
    ...{ shape: ["inner", "hidden"], bias: "mlpBias" },
  },
  {
    ...{ name: "mlp.up_proj", gguf: "ffn_up" },
    ...{ shape: ["inner", "hidden"], bias: "mlpBias" },
    inputOf: "mlp.gate_proj",
  },
  {
    ...{ name: "mlp.down_proj", gguf: "ffn_down" },
    ...{ shape: ["hidden", "inner"], bias: "mlpBias" },
  },
  { name: "input_layernorm", gguf: "attn_norm", shape: ["hidden"] },
  { name: "post_attention_layernorm", gguf: "ffn_norm", shape: ["hidden"] },
];

/** The modules outside the blocks. */
export const TOP_MODULES = {
  embedding: {
    ...{ name: "model.embed_tokens", gguf: "token_embd" },
    shape: ["vocab", "hidden"],
  },
  norm: { name: "model.norm", gguf: "output_norm", shape: ["hidden"] },
  head: { name: "lm_head", gguf: "output", shape: ["vocab", "hidden"] },
} as const satisfies Readonly<Record<string, DecoderModule>>;

const LAYERS = "model.layers";

/** Path of a layer. */
export function layerPrefix(index: number): string {
  return `${LAYERS}.${index}`;
}

function moduleShape(
  { name, shape, bias }: DecoderModule,
  config: DecoderSizes,
): ModuleShape {
  const sizes = namedSizes(config);
  return {
    name,
    shape: shape.map((size) => sizes[size]),
    bias: bias !== undefined && config[bias],
  };
}

/** The modules of a block, by their names within it. */
export function blockModules(config: DecoderSizes): ModuleShape[] {
  return BLOCK_MODULES.map((module) => moduleShape(module, config));
}

/** The parts of a model: embedding, layers, norm, and a head where it is not the embedding. */
export function decoderParts(
  config: DecoderSizes,
): (ModuleShape | LayersShape)[] {
  const { hiddenSize, intermediateSize, layers, tied } = config;
  const { embedding, norm, head } = TOP_MODULES;
  return [
    moduleShape(embedding, config),
    {
      ...{ hiddenSize, intermediateSize, path: LAYERS, count: layers },
      modules: blockModules(config),
      attentions: { count: 1, width: namedSizes(config).q },
    },
    ...(tied ? [norm] : [norm, head]).map((m) => moduleShape(m, config)),
  ];
}

/** Every tensor of a model, by name, in the order of the computation. */
export function decoderTensors(config: DecoderSizes): WantedTensor[] {
  return tensorsOf(decoderParts(config));
}

/**
 * Tensors that old files carry along and nobody needs. Copies of a tied embedding are left out where a file is opened
 * (`src/io/checkpoint/tied.ts`).
 */
export const IGNORED = /rotary_emb\.inv_freq$/;
