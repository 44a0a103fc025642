/**
 * Initial LoRA factors of a training: those of a stored adapter, or the default LoRA initialisation.
 *
 * @module
 */

import type { WantedTensor } from "../families/tensors.ts";
import { absolutePath } from "../io/files/deno.ts";
import { digest } from "../io/files/digest.ts";
import type { Adapter } from "../io/peft/adapter.ts";
import { adapterConfig } from "../io/peft/config.ts";
import { qaloraFields, type QaloraGroups } from "../io/peft/qalora.ts";
import { readAdapterFactors } from "../models/load/factors.ts";
import type { ModelPlace } from "../models/load/locate.ts";
import type { Model } from "../models/model.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";
import { peftTargets } from "./lora_targets.ts";
import { newFactors } from "./new_factors.ts";
import type { TrainOptions } from "./options.ts";

/**
 * A hash of the initial state of a training, whatever its order in a file: factors, and tensors that are trained in full.
 */
export async function digestStart(
  factors: readonly AdapterModuleFactors[],
  whole: ReadonlyMap<string, Float32Array> = new Map(),
): Promise<string> {
  const hashes: string[] = [];
  // One after the other: each holds a copy of its values.
  for (const { module, scaling, a, b } of factors) {
    hashes.push(await digest(`${module} ${scaling}`, a, b));
  }
  for (const [name, values] of whole) hashes.push(await digest(name, values));
  return await digest(hashes.sort().join());
}

/** Initial LoRA factors, and the files written beside them. */
export interface Start {
  readonly factors: AdapterModuleFactors[];
  /** Contents of adapter_config.json, for these groups of inputs where there are any. */
  config(groups: QaloraGroups | undefined): Readonly<Record<string, unknown>>;
  /** The groups of the adapter's own file. */
  readonly qalora?: QaloraGroups;
}

/** The factors of an adapter that is open. */
export async function storedFactors(
  adapter: Adapter,
  { dropout }: TrainOptions,
): Promise<Start> {
  const { config, settings } = adapter;
  const { qalora, base } = settings;
  return {
    factors: await readAdapterFactors(adapter),
    config: (groups) => ({
      ...config,
      lora_dropout: dropout,
      ...(groups && groups !== qalora && {
        use_qalora: false,
        ...qaloraFields({ base, groups }),
      }),
    }),
    qalora,
  };
}

/** PEFT's types of task, for models without a head of their own. */
const PEFT_TASKS = {
  causal: "CAUSAL_LM",
  encoder: "FEATURE_EXTRACTION",
  seq2seq: "SEQ_2_SEQ_LM",
} as const;

/**
 * Default LoRA initialisation on the layers that are asked for: all linear layers of the blocks without a choice.
 *
 * @throws {RangeError} If a name or a pattern asks for none.
 */
export function newStart(
  place: ModelPlace,
  { options, kind, tensors }: {
    options: TrainOptions;
    kind: Model["kind"];
    /** All tensors of the model. */
    tensors: readonly WantedTensor[];
  },
): Start {
  const { targets, seed, rank, alpha, rslora } = options;
  const { rankPattern, alphaPattern } = options;
  const settings = { rank, alpha, rslora, rankPattern, alphaPattern };
  const factors = newFactors(tensors, {
    ...{ ...settings, targets, seed },
    name: place.model,
  });
  const modules = factors.map(({ module }) => module);
  const config = adapterConfig({
    ...settings,
    baseModel: absolutePath(place.model),
    taskType: PEFT_TASKS[kind],
    dropout: options.dropout,
    targetModules: peftTargets(modules, { targets, tensors }),
  });
  return { factors, config: () => config };
}
