/**
 * Names and shapes of the tensors of a LLaMA checkpoint, and the check that a file has them.
 *
 * @module
 */

import type { LlamaConfig } from "./decoder.ts";
import type { WantedTensor } from "./tensors.ts";

/** Prefix of a layer's tensors. */
export function layerPrefix(index: number): string {
  return `model.layers.${index}`;
}

/** A linear layer of a block. */
export interface LinearShape {
  /** Name within the block: `self_attn.q_proj`. */
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly bias: boolean;
}

/** The linear layers of a block, in the order of the computation. */
export function blockLinears(config: LlamaConfig): LinearShape[] {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim } = config;
  const { qkvBias, outputBias, mlpBias } = config;
  const kv = kvHeads * headDim;
  const q = heads * headDim;
  const linear = (
    name: string,
    [rows, cols]: readonly [number, number],
    bias: boolean,
  ): LinearShape => ({ name, rows, cols, bias });
  return [
    linear("self_attn.q_proj", [q, hiddenSize], qkvBias),
    linear("self_attn.k_proj", [kv, hiddenSize], qkvBias),
    linear("self_attn.v_proj", [kv, hiddenSize], qkvBias),
    linear("self_attn.o_proj", [hiddenSize, q], outputBias),
    linear("mlp.gate_proj", [intermediateSize, hiddenSize], mlpBias),
    linear("mlp.up_proj", [intermediateSize, hiddenSize], mlpBias),
    linear("mlp.down_proj", [hiddenSize, intermediateSize], mlpBias),
  ];
}

/** Names of a block's norms. */
export const BLOCK_NORMS = [
  "input_layernorm",
  "post_attention_layernorm",
] as const;

/** Every tensor of a model, by name, in the order of the computation. */
export function llamaTensors(config: LlamaConfig): WantedTensor[] {
  const { hiddenSize, vocabSize, tied, layers } = config;
  const tensors: WantedTensor[] = [
    { name: "model.embed_tokens.weight", shape: [vocabSize, hiddenSize] },
  ];
  for (let i = 0; i < layers; i++) {
    const prefix = layerPrefix(i);
    for (const { name, rows, cols, bias } of blockLinears(config)) {
      tensors.push({ name: `${prefix}.${name}.weight`, shape: [rows, cols] });
      if (bias) tensors.push({ name: `${prefix}.${name}.bias`, shape: [rows] });
    }
    for (const name of BLOCK_NORMS) {
      tensors.push({ name: `${prefix}.${name}.weight`, shape: [hiddenSize] });
    }
  }
  tensors.push({ name: "model.norm.weight", shape: [hiddenSize] });
  if (!tied) {
    tensors.push({ name: "lm_head.weight", shape: [vocabSize, hiddenSize] });
  }
  return tensors;
}

/**
 * Tensors that old files carry along and nobody needs. Copies of a tied embedding are left out where a file is opened
 * (`src/io/checkpoint/tied.ts`).
 */
export const IGNORED = /rotary_emb\.inv_freq$/;
