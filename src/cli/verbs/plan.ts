/**
 * `loqa plan`.
 *
 * @module
 */

import {
  type CostOptions,
  KNOWN_MODELS,
  type MethodCost,
  plan,
  PLAN_DEFAULTS,
  type PlanReport,
} from "../../plan/run.ts";
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
      default: PLAN_DEFAULTS.rank,
      help: "rank of the adapters",
    }),
    block: integer({
      also: ["group"],
      least: 1,
      default: PLAN_DEFAULTS.group,
      help:
        "quantisation group size of QA-LoRA: weights that share a scale, inputs that its adapter pools",
    }),
    bits: integer({
      value: "B",
      least: 2,
      most: 4,
      default: PLAN_DEFAULTS.bits,
      help: "bits of a quantised weight",
    }),
    "seq-len": integer({
      also: ["seq"],
      least: 1,
      default: PLAN_DEFAULTS.sequence,
      help: "sequence length in training, in tokens",
    }),
    batch: integer({
      least: 1,
      default: PLAN_DEFAULTS.batch,
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
    const { checkpointing } = values;
    const report = await plan(name, {
      ...{ rank, group, sequence, batch, checkpointing },
      bits: values.bits as CostOptions["bits"],
      onNote: (line) => console.error(`note: ${line}`),
    });
    const seconds = ({ stepFlops }: MethodCost) =>
      gflops === undefined ? undefined : stepFlops / (gflops * 1e9);
    const methods = Object.fromEntries(
      Object.entries(report.methods).map((
        [key, cost],
      ) => [key, { ...cost, stepSeconds: seconds(cost) }]),
    );
    print(
      values.json
        ? JSON.stringify({ ...report, methods }, null, 2)
        : planText(report, seconds),
    );
    return 0;
  },
});

function planText(
  { model, modelType, parameters, linearParameters, methods }: PlanReport,
  seconds: (cost: MethodCost) => number | undefined,
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
  const text = `${model} (${modelType}): ${count(parameters)} parameters, ${
    count(linearParameters)
  } of them in linear layers

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
