/**
 * Small models to export.
 *
 * @module
 */

import { openCheckpoint } from "../../../src/io/open.ts";
import { writePacked } from "../../helpers/packed.ts";
import type { PackedOptions } from "../../helpers/packed.ts";
import { smallConfig, smallWeights } from "../../helpers/llama.ts";
import { writeModel } from "../../helpers/model.ts";
import type { QuantizedMatrix } from "../../../src/quant/quantized.ts";

/** The project's own model, for its tokenizer of 768 tokens. */
export const OWN: string =
  new URL("../../../examples/model", import.meta.url).pathname;

/** Writes a model of random weights with widths that are whole blocks, and the own model's tokenizer. */
export async function writeSmall(
  folder: string,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const config = smallConfig({
    architectures: ["LlamaForCausalLM"],
    vocab_size: 768,
    hidden_size: 64,
    intermediate_size: 96,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    rms_norm_eps: 1e-5,
    bos_token_id: 0,
    eos_token_id: 0,
    ...changes,
  });
  await writeModel(folder, { config, tensors: smallWeights(config) });
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(`${OWN}/${name}`, `${folder}/${name}`);
  }
}

/** The same as a packed backbone; gives its quantised weights. */
export async function writeSmallPacked(
  folder: string,
  { changes, ...options }: PackedOptions & {
    changes?: Readonly<Record<string, unknown>>;
  },
): Promise<Map<string, QuantizedMatrix>> {
  await writeSmall(`${folder}-dense`, changes);
  await using dense = await openCheckpoint(`${folder}-dense`);
  return await writePacked(folder, dense, options);
}

/** Scales and biases rounded to f16, as a file that holds them exactly has them. */
export function inHalves(q: QuantizedMatrix): QuantizedMatrix {
  const halves = (values: Float32Array) =>
    Float32Array.from(new Float16Array(values));
  return { ...q, scales: halves(q.scales), biases: halves(q.biases!) };
}
