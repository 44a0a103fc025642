/**
 * config.json of a model in loqa's packed layout.
 *
 * A loader that does not know the layout would find no weights by the names it wants, and make up random ones. So the
 * model's own config stands one level down, and what transformers looks at first are words that make it stop:
 *
 * ```json
 * {
 *   "model_type": "loqa-packed (read by loqa alone; …)",
 *   "quantization_config": { "quant_method": "loqa", "version": 1, … },
 *   "loqa": { "layout": "packed", "config": { "model_type": "llama", … } }
 * }
 * ```
 *
 * Its Auto classes fail by the `model_type`; a class called by name (`LlamaForCausalLM`) gets to `quantization_config`,
 * whose type of computation is the same words instead of a type. Folders of earlier versions hold the model's own config
 * with `"quantization_config": {"quant_method": "loqa"}` added; they are read too.
 *
 * @module
 */

import { isObject, stringifyLike } from "../files/json.ts";
import type { JsonObject } from "../files/json.ts";

/** Words in other tools' errors for a packed model. */
export const PACKED_WORDS =
  "loqa-packed (read by loqa alone; for other tools: loqa init --backbone dense, or loqa merge and loqa export)";

/**
 * The config.json of a packed model whose own config is `config`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { modelConfig, packedConfig } from "@loqa/loqa";
 *
 * const config = packedConfig({ model_type: "llama" }); // transformers refuses it with loqa's words
 * assert.equal(modelConfig(config).model_type, "llama");
 * ```
 */
export function packedConfig(config: Readonly<JsonObject>): JsonObject {
  return {
    model_type: PACKED_WORDS,
    quantization_config: Object.fromEntries([
      ["quant_method", "loqa"],
      ["version", 1],
      ["load_in_4bit", true],
      ["bnb_4bit_compute_dtype", PACKED_WORDS],
    ]),
    loqa: { layout: "packed", config },
  };
}

/**
 * The model's own config in a config.json: what {@linkcode packedConfig} was given, or all of any other.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { modelConfig } from "@loqa/loqa";
 *
 * assert.deepEqual(modelConfig({ model_type: "llama" }), { model_type: "llama" });
 * ```
 */
export function modelConfig(config: JsonObject): JsonObject {
  const { loqa, quantization_config: quantization, ...rest } = config;
  if (isObject(loqa) && isObject(loqa.config)) return loqa.config;
  const earlier = isObject(quantization) &&
    quantization.quant_method === "loqa";
  return earlier ? rest : config;
}

/** The JSON text of a config.json with the model's own config in it alone, numbers as they are written there. */
export function modelConfigText(config: JsonObject, text: string): string {
  const own = modelConfig(config);
  return own === config ? text : `${stringifyLike(own, text)}\n`;
}
