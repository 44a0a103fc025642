/**
 * What a training trains, and how it is written: an adapter, or a whole model.
 *
 * @module
 */

import type { ParameterSet } from "../autograd/parameter.ts";
import type { Device } from "../device/device.ts";
import { joinPath, makeFolder, writeFileAtomic } from "../io/deno.ts";
import type { Checkpoint } from "../io/checkpoint.ts";
import { digest } from "../io/fingerprint.ts";
import { stringifyLike } from "../io/json.ts";
import { openAdapter, openCheckpoint } from "../io/open.ts";
import { ADAPTER_CONFIG, ADAPTER_FILE, adapterTensorName } from "../io/peft.ts";
import { adapterConfig, moduleScaling } from "../io/peft_config.ts";
import {
  poolingFactor,
  qaloraFields,
  type QaloraGroups,
} from "../io/peft_qalora.ts";
import { matchPattern } from "../loftq/plan.ts";
import { loraStart } from "../loftq/start.ts";
import { Llama } from "../models/llama.ts";
import { readLlamaConfig } from "../models/llama_config.ts";
import { llamaTensors } from "../models/llama_names.ts";
import {
  checkBase,
  findModel,
  type ModelPlace,
  readAdapterFactors,
  readAdapterFolder,
} from "../models/open.ts";
import {
  type AdapterModuleFactors,
  attachAdapter,
  type AttachedAdapter,
  factorName,
} from "../nn/adapter.ts";
import { trainedTensors } from "../models/weights.ts";
import { TORCH_DTYPES } from "../tensor/dtype.ts";
import { type NamedMat, readTensors, writeTensors } from "./checkpoint.ts";
import type { TrainOptions } from "./options.ts";

/** Name that the trained adapter is enabled by. */
const ADAPTER = "default";

/** What is trained. */
export interface Subject extends AsyncDisposable {
  readonly place: ModelPlace;
  readonly checkpoint: Checkpoint;
  readonly model: Llama;
  readonly parameters: ParameterSet;
  /** Hash of the values that training starts from, besides the model's. */
  readonly start: string;
  /** Writes the trained values and what goes with them into a folder, as others read it: an adapter, or a model's weights. */
  write(folder: string): Promise<void>;
  /** The same, to the bit where {@linkcode write} has to convert them. */
  save(folder: string): Promise<void>;
  /** Reads the values that {@linkcode save} wrote. */
  read(folder: string): Promise<void>;
  /** What {@linkcode start} would be if training started from what {@linkcode write} would make of what was saved. */
  startFrom(folder: string): Promise<string>;
}

/**
 * Opens what is to be trained.
 *
 * @throws {RangeError} If the folder has no adapter, or one of another base, or no layer is a target.
 */
export async function openSubject(
  device: Device,
  path: string,
  { options, onProgress }: {
    options: TrainOptions;
    onProgress?: (done: number, text: string) => void;
  },
): Promise<Subject> {
  await using stack = new AsyncDisposableStack();
  const place = await findModel(path);
  const { method } = options;
  if (method === "adapter" && !place.adapter) {
    throw new RangeError(
      `Cannot train the adapter of ${path}: it has none; wanted a folder that loqa init wrote, or --method lora or full`,
    );
  }
  const checkpoint = stack.use(await openCheckpoint(place.model));
  const trained = method === "full"
    ? stack.use(trainedTensors(
      device,
      llamaTensors(readLlamaConfig(checkpoint.config, checkpoint.name)),
    ))
    : undefined;
  const model = stack.use(
    await Llama.load(device, checkpoint, {
      trained,
      compute: options.compute,
      onProgress: (done) => onProgress?.(done, "loading the model"),
    }),
  );
  const parts = trained
    ? fullParts(trained, checkpoint)
    : await adapterParts(device, model, { place, options, stack });
  const owned = stack.move();
  return {
    place,
    checkpoint,
    model,
    ...parts,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Parts = Pick<
  Subject,
  "parameters" | "start" | "write" | "save" | "read" | "startFrom"
>;

function fullParts(parameters: ParameterSet, checkpoint: Checkpoint): Parts {
  const tensors = [...parameters.parameters.values()].map((
    { name, value },
  ): NamedMat => ({
    name,
    value,
    shape: checkpoint.tensors.get(name)!.shape,
  }));
  const write = async (folder: string): Promise<void> => {
    await makeFolder(folder);
    for (const { name, bytes } of await checkpoint.sideFiles()) {
      if (name !== "config.json") {
        await writeFileAtomic(joinPath(folder, name), bytes);
        continue;
      }
      const { quantization_config: _, ...config } = checkpoint.config;
      await writeFileAtomic(
        joinPath(folder, name),
        `${
          stringifyLike(
            { ...config, dtype: TORCH_DTYPES.f32, torch_dtype: undefined },
            new TextDecoder().decode(bytes),
          )
        }\n`,
      );
    }
    await writeTensors(
      joinPath(folder, "model.safetensors"),
      parameters,
      tensors,
    );
  };
  return {
    parameters,
    start: "",
    write,
    save: write,
    async read(folder) {
      await readTensors(
        joinPath(folder, "model.safetensors"),
        parameters.device,
        tensors,
      );
      parameters.refresh();
    },
    startFrom: () => Promise.resolve(""),
  };
}

async function adapterParts(
  device: Device,
  model: Llama,
  { place, options, stack }: {
    place: ModelPlace;
    options: TrainOptions;
    stack: AsyncDisposableStack;
  },
): Promise<Parts> {
  const { factors, config, qalora } = options.method === "lora"
    ? newFactors(model, place, options)
    : await storedFactors(place, options);
  const adapter = stack.use(
    attachAdapter(device, model.linears, {
      name: ADAPTER,
      factors,
      train: true,
      dropout: options.dropout,
    }),
  );
  for (const layer of model.linears.values()) layer.enable([ADAPTER]);
  const parameters = adapter.parameters!;
  const exact = qalora && { ...qalora, pooling: "sum" as const };
  const write = async (
    folder: string,
    groups: QaloraGroups | undefined,
  ): Promise<void> => {
    await makeFolder(folder);
    await writeTensors(
      joinPath(folder, ADAPTER_FILE),
      parameters,
      adapterTensors(adapter, groups),
    );
    await writeFileAtomic(
      joinPath(folder, ADAPTER_CONFIG),
      `${JSON.stringify(config(groups), null, 2)}\n`,
    );
  };
  return {
    parameters,
    start: await digestFactors(factors),
    write: (folder) => write(folder, qalora),
    save: (folder) => write(folder, exact),
    read: (folder) =>
      readTensors(
        joinPath(folder, ADAPTER_FILE),
        device,
        adapterTensors(adapter),
      ),
    startFrom: async (folder) =>
      await digestFactors(
        (await readAdapterFolder(folder)).map((f) => rewritten(f, qalora)),
      ),
  };
}

/** The tensors of the file, A for the pooling that it is to have; by sums as they are. */
function adapterTensors(
  { modules, parameters }: AttachedAdapter,
  groups?: QaloraGroups,
): NamedMat[] {
  return modules.flatMap(({ module, inputs }) =>
    (["A", "B"] as const).map((factor) => ({
      name: adapterTensorName(module, factor),
      value: parameters!.get(factorName(module, factor)).value,
      ...(groups && factor === "A" &&
        { factor: 1 / poolingFactor(groups, inputs) }),
    }))
  );
}

/** Factors as they are after writing them for another pooling and reading them back, two roundings later. */
function rewritten(
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

/** A hash of factors, whatever their order in a file. */
async function digestFactors(
  factors: readonly AdapterModuleFactors[],
): Promise<string> {
  const hashes = await Promise.all(
    factors.map(({ module, scaling, a, b }) =>
      digest(`${module} ${scaling}`, a, b)
    ),
  );
  return await digest(hashes.sort().join());
}

interface Start {
  readonly factors: AdapterModuleFactors[];
  /** Contents of adapter_config.json, for these groups of inputs where there are any. */
  config(groups: QaloraGroups | undefined): Readonly<Record<string, unknown>>;
  /** The groups of the adapter's own file. */
  readonly qalora?: QaloraGroups;
}

async function storedFactors(
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

/** LoRA's own start on the layers that are asked for: all linear layers of the blocks without a choice. */
function newFactors(
  model: Llama,
  place: ModelPlace,
  options: TrainOptions,
): Start {
  const { targets, seed, rank, alpha, rslora } = options;
  const { rankPattern, alphaPattern } = options;
  const chosen = [...model.linears.values()].filter(({ module }) =>
    targets?.some((name) => matchPattern(module, { [name]: true }, false)) ??
      true
  );
  if (chosen.length === 0) {
    throw new RangeError(
      `Cannot train ${place.model}: no layer is called ${targets?.join(", ")}`,
    );
  }
  const settings = { rank, alpha, rslora, rankPattern, alphaPattern };
  const config = adapterConfig({
    ...settings,
    baseModel: place.model,
    taskType: "CAUSAL_LM",
    dropout: options.dropout,
    targetModules: targets ??
      [...new Set(chosen.map(({ module }) => module.split(".").at(-1)!))],
  });
  return {
    factors: chosen.map(({ module, weight }) => {
      const own = moduleScaling(settings, module);
      const { a, b } = loraStart({
        rows: weight.rows,
        cols: weight.cols,
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
