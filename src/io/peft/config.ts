/**
 * `adapter_config.json` of a LoRA adapter: PEFT's fields and their meaning.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { isObject } from "../files/json.ts";
import { pathMatcher } from "../../pattern_match.ts";
import type { JsonObject } from "../files/json.ts";
import { qaloraFields, type QaloraGroups, readQaloraFields } from "./qalora.ts";
import { checkPlainLora } from "./unread.ts";

/** Settings of a LoRA adapter; the rest of the file takes PEFT's defaults. */
export interface LoraSettings {
  /** Names or suffixes of the adapted modules, or a regular expression that matches them whole. */
  readonly targetModules: readonly string[] | string;
  /** Rank `r` of the factors. */
  readonly rank: number;
  /** `lora_alpha`. */
  readonly alpha: number;
  /** True if the scale is `alpha / sqrt(rank)` instead of `alpha / rank` (false). */
  readonly rslora?: boolean;
  /** Ranks of modules that have one of their own, by name or regular expression. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Alphas of modules that have one of their own. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** `CAUSAL_LM` and the like; null for none. */
  readonly taskType?: string | null;
  /** Path or id of the model that the adapter belongs to. */
  readonly baseModel?: string | null;
  /** LoRA dropout probability in training (0). */
  readonly dropout?: number;
  /** Modules stored in full beside the factors. */
  readonly modulesToSave?: readonly string[] | null;
  /** True if tied embeddings stay tied where the adapter has one of them in full or factors for it (false). */
  readonly staysTied?: boolean;
  /** Groups of inputs that are pooled before A, for QA-LoRA. */
  readonly qalora?: QaloraGroups;
  /** Fingerprint of the quantised weights that the adapter belongs to: `base` of loqa.json. */
  readonly base?: string;
}

/** Version of PEFT whose fields {@linkcode adapterConfig} writes. */
export const PEFT_VERSION = "0.21.2";

/**
 * `adapter_config.json` with every field that PEFT writes, and loqa's own for settings without a field of PEFT's
 * (`qalora.ts`).
 *
 * `init_lora_weights` is true whatever made the factors: any other value would have PEFT make them anew.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { adapterConfig } from "@loqa/loqa";
 *
 * const config = adapterConfig({ targetModules: ["q_proj", "v_proj"], rank: 8, alpha: 16 });
 * assert.deepEqual([config.r, config.lora_alpha], [8, 16]);
 * ```
 */
export function adapterConfig(settings: LoraSettings): JsonObject {
  const { targetModules } = settings;
  return {
    alora_invocation_tokens: null,
    alpha_pattern: settings.alphaPattern ?? {},
    arrow_config: null,
    auto_mapping: null,
    base_model_name_or_path: settings.baseModel ?? null,
    bias: "none",
    corda_config: null,
    ensure_weight_tying: settings.staysTied ?? false,
    eva_config: null,
    exclude_modules: null,
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    kasa_config: null,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_alpha: settings.alpha,
    lora_bias: false,
    lora_dropout: settings.dropout ?? 0,
    lora_ga_config: null,
    megatron_config: null,
    megatron_core: "megatron.core",
    modules_to_save: settings.modulesToSave ?? null,
    monteclora_config: null,
    peft_type: "LORA",
    peft_version: PEFT_VERSION,
    qalora_group_size: 16,
    r: settings.rank,
    rank_pattern: settings.rankPattern ?? {},
    revision: null,
    target_modules: typeof targetModules === "string"
      ? targetModules
      : [...targetModules],
    target_parameters: null,
    task_type: settings.taskType ?? null,
    trainable_token_indices: null,
    use_bdlora: null,
    use_dora: false,
    use_qalora: false,
    use_rslora: settings.rslora ?? false,
    velora_config: null,
    ...qaloraFields({ base: settings.base, groups: settings.qalora }),
  };
}

/** The settings in an `adapter_config.json`, with PEFT's defaults where a field is not there. */
export interface ReadSettings extends LoraSettings {
  /** As in the file, or false. */
  readonly staysTied: boolean;
  /** As in the file, or false. */
  readonly rslora: boolean;
  /** As in the file, or empty. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** As in the file, or empty. */
  readonly alphaPattern: Readonly<Record<string, number>>;
}

/**
 * Reads an `adapter_config.json`.
 *
 * @param where Name of the file in errors.
 * @throws {TypeError} If it is no LoRA adapter's, or has settings that are not read; it says what to do instead.
 * @throws {SyntaxError} If a field has the wrong type.
 */
export function readAdapterConfig(
  config: JsonObject,
  where: string,
): ReadSettings {
  checkPlainLora(config, where);
  const bad = (key: string, wanted: string): never => {
    throw new FormatError(
      `Cannot read ${quoted(where)}: ${key}: wanted ${wanted}, got ${
        quoted(shown(config[key]))
      }`,
    );
  };
  const number = (key: string, or: number): number => {
    const value = config[key] ?? or;
    return isFinite(value) ? value : bad(key, "a finite number");
  };
  const pattern = (key: string): Record<string, number> => {
    const value = config[key] ?? {};
    return isObject(value) &&
        Object.values(value).every(isFinite)
      ? value as Record<string, number>
      : bad(key, "finite numbers by name");
  };
  const text = (key: string): string | null => {
    const value = config[key] ?? null;
    return value === null || typeof value === "string"
      ? value
      : bad(key, "a text");
  };
  const names = (key: string): string[] | null => {
    const value = config[key] ?? null;
    return value === null ||
        Array.isArray(value) && value.every((s) => typeof s === "string")
      ? value
      : bad(key, "a list of names");
  };
  const flag = (key: string): boolean => {
    const value = config[key] ?? false;
    return typeof value === "boolean" ? value : bad(key, "true or false");
  };
  const rank = number("r", 8);
  if (!Number.isInteger(rank) || rank < 1) bad("r", "a whole number >= 1");
  const { base, groups } = readQaloraFields(config, where);
  return {
    targetModules: typeof config.target_modules === "string"
      ? config.target_modules
      : names("target_modules") ?? [],
    rank,
    alpha: number("lora_alpha", 8),
    rslora: flag("use_rslora"),
    rankPattern: pattern("rank_pattern"),
    alphaPattern: pattern("alpha_pattern"),
    taskType: text("task_type"),
    baseModel: text("base_model_name_or_path"),
    dropout: number("lora_dropout", 0),
    modulesToSave: names("modules_to_save"),
    staysTied: flag("ensure_weight_tying"),
    ...(base !== undefined && { base }),
    ...(groups && { qalora: groups }),
  };
}

/** A number that can be counted with: JSON has no infinity, but 1e999 is read as one. */
const isFinite = (value: unknown): value is number => Number.isFinite(value);

/** A value as errors show it; JSON would call an infinite one null. */
function shown(value: unknown): string {
  return JSON.stringify(
    value,
    (_, part) =>
      typeof part === "number" && !Number.isFinite(part) ? `${part}` : part,
  ) ?? "nothing";
}

/** Rank, alpha and scale of one module. */
export interface ModuleScaling {
  /** Rank `r` of the factors. */
  readonly rank: number;
  /** `lora_alpha`. */
  readonly alpha: number;
  /** Factor of `B·A`. */
  readonly scaling: number;
}

/**
 * Rank, alpha and scale of `module`, patterns applied as PEFT does: of the keys of a pattern, each a name or a
 * regular expression for a whole tail of the module's path, the first that matches.
 *
 * @throws {RangeError} If a key is no regular expression, or one that cannot be matched in linear time.
 */
export function moduleScaling(
  settings: Pick<
    LoraSettings,
    "rank" | "alpha" | "rslora" | "rankPattern" | "alphaPattern"
  >,
  module: string,
): ModuleScaling {
  const rank = lookUp(settings.rankPattern, module) ?? settings.rank;
  const alpha = lookUp(settings.alphaPattern, module) ?? settings.alpha;
  return {
    rank,
    alpha,
    scaling: alpha / (settings.rslora ? Math.sqrt(rank) : rank),
  };
}

/**
 * True if PEFT puts factors on `module`: it reads `target_modules` first, and ignores other modules of a file. Where the
 * settings name none, PEFT has a list for each architecture, and the file's modules are taken.
 *
 * @throws {RangeError} If `target_modules` is a text and no regular expression, or one that cannot be matched in linear
 * time.
 */
export function isTarget(config: JsonObject, module: string): boolean {
  const { target_modules: targets, target_parameters: parameters } = config;
  // Whoever shares a target's table has its factors too.
  if (config.ensure_weight_tying === true) return true;
  if (Array.isArray(parameters) && parameters.length > 0) return true;
  if (typeof targets === "string") {
    return targets === "all-linear" || pathMatcher(targets)(module);
  }
  return !Array.isArray(targets) || targets.length === 0 ||
    targets.some((end) => `.${module}`.endsWith(`.${end}`));
}

function lookUp(
  pattern: Readonly<Record<string, number>> | undefined,
  module: string,
): number | undefined {
  for (const [key, value] of Object.entries(pattern ?? {})) {
    if (pathMatcher(key, { tail: true })(module)) return value;
  }
  return undefined;
}
