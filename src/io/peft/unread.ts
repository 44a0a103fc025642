/**
 * Settings of adapters that are no plain LoRA: computed as if they were, the model would be another one.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { OWN_TYPE } from "./qalora.ts";
import type { JsonObject } from "../files/json.ts";

/** Way out for an adapter that only PEFT can compute. */
const MERGE =
  "merge it in PEFT (merge_and_unload) and take the model that this makes";

/** Values of `init_lora_weights` for which PEFT subtracts from the base before it adds the factors. */
const CHANGED_BASE = /^(pissa|corda|olora$|loftq$|lora_ga$)/;

/** A setting that is not read: its test, by value, and the texts of its error. */
interface Unread {
  readonly key: string;
  /** True if a value turns it on; by default any that is not null, false or empty. */
  readonly asks?: (value: unknown) => boolean;
  /** Kind of the adapter, as a sentence. */
  readonly what: string;
  /** Way out. */
  readonly instead?: string;
}

const UNREAD: readonly Unread[] = [
  {
    key: "init_lora_weights",
    asks: (value) =>
      typeof value === "string" && CHANGED_BASE.test(value.toLowerCase()),
    what: "its factors belong to a base that was changed when they were made",
    instead:
      "save it in PEFT with path_initial_model_for_weight_conversion, which makes it one of the unchanged base",
  },
  { key: "use_dora", what: "it is DoRA, with magnitudes beside the factors" },
  {
    key: "lora_bias",
    what: "its factors B have biases of their own",
    instead:
      "train it with lora_bias false, or merge it in PEFT (merge_and_unload) where the layers have biases",
  },
  {
    key: "alora_invocation_tokens",
    what: "it is aLoRA, which counts only behind its invocation tokens",
    instead: "run it in PEFT; it cannot be merged",
  },
  {
    key: "trainable_token_indices",
    what: "it has trained rows of a table (trainable_tokens_delta)",
  },
  {
    key: "layer_replication",
    what: "it is of a model with some layers several times",
  },
  { key: "kasa_config", what: "it is KaSA, which takes a part off the base" },
  { key: "monteclora_config", what: "it is MonteCLoRA, which draws factors" },
  { key: "use_bdlora", what: "it is BD-LoRA, with factors in blocks" },
  { key: "arrow_config", what: "it is Arrow, which chooses among adapters" },
];

function isAsked(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  if (Array.isArray(value)) return value.length > 0;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/**
 * Checks that an adapter is LoRA of PEFT, and has only settings that are read here.
 *
 * @param where Name of the file of its settings in errors.
 * @throws {TypeError} That names its kind and a way out.
 */
export function checkPlainLora(config: JsonObject, where: string): void {
  const { peft_type: type } = config;
  const fail = (reason: string): never => {
    throw new KindError(`Cannot read ${quoted(where)}: ${reason}`);
  };
  if (type === undefined && isAsked(config.lora_parameters)) {
    fail(
      "it is an adapter of mlx-lm, wanted one of PEFT; fuse it there (mlx_lm.fuse --dequantize) and take the model that this makes",
    );
  }
  if (type !== "LORA" && type !== OWN_TYPE) {
    fail(
      `wanted peft_type "LORA", got ${quoted(`${type}`)}${
        type === undefined ? "" : `; ${MERGE}`
      }`,
    );
  }
  for (const { key, asks = isAsked, what, instead = MERGE } of UNREAD) {
    const value = config[key];
    if (!asks(value)) continue;
    fail(`${what} (${key}: ${shown(value)}), which is not read; ${instead}`);
  }
}

/** A value as errors show it, not too long. */
function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
