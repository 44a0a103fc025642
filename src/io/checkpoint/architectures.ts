/**
 * Models that transformers 5 builds otherwise than a file's names and shapes say: one row a kind of model.
 *
 * A model type without a row is built as its file is named; rules for every type (experts, routers, towers, heads that
 * are in no file) go by names and stand in `names.ts` and `src/init/architecture.ts`.
 *
 * @module
 */

/** A pattern in a tensor's name, and its replacement in the module's. */
export type Rename = readonly [pattern: RegExp, by: string];

/** Facts of some model types. */
export interface ArchitectureRow {
  /** Values of `model_type` in config.json. */
  readonly types: readonly string[];
  /** From old names of tensors to those of today's modules, one after the other; names of today stay as they are. */
  readonly renames?: readonly Rename[];
  /** Modules that a file holds as one, by the end of their name: equal numbers of rows for each of the names. */
  readonly splits?: Readonly<Record<string, readonly string[]>>;
  /** Prefix of the model's tensors in a class with a head. */
  readonly prefix?: string;
  /** Linear layers that are no targets unless they are asked for by name. */
  readonly leftOut?: RegExp;
  /** Of them, those that a bitsandbytes backbone cannot have, and the reason. */
  readonly noBnb?: { readonly modules: RegExp; readonly why: string };
  /** Modules that PEFT refuses factors for. */
  readonly noAdapter?: RegExp;
  /** True if PEFT makes factors of single experts those of transformers' fused ones. */
  readonly expertsInPeft?: boolean;
  /** True if weights are stored transposed. */
  readonly transposed?: boolean;
  /** True if PEFT has no type of task for it: it sees or hears, and takes no tokens first. */
  readonly noTask?: boolean;
}

/** `vit.encoder.layer.0.attention.attention.query` became `vit.layers.0.attention.q_proj`. */
const VISION_RENAMES: readonly Rename[] = [
  [/encoder\.layer\./, "layers."],
  [/attention\.query/, "q_proj"],
  [/attention\.key/, "k_proj"],
  [/attention\.value/, "v_proj"],
  [/attention\.output\.dense/, "attention.o_proj"],
  [/intermediate\.dense/, "mlp.fc1"],
  [/output\.dense/, "mlp.fc2"],
];

const KEPT_F32 = "transformers keeps it in f32";
const READ_RAW = "the model's kernels read its weight as it is";

/** All rows; a type is in one at most. */
export const ARCHITECTURES: readonly ArchitectureRow[] = [
  {
    // A language model beside towers, which were its siblings and are its children's siblings now.
    types: [
      ...["llava", "llava_next", "llava_next_video", "llava_onevision"],
      ...["video_llava", "vipllava", "paligemma", "gemma3", "mistral3"],
      ...["internvl", "aya_vision", "got_ocr2", "mllama", "aria"],
      ...["qwen2_audio", "voxtral", "granite_speech"],
    ],
    prefix: "model",
    renames: [
      [/^language_model\.lm_head\./, "lm_head."],
      [/^(?:model\.)?language_model\.(?:model\.)?/, "model.language_model."],
      [
        /^(?=(?:(?:vision|image|video|audio)_(?:tower|model)|multi_modal_projector|image_newline|encoder|projector)\b)/,
        "model.",
      ],
    ],
  },
  {
    types: ["qwen2_vl", "qwen2_5_vl"],
    prefix: "model",
    renames: [
      [/^visual\./, "model.visual."],
      [/^model\.(?!language_model\.|visual\.)/, "model.language_model."],
    ],
  },
  {
    types: ["vit", "deit", "ijepa", "vivit", "audio-spectrogram-transformer"],
    renames: VISION_RENAMES,
    noTask: true,
  },
  {
    types: ["dinov2", "dinov2_with_registers"],
    renames: [
      [/attention\.attention\.query/, "attention.q_proj"],
      [/attention\.attention\.key/, "attention.k_proj"],
      [/attention\.attention\.value/, "attention.v_proj"],
      [/attention\.output\.dense/, "attention.o_proj"],
      [/mlp\.weights_out/, "mlp.down_proj"],
    ],
    splits: { "mlp.weights_in": ["mlp.gate_proj", "mlp.up_proj"] },
    noTask: true,
  },
  {
    types: ["nomic_bert"],
    prefix: "nomic_bert",
    renames: [
      [/encoder\.layers/, "layers"],
      [/emb_ln/, "embeddings.LayerNorm"],
      [/(?<!self_)attn\.out_proj/, "self_attn.o_proj"],
      [/fc11/, "up_proj"],
      [/fc12/, "gate_proj"],
      [/fc2/, "down_proj"],
      [/norm1/, "post_attention_layernorm"],
      [/norm2/, "post_mlp_layernorm"],
    ],
    splits: {
      "attn.Wqkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    },
  },
  {
    types: ["t5", "mt5", "umt5", "longt5", "pop2piano", "udop"],
    leftOut: /\.wo$/,
    noBnb: { modules: /\.wo$/, why: KEPT_F32 },
  },
  {
    types: ["falcon"],
    prefix: "transformer",
    noBnb: {
      modules: /./,
      why: "its layers are of a class of their own, which stays plain there",
    },
  },
  {
    types: ["llama4", "llama4_text"],
    noBnb: {
      modules: /./,
      why:
        "transformers takes its experts apart there and does not find them in the file, its own file neither",
    },
  },
  {
    types: ["mamba", "mamba2", "falcon_mamba"],
    prefix: "backbone",
    leftOut: /\.(x_proj|dt_proj|out_proj)$/,
    noBnb: { modules: /\.(x_proj|dt_proj)$/, why: READ_RAW },
    noAdapter: /\.out_proj$/,
  },
  {
    types: ["falcon_h1", "nemotron_h"],
    prefix: "model",
    leftOut: /\.out_proj$/,
    noAdapter: /\.out_proj$/,
  },
  { types: ["mixtral", "qwen3_moe"], prefix: "model", expertsInPeft: true },
  {
    types: ["gpt2", "openai-gpt", "imagegpt", "decision_transformer"],
    transposed: true,
  },
  {
    types: ["whisper", "speech_to_text", "moonshine", "moonshine_streaming"],
    prefix: "model",
    noTask: true,
  },
  { types: ["bert"], prefix: "bert" },
  { types: ["ernie"], prefix: "ernie" },
  {
    types: ["roberta", "xlm-roberta", "camembert"],
    prefix: "roberta",
  },
  { types: ["deberta", "deberta-v2"], prefix: "deberta" },
  { types: ["electra"], prefix: "electra" },
  { types: ["distilbert"], prefix: "distilbert" },
  { types: ["albert"], prefix: "albert" },
  { types: ["mpnet"], prefix: "mpnet" },
  { types: ["roformer"], prefix: "roformer" },
  { types: ["modernbert", "eurobert"], prefix: "model" },
];

/** The row of a config's model type. */
export function architectureOf(
  { model_type: type }: Readonly<Record<string, unknown>>,
): ArchitectureRow | undefined {
  return ARCHITECTURES.find(({ types }) => types.includes(type as string));
}
