/**
 * Quantised checkpoints of methods that are not decoded here, recognised by config.json or by the names of their tensors,
 * so that packed weights are never taken for plain ones.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { isObject } from "../files/json.ts";
import type { JsonObject } from "../files/json.ts";
import type { TensorReader } from "./tensor_reader.ts";

/** The method of weights that bitsandbytes has in 8 bits. */
export const LLM_INT8 = "bitsandbytes in 8 bits (LLM.int8)";

/** Quantisation method of a config; undefined if it has none. */
function methodOf(config: JsonObject): string | undefined {
  const nested = [config, config.text_config, config.llm_config].filter(
    isObject,
  );
  for (const place of nested) {
    for (const key of ["quantization_config", "compression_config"]) {
      const block = place[key];
      if (!isObject(block) || Object.keys(block).length === 0) continue;
      if (block.load_in_8bit === true) return LLM_INT8;
      if (typeof block.quant_method === "string") return block.quant_method;
      if (block.load_in_4bit === true) return "bitsandbytes";
      if (typeof block.quant_type === "string") return block.quant_type;
      return `no quant_method but ${Object.keys(block).slice(0, 4).join(", ")}`;
    }
  }
  return undefined;
}

/** Names of tensors beside packed weights, and their methods. */
const BESIDE: readonly (readonly [RegExp, string, string])[] = [
  [/^(.+)\.SCB$/, ".weight", LLM_INT8],
  [/^(.+)\.weight_packed$/, ".weight_scale", "compressed-tensors"],
  [/^(.+)_blocks$/, "_scales", "MXFP4"],
  [/^(.+)\.weight_scale(_inv)?$/, ".weight", "scaled fp8 or int8"],
  [/^(.+)\.qweight$/, ".scales", "GPTQ, AWQ or the like"],
];

/**
 * Reason for which the tensors of a checkpoint cannot be used as they are; undefined if they can.
 *
 * @param readers The rest of the store after its quantised weights were recognised.
 * @param isMethod True if a method is that of the recognised layout.
 * @param decoded The layouts that are decoded, for errors.
 */
export function foreignReason(
  readers: readonly TensorReader[],
  { where, config, isMethod, decoded }: {
    where: string;
    config: JsonObject;
    isMethod: (method: string) => boolean;
    decoded: readonly string[];
  },
): TypeError | undefined {
  const instead = `decoded are ${
    decoded.join(", ")
  }; take the model in f32, f16 or bf16`;
  const method = methodOf(config);
  if (method !== undefined && !isMethod(method)) {
    return new KindError(
      `Cannot read ${quoted(where)}: it is quantised, its config.json says by ${
        quoted(method)
      }, which loqa does not decode (${instead}, or remove quantization_config from config.json if the weights are plain after all)`,
    );
  }
  const byName = new Map(readers.map((reader) => [reader.info.name, reader]));
  for (const [pattern, ending, whose] of BESIDE) {
    for (const name of byName.keys()) {
      const stem = pattern.exec(name)?.[1];
      const other = stem && byName.get(stem + ending)?.info;
      if (!other) continue;
      // A scale beside a plain weight says nothing.
      if (ending === ".weight" && /^(F|BF)\d+$/.test(other.encoding)) continue;
      return new KindError(
        `Cannot read ${quoted(where)}: it is quantised, ${
          quoted(name)
        } beside ${
          quoted(other.name)
        } (${other.encoding}) is of ${whose}, which loqa does not decode (${instead})`,
      );
    }
  }
  return undefined;
}
