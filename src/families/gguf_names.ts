/**
 * From the tensors of a GGUF file to those of a Hugging Face checkpoint: names and the order of rows.
 *
 * llama.cpp's converter reorders the rows of `q_proj` and `k_proj` of the llama family, because its rotary embedding
 * pairs neighbours where Hugging Face pairs the halves of a head: row `(half, j)` of a head of Hugging Face is row
 * `(j, half)` of the file. Qwen2 is stored as it is.
 *
 * @module
 */

const TOP: Readonly<Record<string, string>> = {
  "token_embd": "model.embed_tokens",
  "output_norm": "model.norm",
  "output": "lm_head",
};

const LAYER: Readonly<Record<string, string>> = {
  "attn_norm": "input_layernorm",
  "attn_q": "self_attn.q_proj",
  "attn_k": "self_attn.k_proj",
  "attn_v": "self_attn.v_proj",
  "attn_output": "self_attn.o_proj",
  "ffn_norm": "post_attention_layernorm",
  "ffn_gate": "mlp.gate_proj",
  "ffn_up": "mlp.up_proj",
  "ffn_down": "mlp.down_proj",
};

/**
 * Hugging Face's name of the tensor that GGUF calls `name` (`blk.0.attn_q.weight` →
 * `model.layers.0.self_attn.q_proj.weight`); undefined if the llama family has no such tensor.
 */
export function huggingFaceName(name: string): string | undefined {
  const match = /^(?:blk\.(\d{1,5})\.)?([a-z_]+)\.(weight|bias)$/.exec(name);
  if (match === null) return undefined;
  const [, layer, part, kind] = match;
  const table = layer === undefined ? TOP : LAYER;
  if (!Object.hasOwn(table, part)) return undefined;
  const prefix = layer === undefined ? "" : `model.layers.${Number(layer)}.`;
  return `${prefix}${table[part]}.${kind}`;
}

function inverse(
  table: Readonly<Record<string, string>>,
): ReadonlyMap<string, string> {
  return new Map(Object.entries(table).map(([gguf, ours]) => [ours, gguf]));
}

const TOP_NAMES = inverse(TOP);
const LAYER_NAMES = inverse(LAYER);

/** GGUF's name of Hugging Face's tensor `name`, the inverse of {@linkcode huggingFaceName}. */
export function ggufName(name: string): string | undefined {
  const match = /^(?:model\.layers\.(\d{1,5})\.)?(.+)\.(weight|bias)$/.exec(
    name,
  );
  if (match === null) return undefined;
  const [, layer, part, kind] = match;
  const found = (layer === undefined ? TOP_NAMES : LAYER_NAMES).get(part);
  if (found === undefined) return undefined;
  return `${layer === undefined ? "" : `blk.${layer}.`}${found}.${kind}`;
}

/**
 * Row of the file that holds row `row` of Hugging Face's `q_proj` or `k_proj`.
 *
 * @param headRows Rows of one head.
 */
export function fileRow(row: number, headRows: number): number {
  const half = headRows / 2;
  const inHead = row % headRows;
  return row - inHead + 2 * (inHead % half) + Math.floor(inHead / half);
}
