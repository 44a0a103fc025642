/**
 * The models of the papers that loqa follows, by name: the configs from which their sizes derive.
 *
 * @module
 */

import type { ConfigJson } from "../families/config_reader.ts";

function llama(
  hidden: number,
  { inner, layers, heads }: { inner: number; layers: number; heads: number },
): ConfigJson {
  return {
    model_type: "llama",
    vocab_size: 32000,
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    tie_word_embeddings: false,
  };
}

const SMALL = llama(4096, { inner: 11008, layers: 32, heads: 32 });
const MEDIUM = llama(5120, { inner: 13824, layers: 40, heads: 40 });

/**
 * - LLaMA: Touvron et al., 2302.13971, Table 2; the inner widths are those of the released checkpoints.
 * - LLaMA 2, 7B and 13B: 2307.09288; the same sizes.
 * - BART-large: Lewis et al., 1910.13461; DeBERTaV3-base: He et al., 2111.09543; both as the checkpoints
 *   `facebook/bart-large` and `microsoft/deberta-v3-base` have them.
 */
export const KNOWN_MODELS: Readonly<Record<string, ConfigJson>> = {
  "llama-7b": SMALL,
  "llama-13b": MEDIUM,
  "llama-33b": llama(6656, { inner: 17920, layers: 60, heads: 52 }),
  "llama-65b": llama(8192, { inner: 22016, layers: 80, heads: 64 }),
  "llama2-7b": SMALL,
  "llama2-13b": MEDIUM,
  "bart-large": {
    model_type: "bart",
    vocab_size: 50265,
    d_model: 1024,
    encoder_layers: 12,
    decoder_layers: 12,
    encoder_ffn_dim: 4096,
    decoder_ffn_dim: 4096,
    max_position_embeddings: 1024,
  },
  "deberta-v3-base": {
    model_type: "deberta-v2",
    vocab_size: 128100,
    hidden_size: 768,
    intermediate_size: 3072,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    max_position_embeddings: 512,
    type_vocab_size: 0,
    position_biased_input: false,
    relative_attention: true,
    max_relative_positions: -1,
    position_buckets: 256,
    share_att_key: true,
    norm_rel_ebd: "layer_norm",
    pos_att_type: "p2c|c2p",
  },
};
