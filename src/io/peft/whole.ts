/**
 * Tensors of an adapter file besides factors, which replace the model's own.
 *
 * PEFT stores modules that are trained in full (`modules_to_save`: heads above all) as `base_model.model.MODULE.weight`, and
 * trained biases (`bias`: `all` or `lora_only`) as `base_model.model.MODULE.bias`, with `base_layer` before `bias` where the
 * module has factors.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import type { Adapter } from "./adapter.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";

/** Biases of a model that an adapter has: `bias` of PEFT's settings. */
export type TrainedBiases = "none" | "all" | "lora_only";

/** Every value of {@linkcode TrainedBiases}. */
export const TRAINED_BIASES = ["none", "all", "lora_only"] as const;

/** Kinds of other adapters' tensors, by their names. */
const KINDS: readonly (readonly [RegExp, string])[] = [
  [/lora_magnitude_vector/, "DoRA's magnitudes, "],
  [/trainable_tokens_/, "trained rows of a table, "],
  [/\.lora_(embedding_)?[AB]\..*bias$/, "biases of factors, "],
];

const kindOf = (name: string) =>
  KINDS.find(([pattern]) => pattern.test(name))?.[1] ?? "";

const PREFIX = "base_model.model.";

/** Name in an adapter file of a tensor of the model; `adapted` says that its module has factors. */
export function wholeTensorName(
  name: string,
  { adapted = false }: { adapted?: boolean } = {},
): string {
  return PREFIX +
    (adapted ? name.replace(/\.bias$/, ".base_layer.bias") : name);
}

/**
 * The tensors of `adapter` that take the place of the model's, by name in the model.
 *
 * @throws {TypeError} If it holds anything else besides factors: magnitudes, embeddings' factors.
 */
export function wholeTensors(adapter: Adapter): Map<string, TensorReader> {
  const found = new Map<string, TensorReader>();
  const copies = new Map<string, TensorReader>();
  const others: string[] = [];
  for (const [key, reader] of adapter.others) {
    // With `bias: all`, PEFT stores a saved module's bias three times: as itself, as the replaced one, and as its own.
    if (key.includes(".original_module.")) continue;
    const name = (key.startsWith(PREFIX) ? key.slice(PREFIX.length) : key)
      .replace(/\.base_layer\.(weight|bias)$/, ".$1");
    const copy = /^(.*)\.modules_to_save(?:\.default)?\.(.*)$/.exec(name);
    if (copy) copies.set(`${copy[1]}.${copy[2]}`, reader);
    else if (/lora_/.test(name) || !/\.(weight|bias)$/.test(name)) {
      others.push(key);
    } else found.set(name, reader);
  }
  if (others.length > 0) {
    throw new KindError(
      `Cannot use the adapter ${
        quoted(adapter.name)
      }: besides LoRA factors and whole modules it holds ${kindOf(others[0])}${
        others.slice(0, 5).join(", ")
      }${others.length > 5 ? ` and ${others.length - 5} more` : ""}`,
    );
  }
  for (const [name, reader] of copies) {
    if (!found.has(name)) found.set(name, reader);
  }
  return found;
}
