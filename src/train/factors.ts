/**
 * Where the training of an adapter starts: from a stored one, or from LoRA's own start.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { digest } from "../io/fingerprint.ts";
import { openAdapter } from "../io/open.ts";
import { adapterConfig, moduleScaling } from "../io/peft_config.ts";
import {
  poolingFactor,
  qaloraFields,
  type QaloraGroups,
} from "../io/peft_qalora.ts";
import { layerPosition, matchPattern } from "../loftq/plan.ts";
import { loraStart } from "../loftq/start.ts";
import type { Model, WantedTensor } from "../models/model.ts";
import {
  checkBase,
  type ModelPlace,
  readAdapterFactors,
} from "../models/open.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";
import type { TrainOptions } from "./options.ts";

/** Factors as they are after writing them for another pooling and reading them back, two roundings later. */
export function rewritten(
  factors: AdapterModuleFactors,
  groups: QaloraGroups | undefined,
): AdapterModuleFactors {
  if (!groups) return factors;
  const by = poolingFactor(groups, factors.a.length / factors.rank);
  return {
    ...factors,
    a: factors.a.map((x) => x * (1 / by)).map((x) => x * by),
  };
}

/** A hash of what training starts from, whatever its order in a file: factors, and tensors that are trained in full. */
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

/** Factors to train, and what is written beside them. */
export interface Start {
  readonly factors: AdapterModuleFactors[];
  /** Contents of adapter_config.json, for these groups of inputs where there are any. */
  config(groups: QaloraGroups | undefined): Readonly<Record<string, unknown>>;
  /** The groups of the adapter's own file. */
  readonly qalora?: QaloraGroups;
}

/** The factors of the adapter that a folder has. @throws {RangeError} If it belongs to another base. */
export async function storedFactors(
  place: ModelPlace,
  { dropout }: TrainOptions,
): Promise<Start> {
  await using adapter = await openAdapter(place.adapter!);
  checkBase(adapter, place);
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

/** The linear layers of a model's blocks. */
export function blockLinears(
  tensors: readonly WantedTensor[],
): { module: string; shape: readonly number[] }[] {
  const end = ".weight";
  return tensors.flatMap(({ name, shape }) => {
    const module = name.slice(0, -end.length);
    return name.endsWith(end) && shape.length === 2 && layerPosition(module)
      ? [{ module, shape }]
      : [];
  });
}

/** LoRA's own start on the layers that are asked for: all linear layers of the blocks without a choice. */
export function newFactors(
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
  const chosen = blockLinears(tensors).filter(({ module }) =>
    targets?.some((name) => matchPattern(module, { [name]: true }, false)) ??
      true
  );
  if (chosen.length === 0) {
    throw new ValueError(
      `Cannot train ${place.model}: no layer is called ${targets?.join(", ")}`,
    );
  }
  const settings = { rank, alpha, rslora, rankPattern, alphaPattern };
  const config = adapterConfig({
    ...settings,
    baseModel: place.model,
    taskType: PEFT_TASKS[kind],
    dropout: options.dropout,
    targetModules: targets ??
      [...new Set(chosen.map(({ module }) => module.split(".").at(-1)!))],
  });
  return {
    factors: chosen.map(({ module, shape: [rows, cols] }) => {
      const own = moduleScaling(settings, module);
      const { a, b } = loraStart({
        rows,
        cols,
        rank: own.rank,
        seed,
        name: module,
      });
      return {
        module,
        rank: own.rank,
        scaling: own.scaling,
        a: a.data,
        b: b.data,
      };
    }),
    config: () => config,
  };
}
