/**
 * Cost of fine-tuning a model, from its config alone: `loqa plan` for programs. All of it is computed, none measured.
 *
 * @module
 */

import { isMeant, ValueError } from "../errors.ts";
import type { ConfigJson } from "../families/config_reader.ts";
import {
  exists,
  joinPath,
  kindOf,
  listFolder,
  readTextFile,
} from "../io/files/deno.ts";
import { parseJsonObject } from "../io/files/json.ts";
import { openCheckpoint } from "../io/open.ts";
import { modelConfig } from "../io/packed/config.ts";
import { findModel } from "../models/load/locate.ts";
import { checkWhole } from "../models/load/whole.ts";
import {
  type CostOptions,
  type Method,
  type MethodCost,
  methodCosts,
} from "./cost.ts";
import { KNOWN_MODELS } from "./known.ts";
import { modelShape } from "./shape.ts";

export {
  type CostOptions,
  type MemoryParts,
  type Method,
  type MethodCost,
  METHODS,
} from "./cost.ts";
export { KNOWN_MODELS } from "./known.ts";

/** Settings of a plan unless told: those of QA-LoRA's Table 2, a sequence a step. */
export const PLAN_DEFAULTS: Required<CostOptions> = {
  rank: 64,
  group: 32,
  bits: 4,
  sequence: 512,
  batch: 1,
  checkpointing: false,
};

/** Options of {@linkcode plan}. */
export interface PlanOptions extends Partial<CostOptions> {
  /** Called with a choice that was not made by name, and with why a model is only described. */
  readonly onNote?: (line: string) => void;
}

/** Costs of fine-tuning a model by each method, and the settings that they are for. */
export interface PlanReport extends Required<CostOptions> {
  /** Always `plan`. */
  readonly verb: "plan";
  /** The model, as it was named. */
  readonly model: string;
  /** Its `model_type`. */
  readonly modelType: string;
  /** Number of its parameters. */
  readonly parameters: number;
  /** Number of those in linear layers. */
  readonly linearParameters: number;
  /** Costs by method: parameters, bytes, FLOPs. */
  readonly methods: Readonly<Record<Method, MethodCost>>;
}

/**
 * Computes what fine-tuning a model costs by each method. `name` is a `config.json`, a model, a folder that loqa wrote, or
 * one of {@linkcode KNOWN_MODELS}.
 *
 * @throws {RangeError} If there is no such model, or the settings make no sense for it.
 * @throws {TypeError} If its architecture is not known.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { plan } from "@loqa/loqa/plan";
 *
 * const { methods } = await plan("llama-7b", { rank: 64, group: 32 });
 * const { lora, qalora } = methods;
 * assert.equal(Math.round(qalora.trainableParameters / 1e6), 89);
 * assert.ok(qalora.memoryBytes < lora.memoryBytes);
 * ```
 */
export async function plan(
  name: string,
  { onNote, ...options }: PlanOptions = {},
): Promise<PlanReport> {
  const settings = { ...PLAN_DEFAULTS, ...options };
  const shape = modelShape(await findConfig(name, onNote), name);
  return {
    verb: "plan",
    model: name,
    modelType: shape.modelType,
    parameters: shape.linearParameters + shape.otherParameters,
    linearParameters: shape.linearParameters,
    ...settings,
    methods: methodCosts(shape, settings),
  };
}

async function findConfig(
  name: string,
  onNote?: (line: string) => void,
): Promise<ConfigJson> {
  if (Object.hasOwn(KNOWN_MODELS, name.toLowerCase())) {
    return KNOWN_MODELS[name.toLowerCase()];
  }
  const kind = name.startsWith("hf:") ? undefined : await kindOf(name);
  // A folder with a config alone has no weights to open; anything else is a model as everywhere, and whole.
  const file = kind === "folder" ? joinPath(name, "config.json") : name;
  const alone = file.endsWith(".json") && await exists(file);
  if (alone && !(kind === "folder" && await hasWeights(name))) {
    return modelConfig(parseJsonObject(await readTextFile(file), file));
  }
  if (kind !== undefined || name.startsWith("hf:")) {
    try {
      return await modelConfigOf(name, onNote);
    } catch (error) {
      if (!alone || !isMeant(error)) throw error;
      throw new ValueError(
        `${error.message} (loqa plan ${file} plans from the config alone)`,
      );
    }
  }
  throw new ValueError(
    `Cannot plan for "${name}": wanted a config.json, a model, a folder that loqa wrote, or one of ${
      Object.keys(KNOWN_MODELS).join(", ")
    }; there is no such file`,
  );
}

/** True if there are files of weights in a folder. */
async function hasWeights(folder: string): Promise<boolean> {
  return (await listFolder(folder)).some(({ name }) =>
    /\.(safetensors|gguf|bin|pt|pth)(\.index\.json)?$/.test(name)
  );
}

/** The config of a model, which is to be there with all its parts and tensors; its weights may be of any kind. */
async function modelConfigOf(
  name: string,
  onNote?: (line: string) => void,
): Promise<ConfigJson> {
  const place = await findModel(name);
  for (const line of place.taken ?? []) onNote?.(line);
  await using model = await openCheckpoint(place.model, { describe: "whole" });
  for (const note of model.notes ?? []) onNote?.(note);
  // What is only described cannot be compared.
  if (!model.notes?.length) checkWhole(model);
  return model.config;
}
