/**
 * The families of decoders that are run: a row each, in which they differ from LLaMA.
 *
 * Sizes are read alike from all configs (`src/families/decoder.ts`); the tensors of a block and their names in GGUF files are
 * a table of their own (`src/families/decoder_block.ts`).
 *
 * @module
 */

/** Biases of a block, by the linear layers that have them together. */
export type DecoderBias = "qkvBias" | "outputBias" | "mlpBias";

/** Attention windows of a family, read from `sliding_window`. */
export interface DecoderWindow {
  /** Size where the config has no such key. */
  readonly unset?: number;
  /** Key that switches it on; without it, it holds for all layers. */
  readonly where?: string;
  /** First layer that has it where the config has neither `layer_types` nor `max_window_layers`. */
  readonly from?: number;
}

/** A family of decoders. */
export interface DecoderFamily {
  /** `model_type` of its configs. */
  readonly type: string;
  /** Class of transformers. */
  readonly model: string;
  /** Whether there are biases, or the key of the config that says so; none without it. */
  readonly biases?: Readonly<Partial<Record<DecoderBias, true | string>>>;
  /** Sliding window; none without it. */
  readonly window?: DecoderWindow;
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
  };
}

/** Every family. */
export const DECODERS: readonly DecoderFamily[] = [
  {
    type: "llama",
    model: "LlamaForCausalLM",
    biases: {
      qkvBias: "attention_bias",
      outputBias: "attention_bias",
      mlpBias: "mlp_bias",
    },
    gguf: { arch: "llama", rows: "interleaved" },
  },
  {
    type: "mistral",
    model: "MistralForCausalLM",
    window: { unset: 4096 },
    gguf: { arch: "mistral", writtenAs: "llama", rows: "interleaved" },
  },
  {
    type: "qwen2",
    model: "Qwen2ForCausalLM",
    biases: { qkvBias: true },
    window: { where: "use_sliding_window", from: 28 },
    gguf: { arch: "qwen2", rows: "as stored" },
  },
];

/** Model types of the families. */
export const DECODER_TYPES: readonly string[] = DECODERS.map(({ type }) =>
  type
);

/** The family of a model type that {@linkcode DECODER_TYPES} has. */
export function decoderFamily(type: string): DecoderFamily {
  return DECODERS.find((family) => family.type === type)!;
}
