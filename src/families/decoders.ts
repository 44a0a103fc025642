/**
 * The families of decoders that are run: a row each, and the modules that rows are made of. All else derives: what a
 * checkpoint has to hold, what full training trains, what `plan` counts, layers that see the same input, GGUF files both ways.
 *
 * @module
 */

/** Biases of a block, by the linear layers that have them together. */
export type DecoderBias = "qkvBias" | "outputBias" | "mlpBias";

/** Sizes that shapes are made of; `q` and `kv` are the features of all query heads and of all key heads, `head` of one. */
export type SizeName = "vocab" | "hidden" | "inner" | "q" | "kv" | "head";

/** A module of a decoder. */
export interface DecoderModule {
  /** Name in a checkpoint. */
  readonly name: string;
  /** Name in a GGUF file: `attn_q` of `blk.0.attn_q.weight`. */
  readonly gguf: string;
  /** Shape of the weight. */
  readonly shape: readonly SizeName[];
  /** Switch of its bias; none without it. */
  readonly bias?: DecoderBias;
  /** The layer before it that sees the same input. */
  readonly sameInputAs?: string;
  /** True if its rows are those of heads that the rotary embedding turns. */
  readonly rotary?: true;
  /** Features of its output, where they are not the first size of its shape: a norm of each head has all heads'. */
  readonly outputs?: SizeName;
}

/** A family of decoders. */
export interface DecoderFamily {
  /** `model_type` of its configs. */
  readonly type: string;
  /** Class of transformers. */
  readonly model: string;
  /** Values of keys that a config has not, where transformers has others than for LLaMA. */
  readonly defaults?: Readonly<Record<string, number | boolean>>;
  /** The modules of a block, in the order of a checkpoint's tensors. */
  readonly block: readonly DecoderModule[];
  /** True for biases that there are, or the key of the config that says so; none without it. */
  readonly biases?: Readonly<Partial<Record<DecoderBias, true | string>>>;
  /** The window `sliding_window`: of all layers (true), or of some where this key of the config is on; none without it. */
  readonly window?: true | string;
  /**
   * Layers without rotary positions (NoPE): those that the config's `no_rope_layers` has 0 for, else every so many-th of
   * `no_rope_layer_interval`, which is this where the config has none. All layers have them without it.
   */
  readonly noRope?: number;
  /** In GGUF files. */
  readonly gguf: {
    /** llama.cpp's architecture. */
    readonly arch: string;
    /** The one that files are written for, where llama.cpp runs the family as another. */
    readonly writtenAs?: string;
    /**
     * Rows of `q_proj` and `k_proj`: as transformers has them, or with the halves of a head interleaved, because llama.cpp's
     * rotary embedding of the architecture pairs neighbours.
     */
    readonly rows: "as stored" | "interleaved";
    /** Biases that llama.cpp's architecture has no place for, though a config may ask for them. */
    readonly without?: readonly DecoderBias[];
  };
}

/** The modules of LLaMA's block: linear layers in the order of the computation, then norms. */
const LLAMA_BLOCK: readonly DecoderModule[] = [
  {
    ...{ name: "self_attn.q_proj", gguf: "attn_q", rotary: true },
    ...{ shape: ["q", "hidden"], bias: "qkvBias" },
  },
  {
    ...{ name: "self_attn.k_proj", gguf: "attn_k", rotary: true },
    ...{ shape: ["kv", "hidden"], bias: "qkvBias" },
    sameInputAs: "self_attn.q_proj",
  },
  {
    ...{ name: "self_attn.v_proj", gguf: "attn_v" },
    ...{ shape: ["kv", "hidden"], bias: "qkvBias" },
    sameInputAs: "self_attn.q_proj",
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
    sameInputAs: "mlp.gate_proj",
  },
  {
    ...{ name: "mlp.down_proj", gguf: "ffn_down" },
    ...{ shape: ["hidden", "inner"], bias: "mlpBias" },
  },
  { name: "input_layernorm", gguf: "attn_norm", shape: ["hidden"] },
  { name: "post_attention_layernorm", gguf: "ffn_norm", shape: ["hidden"] },
];

/** Switches of the biases of LLaMA's block. */
const LLAMA_BIASES = {
  qkvBias: "attention_bias",
  outputBias: "attention_bias",
  mlpBias: "mlp_bias",
} as const;

/** Norms of each head of q and k, before the rotary embedding. */
const HEAD_NORMS: readonly DecoderModule[] = [
  {
    ...{ name: "self_attn.q_norm", gguf: "attn_q_norm" },
    ...{ shape: ["head"], outputs: "q" },
  },
  {
    ...{ name: "self_attn.k_norm", gguf: "attn_k_norm" },
    ...{ shape: ["head"], outputs: "kv" },
  },
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

/** Every family. */
export const DECODERS: readonly DecoderFamily[] = [
  {
    type: "llama",
    model: "LlamaForCausalLM",
    block: LLAMA_BLOCK,
    biases: LLAMA_BIASES,
    gguf: { arch: "llama", rows: "interleaved" },
  },
  {
    type: "mistral",
    model: "MistralForCausalLM",
    defaults: { "sliding_window": 4096 },
    block: LLAMA_BLOCK,
    window: true,
    gguf: { arch: "mistral", writtenAs: "llama", rows: "interleaved" },
  },
  {
    type: "qwen2",
    model: "Qwen2ForCausalLM",
    defaults: { "max_window_layers": 28 },
    block: LLAMA_BLOCK,
    biases: { qkvBias: true },
    window: "use_sliding_window",
    gguf: { arch: "qwen2", rows: "as stored" },
  },
  {
    type: "qwen3",
    model: "Qwen3ForCausalLM",
    defaults: {
      ...{ "head_dim": 128, "sliding_window": 4096 },
      "max_window_layers": 28,
    },
    block: [...LLAMA_BLOCK, ...HEAD_NORMS],
    biases: { qkvBias: "attention_bias", outputBias: "attention_bias" },
    window: "use_sliding_window",
    gguf: { arch: "qwen3", rows: "as stored", without: ["outputBias"] },
  },
  {
    type: "smollm3",
    model: "SmolLM3ForCausalLM",
    defaults: { "tie_word_embeddings": true, "rope_theta": 2000000 },
    block: LLAMA_BLOCK,
    biases: LLAMA_BIASES,
    window: "use_sliding_window",
    noRope: 4,
    gguf: {
      ...{ arch: "smollm3", rows: "interleaved" },
      without: ["outputBias", "mlpBias"],
    },
  },
];

/** The modules of the blocks of all families. */
export const BLOCK_MODULES: readonly DecoderModule[] = [
  ...new Set(DECODERS.flatMap(({ block }) => block)),
];

/** Model types of the families. */
export const DECODER_TYPES: readonly string[] = DECODERS.map(({ type }) =>
  type
);

/** The family of a model type that {@linkcode DECODER_TYPES} has. */
export function decoderFamily(type: string): DecoderFamily {
  return DECODERS.find((family) => family.type === type)!;
}
