/**
 * From the tensors of a GGUF file to those of a Hugging Face checkpoint: names and the order of rows.
 *
 * @module
 */

import type { DecoderConfig } from "./decoder.ts";
import { layerPrefix } from "./decoder_block.ts";
import {
  BLOCK_MODULES,
  type DecoderFamily,
  decoderFamily,
  type DecoderModule,
  DECODERS,
  TOP_MODULES,
} from "./decoders.ts";

const TOP: readonly DecoderModule[] = Object.values(TOP_MODULES);

/**
 * Hugging Face's name of the tensor that GGUF calls `name` (`blk.0.attn_q.weight` →
 * `model.layers.0.self_attn.q_proj.weight`); undefined if no decoder has such a tensor.
 */
export function huggingFaceName(name: string): string | undefined {
  const match = /^(?:blk\.(\d{1,5})\.)?([a-z_]+)\.(weight|bias)$/.exec(name);
  if (match === null) return undefined;
  const [, layer, part, kind] = match;
  const table = layer === undefined ? TOP : BLOCK_MODULES;
  const found = table.find(({ gguf }) => gguf === part);
  if (found === undefined) return undefined;
  const prefix = layer === undefined ? "" : `${layerPrefix(Number(layer))}.`;
  return `${prefix}${found.name}.${kind}`;
}

/** Layer, module and `weight` or `bias` of Hugging Face's tensor `name`; undefined if no decoder has it. */
function moduleOf(
  name: string,
): { layer?: string; module: DecoderModule; kind: string } | undefined {
  const match = /^(?:model\.layers\.(\d{1,5})\.)?(.+)\.(weight|bias)$/.exec(
    name,
  );
  if (match === null) return undefined;
  const [, layer, part, kind] = match;
  const table = layer === undefined ? TOP : BLOCK_MODULES;
  const module = table.find((each) => each.name === part);
  return module && { layer, module, kind };
}

/** GGUF's name of Hugging Face's tensor `name`, the inverse of {@linkcode huggingFaceName}. */
export function ggufName(name: string): string | undefined {
  const found = moduleOf(name);
  if (found === undefined) return undefined;
  const { layer, module, kind } = found;
  return `${layer === undefined ? "" : `blk.${layer}.`}${module.gguf}.${kind}`;
}

/** The family that llama.cpp's architecture `arch` is read as; undefined if there is none. */
export function familyOfArch(arch: string): DecoderFamily | undefined {
  return DECODERS.find(({ gguf }) => gguf.arch === arch);
}

/**
 * Rows of one head of Hugging Face's tensor `name` where a GGUF file of its family has them in another order; undefined
 * for all others.
 */
export function headRows(
  name: string,
  { modelType, headDim }: Pick<DecoderConfig, "modelType" | "headDim">,
): number | undefined {
  const { rows } = decoderFamily(modelType).gguf;
  return rows === "interleaved" && moduleOf(name)?.module.rotary
    ? headDim
    : undefined;
}

/**
 * Row of the file that holds row `row` of Hugging Face's `q_proj` or `k_proj`, of families whose rows are interleaved: row
 * `(half, j)` of a head of Hugging Face is row `(j, half)` of the file.
 *
 * @param headRows Rows of one head.
 */
export function fileRow(row: number, headRows: number): number {
  const half = headRows / 2;
  const inHead = row % headRows;
  return row - inHead + 2 * (inHead % half) + Math.floor(inHead / half);
}
