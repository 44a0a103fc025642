/**
 * `loqa plan`.
 *
 * @module
 */

import { isMeant, ValueError } from "../../errors.ts";
import {
  exists,
  joinPath,
  kindOf,
  listFolder,
  readTextFile,
} from "../../io/files/deno.ts";
import { parseJsonObject } from "../../io/files/json.ts";
import { openCheckpoint } from "../../io/open.ts";
import { findModel } from "../../models/load/locate.ts";
import { checkWhole } from "../../models/load/whole.ts";
import { modelConfig } from "../../io/packed/config.ts";
import { type Method, type MethodCost, methodCosts } from "../../plan/cost.ts";
import { KNOWN_MODELS } from "../../plan/known.ts";
import type { ConfigJson } from "../../families/config_reader.ts";
import { type ModelShape, modelShape } from "../../plan/shape.ts";
import { PLAIN } from "../common.ts";
import { flag, integer, number } from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { bytes, columnsWithin } from "../text/tables.ts";
import { print } from "../output.ts";
import { fitted, terminalWidth, wrapped } from "../text/wrap.ts";

/** `loqa plan`. */
export const verb: Verb = defineVerb({
  name: "plan",
  takes: "CONFIG|NAME",
  about: `
CONFIG is a config.json, a model, or a folder that loqa wrote; NAME one of ${
    Object.keys(KNOWN_MODELS).join(", ")
  }.
Trainable parameters, bytes on disk, peak memory of a step (weights, adapter, gradients, AdamW's moments, activations) and
FLOPs per step, of each method. All of it is computed, none measured.
`,
  examples: [
    "loqa plan llama-7b --rank 64 --block 32",
    "loqa plan model/config.json --bits 3 --seq-len 1024 --batch 4",
  ],
  options: {
    rank: integer({
      value: "R",
      least: 1,
      default: 64,
      help: "rank of the adapters",
    }),
    block: integer({
      also: ["group"],
      least: 1,
      default: 32,
      help:
        "quantisation group size of QA-LoRA: weights that share a scale, inputs that its adapter pools",
    }),
    bits: integer({
      value: "B",
      least: 2,
      most: 4,
      default: 4,
      help: "bits of a quantised weight",
    }),
    "seq-len": integer({
      also: ["seq"],
      least: 1,
      default: 512,
      help: "sequence length in training, in tokens",
    }),
    batch: integer({
      least: 1,
      default: 1,
      help: "batch size: sequences of a step",
    }),
    checkpointing: flag({
      help:
        "activation (gradient) checkpointing, as in train: recompute layers in the backward pass",
    }),
    gflops: number({
      above: 0,
      help: "throughput in GFLOP/s, to give the time of a step at",
    }),
    ...PLAIN,
  },
  async run({ positionals: [name], values }) {
    const { rank, block: group, seqLen: sequence, batch, gflops } = values;
    const options = {
      ...{ rank, group, bits: values.bits as 2 | 3 | 4, sequence, batch },
      checkpointing: values.checkpointing,
    };
    const shape = modelShape(await findConfig(name), name);
    const methods = methodCosts(shape, options);
    const seconds = (cost: MethodCost) =>
      gflops === undefined ? undefined : cost.stepFlops / (gflops * 1e9);
    print(
      values.json
        ? JSON.stringify(
          {
            verb: "plan",
            model: name,
            modelType: shape.modelType,
            parameters: shape.linearParameters + shape.otherParameters,
            linearParameters: shape.linearParameters,
            ...options,
            methods: Object.fromEntries(
              Object.entries(methods).map((
                [key, cost],
              ) => [key, { ...cost, stepSeconds: seconds(cost) }]),
            ),
          },
          null,
          2,
        )
        : planText(name, { shape, methods, seconds }),
    );
    return 0;
  },
});

async function findConfig(name: string): Promise<ConfigJson> {
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
      return await modelConfigOf(name);
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

/** Whether there are files of weights in a folder. */
async function hasWeights(folder: string): Promise<boolean> {
  return (await listFolder(folder)).some(({ name }) =>
    /\.(safetensors|gguf|bin|pt|pth)(\.index\.json)?$/.test(name)
  );
}

/** The config of a model, which is to be there with all its parts and tensors; its weights may be of any kind. */
async function modelConfigOf(name: string): Promise<ConfigJson> {
  const place = await findModel(name);
  for (const line of place.taken ?? []) console.error(`note: ${line}`);
  await using model = await openCheckpoint(place.model, { describe: "whole" });
  for (const note of model.notes ?? []) console.error(`note: ${note}`);
  // What is only described cannot be compared.
  if (!model.notes?.length) checkWhole(model);
  return model.config;
}

function planText(
  name: string,
  { shape, methods, seconds }: {
    shape: ModelShape;
    methods: Record<Method, MethodCost>;
    seconds: (cost: MethodCost) => number | undefined;
  },
): string {
  const count = (n: number) => n.toLocaleString("en");
  const timed = seconds(methods.full) !== undefined;
  const rows = Object.entries(methods).map(([method, cost]) => [
    method,
    count(cost.trainableParameters),
    bytes(cost.diskBytes),
    cost.bitsPerWeight.toFixed(2),
    bytes(cost.memoryBytes),
    ...Object.values(cost.memory).map(bytes),
    bytes(cost.deployedBytes),
    cost.stepFlops.toExponential(2),
    ...timed ? [`${seconds(cost)!.toPrecision(3)} s`] : [],
  ]);
  const heads = [
    "method",
    "trainable",
    "on disk",
    "bits",
    "memory",
    "weights",
    "adapter",
    "gradients",
    "moments",
    "activations",
    "deployed",
    "FLOPs/step",
    ...timed ? ["time/step"] : [],
  ];
  const width = terminalWidth(Deno.stdout);
  const text = `${name} (${shape.modelType}): ${
    count(shape.linearParameters + shape.otherParameters)
  } parameters, ${count(shape.linearParameters)} of them in linear layers

${columnsWithin([heads, ...rows], heads.keys().drop(1).toArray(), width)}

${
    wrapped(
      `Computed, not measured. trainable: parameters; bits: of a weight of the linear layers, scales and biases included;
memory: peak of a training step, everything that is not quantised in f32; deployed: merged, 16-bit or (qalora) still quantised.`,
      width,
    )
  }`;
  return fitted(text, width);
}
