/**
 * What a training trains, and how it is written: an adapter, or a whole model.
 *
 * @module
 */

import { ParameterSet } from "../autograd/parameter.ts";
import type { Device } from "../device/device.ts";
import { joinPath, makeFolder, writeFileAtomic } from "../io/deno.ts";
import type { Checkpoint } from "../io/checkpoint.ts";
import { digest } from "../io/fingerprint.ts";
import { stringifyLike } from "../io/json.ts";
import { openAdapter } from "../io/open.ts";
import { ADAPTER_CONFIG, ADAPTER_FILE, adapterTensorName } from "../io/peft.ts";
import { adapterConfig, moduleScaling } from "../io/peft_config.ts";
import { wholeTensorName } from "../io/peft_whole.ts";
import {
  poolingFactor,
  qaloraFields,
  type QaloraGroups,
} from "../io/peft_qalora.ts";
import { matchPattern } from "../loftq/plan.ts";
import { loraStart } from "../loftq/start.ts";
import { completed, fittedFactors, newHead } from "../models/completed.ts";
import { familyOf } from "../models/families.ts";
import { headConfig } from "../models/head_config.ts";
import type { Model, WantedTensor } from "../models/model.ts";
import {
  checkBase,
  findModel,
  type ModelPlace,
  readAdapterFactors,
  readAdapterFolder,
} from "../models/open.ts";
import { openTuned } from "../models/tuned.ts";
import { trainedTensors } from "../models/weights.ts";
import {
  type AdapterModuleFactors,
  attachAdapter,
  type AttachedAdapter,
  factorName,
} from "../nn/adapter.ts";
import { TORCH_DTYPES } from "../tensor/dtype.ts";
import { type WantedHead, wantedHead } from "./head.ts";
import { type NamedMat, readTensors, writeTensors } from "./checkpoint.ts";
import type { TrainOptions } from "./options.ts";

/** Name that the trained adapter is enabled by. */
const ADAPTER = "default";

/** What is trained. */
export interface Subject extends AsyncDisposable {
  readonly place: ModelPlace;
  readonly checkpoint: Checkpoint;
  readonly model: Model;
  /** The head of an encoder, and the reader of the labels that it learns. */
  readonly head?: WantedHead;
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
 * @throws {RangeError} If the folder has no adapter, or one of another base, or no layer is a target, or the data have
 * another number of classes than the model.
 * @throws {TypeError} If the model is not of the kind that the task asks.
 */
export async function openSubject(
  device: Device,
  path: string,
  { options, data = [], onProgress }: {
    options: TrainOptions;
    /** Files to learn from: they tell the classes of a new head. */
    data?: readonly string[];
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
  const tuned = stack.use(
    await openTuned(
      place,
      method === "adapter" ? { [ADAPTER]: place.adapter! } : {},
    ),
  );
  checkKind(tuned.checkpoint, options);
  const head = await wantedHead(tuned.checkpoint, place, { options, data });
  const { checkpoint, made } = withHead(tuned.checkpoint, head, options);
  const tensors = familyOf(checkpoint).tensors(checkpoint);
  const saved = method === "full" ? tensors : savedTensors(tensors, {
    options,
    names: new Set([...made, ...tuned.whole.keys()]),
    classifier: head &&
      familyOf(checkpoint).encoder?.(checkpoint).classifier.out,
  });
  const whole = saved.length > 0
    ? stack.use(trainedTensors(device, saved))
    : undefined;
  const model = stack.use(
    await familyOf(checkpoint).load(device, checkpoint, {
      trained: whole,
      compute: options.compute,
      onProgress: (done) => onProgress?.(done, "loading the model"),
    }),
  );
  const parts = method === "full"
    ? fullParts(whole!, checkpoint)
    : await adapterParts(device, model, {
      ...{ place, options, stack, whole, saved, head },
      checkpoint,
    });
  const owned = stack.move();
  return {
    ...{ place, checkpoint, model, head },
    ...parts,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What kind of model each task trains. */
const KINDS: Readonly<Record<TrainOptions["task"], Model["kind"]>> = {
  lm: "causal",
  sft: "causal",
  classify: "encoder",
  qa: "encoder",
  seq2seq: "seq2seq",
};

function checkKind(checkpoint: Checkpoint, { task }: TrainOptions): void {
  const { kind } = familyOf(checkpoint);
  if (kind === KINDS[task]) return;
  const fits = Object.entries(KINDS).filter(([, of]) => of === kind);
  throw new TypeError(
    `Cannot train ${checkpoint.name} by the task "${task}": a model of type ${
      String(checkpoint.config.model_type)
    } is trained by ${fits.map(([name]) => name).join(" or ")}`,
  );
}

/** The checkpoint with a new head where it has not the one that is wanted; names of the new tensors. */
function withHead(
  checkpoint: Checkpoint,
  wanted: WantedHead | undefined,
  { seed }: TrainOptions,
): { checkpoint: Checkpoint; made: readonly string[] } {
  if (!wanted) return { checkpoint, made: [] };
  const { info } = wanted;
  const head = info.kind === "span"
    ? { kind: info.kind }
    : { kind: info.kind, labels: info.labels.length };
  // Under the names that its tensors have beside a head.
  const named = completed(checkpoint, {});
  const tensors = newHead(named, { head, seed });
  const config = headConfig(checkpoint.config.model_type, info);
  return {
    checkpoint: completed(checkpoint, { tensors, config }),
    made: [...tensors.keys()],
  };
}

/** The tensors that are trained in full besides an adapter. */
function savedTensors(
  tensors: readonly WantedTensor[],
  { options: { biases, modulesToSave = [] }, names, classifier }: {
    options: TrainOptions;
    /** New ones, and those that the adapter has already. */
    names: ReadonlySet<string>;
    /** The module that makes an encoder's scores. */
    classifier?: string;
  },
): WantedTensor[] {
  const heads = [classifier, "qa_outputs", "classifier", ...modulesToSave];
  const isSaved = (module: string) =>
    heads.some((end) =>
      end !== undefined &&
      (`.${module}.`.includes(`.${end}.`))
    );
  return tensors.filter(({ name }) =>
    names.has(name) ||
    isSaved(name.slice(0, name.lastIndexOf("."))) ||
    biases !== "none" && name.endsWith(".bias")
  );
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
  model: Model,
  { place, checkpoint, options, stack, whole, saved, head }: {
    place: ModelPlace;
    checkpoint: Checkpoint;
    options: TrainOptions;
    stack: AsyncDisposableStack;
    /** Room of the tensors that are trained in full, and which they are. */
    whole?: ParameterSet;
    saved: readonly WantedTensor[];
    head?: WantedHead;
  },
): Promise<Parts> {
  const start = options.method === "lora"
    ? newFactors(model, place, options)
    : await storedFactors(place, options);
  const { qalora } = start;
  const factors = saved.length > 0
    ? fittedFactors(checkpoint, start.factors)
    : start.factors;
  const adapter = stack.use(
    attachAdapter(device, model.linears, {
      name: ADAPTER,
      factors,
      train: true,
      dropout: options.dropout,
    }),
  );
  for (const layer of model.linears.values()) layer.enable([ADAPTER]);
  const parameters = whole
    ? stack.use(new ParameterSet(device, [], [adapter.parameters!, whole]))
    : adapter.parameters!;
  const adapted = new Set(factors.map(({ module }) => `${module}.bias`));
  const inFull = saved.filter(({ name }) =>
    !(options.biases === "lora_only" && name.endsWith(".bias")) ||
    adapted.has(name) || isHead(name)
  );
  const tensorsOf = (groups?: QaloraGroups): NamedMat[] => [
    ...adapterTensors(adapter, groups),
    ...inFull.map(({ name, shape }): NamedMat => ({
      name: wholeTensorName(name, { adapted: adapted.has(name) }),
      value: whole!.get(name).value,
      shape,
    })),
  ];
  const exact = qalora && { ...qalora, pooling: "sum" as const };
  const write = async (
    folder: string,
    groups: QaloraGroups | undefined,
  ): Promise<void> => {
    await makeFolder(folder);
    await writeTensors(
      joinPath(folder, ADAPTER_FILE),
      parameters,
      tensorsOf(groups),
    );
    const config = {
      ...start.config(groups),
      ...(inFull.length > 0 && wholeConfig(inFull, options)),
      ...(head && { "task_type": HEAD_TASKS[head.info.kind] }),
    };
    await writeFileAtomic(
      joinPath(folder, ADAPTER_CONFIG),
      `${JSON.stringify(config, null, 2)}\n`,
    );
  };
  return {
    parameters,
    start: await digestFactors(factors),
    write: (folder) => write(folder, qalora),
    save: (folder) => write(folder, exact),
    async read(folder) {
      await readTensors(joinPath(folder, ADAPTER_FILE), device, tensorsOf());
      parameters.refresh();
    },
    startFrom: async (folder) =>
      await digestFactors(
        fittedFactors(
          checkpoint,
          (await readAdapterFolder(folder)).map((f) => rewritten(f, qalora)),
        ),
      ),
  };
}

const isHead = (name: string) =>
  /(^|\.)(classifier|qa_outputs|pooler)\./.test(name);

/** What PEFT's settings say of tensors that are trained in full. */
function wholeConfig(
  tensors: readonly WantedTensor[],
  { biases, modulesToSave = [] }: TrainOptions,
): Record<string, unknown> {
  const heads = tensors.filter(({ name }) => isHead(name))
    .map(({ name }) => /(classifier|qa_outputs|pooler)/.exec(name)![0]);
  const names = new Set([...heads, ...modulesToSave]);
  return {
    bias: biases,
    "modules_to_save": names.size > 0 ? [...names].sort() : null,
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

/** PEFT's types of task by an encoder's head. */
const HEAD_TASKS = { classify: "SEQ_CLS", span: "QUESTION_ANS" } as const;

/** PEFT's types of task, for models without a head of their own. */
const PEFT_TASKS = {
  causal: "CAUSAL_LM",
  encoder: "FEATURE_EXTRACTION",
  seq2seq: "SEQ_2_SEQ_LM",
} as const;

/** LoRA's own start on the layers that are asked for: all linear layers of the blocks without a choice. */
function newFactors(
  model: Model,
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
    taskType: PEFT_TASKS[model.kind],
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
