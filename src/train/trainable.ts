/**
 * Trainable parameters of a training, and writing them: an adapter, or a whole model.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import { ParameterSet } from "../autograd/parameter.ts";
import type { Device } from "../device/device.ts";
import { checkSideFiles, travellingFiles } from "../io/safetensors/copy.ts";
import { joinPath, makeFolder, writeFileAtomic } from "../io/files/deno.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { stringifyLike } from "../io/files/json.ts";
import type { HeldTensor } from "../io/checkpoint/overlay.ts";
import {
  type Adapter,
  ADAPTER_CONFIG,
  ADAPTER_FILE,
  adapterTensorName,
} from "../io/peft/adapter.ts";
import { saysTied } from "../io/checkpoint/tied.ts";
import { wholeTensorName } from "../io/peft/whole.ts";
import { poolingFactor, type QaloraGroups } from "../io/peft/qalora.ts";
import { completed, fittedFactors, newHead } from "../models/load/with_head.ts";
import { familyOf } from "../models/families.ts";
import { headConfig } from "../models/encoder/head_config.ts";
import type { Model } from "../models/model.ts";
import type { WantedTensor } from "../families/tensors.ts";
import type { ModelPlace } from "../models/load/locate.ts";
import { untiedFor } from "../models/parts/tables.ts";
import { openTuned } from "../models/load/with_adapters.ts";
import { trainedTensors } from "../models/parts/weights.ts";
import {
  attachAdapter,
  type AttachedAdapter,
  factorName,
} from "../nn/adapter.ts";
import { TORCH_DTYPES } from "../tensor/dtype.ts";
import { release } from "../tensor/release.ts";
import { type NamedMat, readTensors, writeTensors } from "./checkpoint.ts";
import {
  digestStart,
  newStart,
  type Start,
  storedFactors,
} from "./initial_factors.ts";
import { type WantedHead, wantedHead } from "./head.ts";
import type { TrainOptions } from "./options.ts";

/** Name that the trained adapter is enabled by. */
const ADAPTER = "default";

/** Trainable parameters, found and not loaded yet: mistakes of the user come to light here. */
export interface FoundSubject extends AsyncDisposable {
  readonly place: ModelPlace;
  /** The model's weights as they are in their file. */
  readonly file: Checkpoint;
  /** The same with the tensors that an adapter holds in full and a new head. */
  readonly checkpoint: Checkpoint;
  /** The head of an encoder, and the reader of the labels that it learns. */
  readonly head?: WantedHead;
  /** Loads it to a device. This must outlive the result. */
  load(
    device: Device,
    onProgress?: (done: number, text: string) => void,
  ): Promise<Subject>;
}

/** Trainable parameters and their model. */
export interface Subject extends AsyncDisposable {
  readonly model: Model;
  readonly parameters: ParameterSet;
  /** Hash of the values that training starts from, besides the model's. */
  readonly start: string;
  /** Writes the trained values with their config into a folder: a PEFT adapter, or a model's weights. */
  write(folder: string): Promise<void>;
  /** The same, to the bit where {@linkcode write} has to convert them. */
  save(folder: string): Promise<void>;
  /** Reads the values that {@linkcode save} wrote. */
  read(folder: string): Promise<void>;
}

/**
 * Finds the trainable parameters.
 *
 * @throws {RangeError} If the folder has no adapter, or the data have another number of classes than the model.
 * @throws {TypeError} If the model is not of the kind that the task asks.
 */
export async function findSubject(
  place: ModelPlace,
  { options, file, path = place.model, data = [] }: {
    options: TrainOptions;
    /** Weights that are open: they are taken over if they are the place's. */
    file?: Checkpoint;
    /** Name for errors. */
    path?: string;
    /** Data files to train on, which give the classes of a new head. */
    data?: readonly string[];
  },
): Promise<FoundSubject> {
  await using stack = new AsyncDisposableStack();
  const { method } = options;
  if (method === "adapter" && !place.adapter) {
    throw new ValueError(
      `Cannot train the adapter of ${path}: it has none; wanted a folder that loqa init wrote, or --method lora or full`,
    );
  }
  const tuned = stack.use(
    await openTuned(
      place,
      method === "adapter" ? { [ADAPTER]: place.adapter! } : {},
      { factors: false, file },
    ),
  );
  checkKind(tuned.checkpoint, options);
  const { modulesToSave = [] } = options;
  const base = method === "full"
    ? tuned.checkpoint
    : untiedFor(tuned.checkpoint, modulesToSave);
  const head = await wantedHead(base, place, { options, data });
  const { checkpoint, made } = withHead(base, head, options);
  const found = { place, file: tuned.file, checkpoint, head };
  const owned = stack.move();
  return {
    ...found,
    load: (device, onProgress) =>
      loadSubject(device, found, {
        ...{ options, onProgress, adapter: tuned.open.get(ADAPTER) },
        names: new Set([...made, ...tuned.whole.keys()]),
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** @throws {RangeError} If no layer is a target. */
async function loadSubject(
  device: Device,
  { place, checkpoint, head }: Pick<
    FoundSubject,
    "place" | "checkpoint" | "head"
  >,
  { options, adapter, names, onProgress }: {
    options: TrainOptions;
    /** The stored adapter that is trained, if one is; closed here, since the result may take its place. */
    adapter: Adapter | undefined;
    /** Tensors that are new, and those that the adapter has in full. */
    names: ReadonlySet<string>;
    onProgress?: (done: number, text: string) => void;
  },
): Promise<Subject> {
  await using stack = new AsyncDisposableStack();
  const family = familyOf(checkpoint);
  const tensors = family.tensors(checkpoint);
  const start = options.method === "full"
    ? undefined
    : await startOf(checkpoint, { place, options, adapter, tensors });
  await adapter?.[Symbol.asyncDispose]();
  const saved = !start ? tensors : savedTensors(tensors, {
    ...{ options, start, names },
    classifier: head && family.encoder?.(checkpoint).classifier.out,
    name: checkpoint.name,
  });
  const whole = saved.length > 0
    ? stack.use(trainedTensors(device, saved))
    : undefined;
  const model = stack.use(
    await family.load(device, checkpoint, {
      trained: whole,
      compute: options.compute,
      onProgress: (done) => onProgress?.(done, "loading the model"),
    }),
  );
  const parts = start
    ? await adapterParts(device, model, {
      ...{ checkpoint, options, stack, start, whole, saved, head },
    })
    : fullParts(whole!, checkpoint);
  const owned = stack.move();
  return {
    ...{ model, ...parts },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Kind of model that each task trains. */
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
  throw new KindError(
    `Cannot train ${checkpoint.name} by the task "${task}": a model of type ${
      String(checkpoint.config.model_type)
    } is trained by ${fits.map(([name]) => name).join(" or ")}`,
  );
}

/** The checkpoint, with a new head where it lacks the wanted one; names of the new tensors. */
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

/** Initial values of an adapter, under the names of the checkpoint's modules. */
async function startOf(
  checkpoint: Checkpoint,
  { place, options, adapter, tensors }: {
    place: ModelPlace;
    options: TrainOptions;
    adapter: Adapter | undefined;
    tensors: readonly WantedTensor[];
  },
): Promise<Start> {
  const { kind } = familyOf(checkpoint);
  const start = adapter
    ? await storedFactors(adapter, options)
    : newStart(place, { options, kind, tensors });
  return { ...start, factors: fittedFactors(checkpoint, start.factors) };
}

/**
 * The tensors that are trained in full besides an adapter.
 *
 * @throws {RangeError} If a module to save is not there, or has factors, or there are no biases where they are wanted.
 */
function savedTensors(
  tensors: readonly WantedTensor[],
  { options: { biases, modulesToSave = [] }, start, names, classifier, name }: {
    options: TrainOptions;
    start: Start;
    /** New ones, and those that the adapter has already. */
    names: ReadonlySet<string>;
    /** Name of an encoder's classifier module. */
    classifier?: string;
    /** Name of the model, for errors. */
    name: string;
  },
): WantedTensor[] {
  const adapted = new Set(start.factors.map(({ module }) => module));
  const heads = classifier === undefined
    ? modulesToSave
    : [classifier, "classifier", "qa_outputs", ...modulesToSave];
  const within = (module: string, end: string) =>
    `.${module}.`.includes(`.${end}.`);
  const found = tensors.filter(({ name: tensor }) => {
    const module = tensor.slice(0, tensor.lastIndexOf("."));
    return names.has(tensor) || heads.some((end) => within(module, end)) ||
      tensor.endsWith(".bias") &&
        (biases === "all" || biases === "lora_only" && adapted.has(module));
  });
  for (const end of modulesToSave) {
    if (!found.some((tensor) => within(tensor.name, end))) {
      throw new ValueError(`Cannot train ${name}: no module is called ${end}`);
    }
  }
  if (biases !== "none" && !found.some((t) => t.name.endsWith(".bias"))) {
    throw new ValueError(
      `Cannot train the biases of ${name} (${biases}): ${
        biases === "all" ? "it has none" : "no layer with factors has one"
      }`,
    );
  }
  const both = found.find(({ name: tensor }) =>
    tensor.endsWith(".weight") && adapted.has(tensor.slice(0, -7))
  );
  if (both) {
    throw new ValueError(
      `Cannot train ${both.name} of ${name} in full: the adapter has factors for it`,
    );
  }
  return found;
}

type Parts = Pick<
  Subject,
  "parameters" | "start" | "write" | "save" | "read"
>;

function fullParts(parameters: ParameterSet, checkpoint: Checkpoint): Parts {
  checkSideFiles(checkpoint);
  const tensors = [...parameters.parameters.values()].map((
    { name, value },
  ): NamedMat => ({
    name,
    value,
    shape: checkpoint.tensors.get(name)!.shape,
  }));
  const write = async (folder: string): Promise<void> => {
    await makeFolder(folder);
    for (const { name, bytes } of await travellingFiles(checkpoint)) {
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
    const constants = new Map<string, HeldTensor>();
    for (const name of familyOf(checkpoint).constants ?? []) {
      const info = checkpoint.tensors.get(name);
      if (!info) continue;
      const values = await checkpoint.readF32(name);
      constants.set(name, { shape: info.shape, values });
    }
    await writeTensors(
      joinPath(folder, "model.safetensors"),
      parameters,
      tensors,
      constants,
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
  };
}

async function adapterParts(
  device: Device,
  model: Model,
  { checkpoint, options, stack, start, whole, saved, head }: {
    checkpoint: Checkpoint;
    options: TrainOptions;
    stack: AsyncDisposableStack;
    start: Start;
    /** Parameters of the tensors that are trained in full. */
    whole?: ParameterSet;
    saved: readonly WantedTensor[];
    head?: WantedHead;
  },
): Promise<Parts> {
  const { factors, qalora } = start;
  const adapter = stack.use(
    attachAdapter(device, model.linears, {
      name: ADAPTER,
      factors,
      train: true,
      dropout: options.dropout,
      embeddings: model.embeddings,
    }),
  );
  for (const layer of model.linears.values()) layer.enable([ADAPTER]);
  for (const table of model.embeddings?.values() ?? []) table.enable([ADAPTER]);
  const parameters = whole
    ? stack.use(new ParameterSet(device, [], [adapter.parameters!, whole]))
    : adapter.parameters!;
  const adapted = new Set(factors.map(({ module }) => `${module}.bias`));
  const tensorsOf = (groups?: QaloraGroups): NamedMat[] => [
    ...adapterTensors(adapter, groups),
    ...saved.map(({ name, shape }): NamedMat => ({
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
    const own = start.config(groups);
    const config = {
      ...own,
      ...(saved.length > 0 && wholeConfig(saved, options, own)),
      ...(!saysTied(checkpoint.config) && { "ensure_weight_tying": false }),
      ...(head && { "task_type": HEAD_TASKS[head.info.kind] }),
    };
    await writeFileAtomic(
      joinPath(folder, ADAPTER_CONFIG),
      `${JSON.stringify(config, null, 2)}\n`,
    );
  };
  const digest = await digestStart(
    factors,
    await valuesOf(checkpoint, saved.map(({ name }) => name)),
  );
  // Their values are on the device now.
  for (const { a, b } of factors) release(a, b);
  return {
    parameters,
    start: digest,
    write: (folder) => write(folder, qalora),
    save: (folder) => write(folder, exact),
    async read(folder) {
      await readTensors(joinPath(folder, ADAPTER_FILE), device, tensorsOf());
      parameters.refresh();
    },
  };
}

/** Values of tensors of a checkpoint by name. */
async function valuesOf(
  checkpoint: Checkpoint,
  names: readonly string[],
): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const name of names) values.set(name, await checkpoint.readF32(name));
  return values;
}

const isHead = (name: string) =>
  /(^|\.)(classifier|qa_outputs|pooler)\./.test(name);

/** PEFT's types of task by an encoder's head. */
const HEAD_TASKS = { classify: "SEQ_CLS", span: "QUESTION_ANS" } as const;

/** PEFT settings for tensors that are trained in full, beside those from before. */
function wholeConfig(
  tensors: readonly WantedTensor[],
  { biases, modulesToSave = [] }: TrainOptions,
  { bias, modules_to_save: before }: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  // Of a module of which only the bias is trained PEFT would miss the weight.
  const heads = tensors.filter(({ name }) =>
    isHead(name) && name.endsWith(".weight")
  ).map(({ name }) => /(classifier|qa_outputs|pooler)/.exec(name)![0]);
  const kept = Array.isArray(before) ? before : [];
  const names = new Set([...heads, ...modulesToSave, ...kept]);
  return {
    bias: biases === "none" ? bias : biases,
    "modules_to_save": names.size > 0 ? [...names].sort() : null,
  };
}

/** The tensors of the file, A for the pooling that it is to have; by sums as they are. */
function adapterTensors(
  { modules, parameters }: AttachedAdapter,
  groups?: QaloraGroups,
): NamedMat[] {
  return modules.flatMap(({ module, inputs, embedding }) =>
    (["A", "B"] as const).map((factor) => ({
      name: adapterTensorName(module, factor, embedding),
      value: parameters!.get(factorName(module, factor)).value,
      // A of a table is turned as it is trained, B in the file.
      ...(embedding && factor === "B" && { turned: true }),
      ...(groups && factor === "A" &&
        { factor: 1 / poolingFactor(groups, inputs) }),
    }))
  );
}
