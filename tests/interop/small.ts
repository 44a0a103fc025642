/**
 * Packed models to export: the own model, and small ones of random weights for what it does not have.
 *
 * @module
 */

import { openCheckpoint } from "../../src/io/open.ts";
import type { FormatName } from "../../src/quant/formats.ts";
import { writePacked } from "../helpers/packed.ts";
import { writeSmall } from "../unit/export/helpers.ts";
import { own } from "./models.ts";

/** A model and how it is quantised. */
export interface PackedSubject {
  readonly label: string;
  readonly format: FormatName;
  readonly block: number;
  /** Keys of the config of a small model; the own model without them. */
  readonly changes?: Readonly<Record<string, unknown>>;
}

/** All of them. */
export const PACKED: readonly PackedSubject[] = [
  { label: "own LLaMA int5", format: "int5", block: 32 },
  { label: "own LLaMA int4", format: "int4", block: 32 },
  { label: "own LLaMA int3", format: "int3", block: 64 },
  { label: "own LLaMA int2", format: "int2", block: 32 },
  {
    label: "Qwen2 with biases and a head",
    format: "int4",
    block: 64,
    changes: { model_type: "qwen2", architectures: ["Qwen2ForCausalLM"] },
  },
  {
    // transformers takes every GGUF file of Qwen3 for one with heads of 128.
    label: "Qwen3 with heads of 128",
    format: "int4",
    block: 32,
    changes: {
      model_type: "qwen3",
      architectures: ["Qwen3ForCausalLM"],
      head_dim: 128,
      rope_theta: 1000000,
    },
  },
  {
    label: "SmolLM3 with a layer without positions",
    format: "int4",
    block: 32,
    changes: {
      model_type: "smollm3",
      architectures: ["SmolLM3ForCausalLM"],
      num_hidden_layers: 4,
      pad_token_id: 0,
    },
  },
  {
    label: "LLaMA 3 positions, wide heads, biases",
    format: "int4",
    block: 128,
    changes: {
      hidden_size: 128,
      intermediate_size: 256,
      head_dim: 64,
      attention_bias: true,
      mlp_bias: true,
      rope_theta: 10000,
      rope_parameters: {
        rope_type: "llama3",
        rope_theta: 10000,
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 16,
      },
    },
  },
];

/** Writes the model and its packed backbone; gives both folders. */
export async function makePacked(
  folder: string,
  { label, format, block, changes }: PackedSubject,
): Promise<{ original: string; packed: string }> {
  const place = `${folder}/${label.replaceAll(/\W+/g, "-")}`;
  const original = changes ? `${place}-dense` : own.path;
  if (changes) await writeSmall(original, changes);
  await using checkpoint = await openCheckpoint(original);
  await writePacked(place, checkpoint, { format, block });
  return { original, packed: place };
}
