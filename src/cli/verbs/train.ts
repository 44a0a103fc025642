/**
 * `loqa train`.
 *
 * @module
 */

import type { TrainReport, TrainRequest } from "../../train/run.ts";
import { train, TRAIN_DEFAULTS } from "../../train/run.ts";
import { TRAINED_BIASES } from "../../io/peft/whole.ts";
import { LABELLED_SETS, type LabelledSetName } from "../../data/tasks/glue.ts";
import { TRAIN_METHODS, TRAIN_TASKS } from "../../train/options.ts";
import { ORDERS } from "../../train/order.ts";
import { TEXT_UNITS } from "../../data/records/records.ts";
import { OVERFLOWS } from "../../data/list.ts";
import { COMPUTES } from "../../autograd/linear_weight.ts";
import { SCHEDULES } from "../../train/step/schedule.ts";
import { LEARNS } from "../../data/tasks/sft.ts";
import { TEMPLATES } from "../../data/tasks/templates.ts";
import type { Args } from "../args.ts";
import { COMMON } from "../common.ts";
import {
  choice,
  flag,
  integer,
  list,
  number,
  numbers,
  path,
  text,
  UsageError,
  type Values,
} from "../options.ts";
import { defineVerb, type Verb } from "../verb.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { PLACE, tellNotes } from "../place.ts";
import { interruptible } from "../interrupt.ts";
import { Progress } from "../text/progress.ts";
import { print, printFitted } from "../output.ts";
import { counted } from "../text/tables.ts";

const SHARE = { least: 0, most: 0.999 };
const OF_ADAPTER = { when: { method: ["adapter", "lora"] } };
const OF_NEW = { when: { method: ["lora"] } };

const OPTIONS = {
  data: list({
    files: true,
    value: "FILE,…",
    needed: true,
    help: "training data: jsonl, json, csv, tsv, txt or parquet",
  }),
  out: path({
    short: "o",
    value: "DIR",
    otherwise: "DIR itself",
    help: "output folder; needed unless DIR was written by loqa init",
  }),
  method: choice(TRAIN_METHODS, {
    otherwise: "adapter where DIR has one, else lora",
    notes: {
      adapter: "the one DIR has",
      lora: "a new one",
      full: "full fine-tuning, all weights",
    },
    help: "method",
  }),
  task: choice(TRAIN_TASKS, {
    default: TRAIN_DEFAULTS.task,
    notes: {
      lm: "causal language modelling, every token",
      sft: "supervised fine-tuning on answers to prompts",
      classify: "sequence classification or regression",
      qa: "extractive question answering (SQuAD's files)",
      seq2seq: "source/target pairs",
    },
    help: "task",
  }),
  "data-set": choice(Object.keys(LABELLED_SETS) as LabelledSetName[], {
    when: { task: ["classify"] },
    help: "data set whose columns and labels the files have",
  }),
  labels: list({
    when: { task: ["classify"] },
    value: "N|NAME,…",
    otherwise: "the model's, or those of the data",
    help:
      "number of classes of a new head, or their names; 1: a regression head",
  }),
  "train-biases": choice(TRAINED_BIASES, {
    ...OF_ADAPTER,
    default: TRAIN_DEFAULTS.biases,
    help: "biases trained beside the adapter",
  }),
  "modules-to-save": list({
    ...OF_ADAPTER,
    value: "NAME,…",
    help: "modules trained in full beside the adapter and a head",
  }),
  template: choice(TEMPLATES, {
    when: { task: ["sft"] },
    otherwise: "by the fields",
    help: "prompt template of a record",
  }),
  field: text({
    when: { task: ["lm"] },
    value: "NAME",
    default: TRAIN_DEFAULTS.field,
    help: "field of a record that holds the text",
  }),
  unit: choice(TEXT_UNITS, {
    when: { task: ["lm"] },
    default: TRAIN_DEFAULTS.unit,
    help: "unit of a plain text file that is one text",
  }),
  learn: choice(LEARNS, {
    when: { task: ["sft"] },
    otherwise: "all",
    help: "answers of a conversation that are trained on",
  }),
  overflow: choice(OVERFLOWS, {
    when: { task: ["sft", "classify", "qa", "seq2seq"] },
    otherwise: "drop (sft), else truncate",
    help: "examples longer than --seq-len",
  }),
  from: path({
    value: "N|PATH",
    otherwise: "the adapter of init, else the newest run",
    help: "run, checkpoint or adapter to start from",
  }),
  model: PLACE.model,
  steps: integer({ least: 1, help: "number of optimizer steps" }),
  epochs: number({
    value: "N",
    above: 0,
    otherwise: "1",
    help: "number of passes through the data",
  }),
  batch: integer({
    least: 1,
    default: TRAIN_DEFAULTS.batch,
    help: "batch size: sequences of a batch",
  }),
  accumulation: integer({
    least: 1,
    default: TRAIN_DEFAULTS.accumulation,
    help: "gradient accumulation: batches of a step",
  }),
  "seq-len": integer({
    also: ["block"],
    least: 2,
    otherwise: `${TRAIN_DEFAULTS.block}, or the model's context`,
    help: "maximum sequence length, in tokens",
  }),
  order: choice(ORDERS, {
    default: TRAIN_DEFAULTS.order,
    notes: { random: "windows at random (lm)" },
    help: "order of the examples",
  }),
  lr: number({
    above: 0,
    default: TRAIN_DEFAULTS.learningRate,
    help: "peak learning rate",
  }),
  schedule: choice(SCHEDULES, {
    default: TRAIN_DEFAULTS.schedule,
    help: "learning rate schedule after the warm-up",
  }),
  warmup: integer({
    least: 0,
    otherwise: "3 % of the steps",
    help: "number of warm-up steps, in which the learning rate rises",
  }),
  "weight-decay": number({
    least: 0,
    default: TRAIN_DEFAULTS.weightDecay,
    help: "AdamW's weight decay",
  }),
  beta1: number({
    ...SHARE,
    default: TRAIN_DEFAULTS.beta1,
    help: "AdamW's beta1",
  }),
  beta2: number({
    ...SHARE,
    most: 0.999999,
    default: TRAIN_DEFAULTS.beta2,
    help: "AdamW's beta2",
  }),
  epsilon: number({
    above: 0,
    default: TRAIN_DEFAULTS.epsilon,
    help: "AdamW's epsilon",
  }),
  clip: number({
    least: 0,
    default: TRAIN_DEFAULTS.clip,
    help: "gradient clipping: maximum norm of all gradients; 0: none",
  }),
  dropout: number({
    ...OF_ADAPTER,
    ...SHARE,
    default: TRAIN_DEFAULTS.dropout,
    help: "LoRA dropout: probability that an input of the adapter is zeroed",
  }),
  checkpointing: flag({
    help:
      "activation (gradient) checkpointing: recompute blocks in the backward pass; less memory, slower",
  }),
  compute: choice(COMPUTES, {
    default: TRAIN_DEFAULTS.compute,
    notes: { int8: "integer, faster" },
    help: "arithmetic of products with int5 … int2",
  }),
  rank: integer({
    ...OF_NEW,
    value: "R",
    least: 1,
    default: TRAIN_DEFAULTS.rank,
    help: "LoRA rank of a new adapter",
  }),
  alpha: number({
    ...OF_NEW,
    value: "A",
    above: 0,
    otherwise: "the rank",
    help: "LoRA alpha of a new adapter",
  }),
  rslora: flag({
    ...OF_NEW,
    help: "rank-stabilised LoRA: scale alpha / sqrt(rank)",
  }),
  target: list({
    ...OF_NEW,
    value: "NAME,…",
    otherwise: "all linear layers but the head",
    help: "target modules of a new adapter, by name or pattern",
  }),
  "rank-pattern": numbers({
    ...OF_NEW,
    value: "NAME=R",
    help: "LoRA rank of modules by name or pattern, as in PEFT",
  }),
  "alpha-pattern": numbers({
    ...OF_NEW,
    value: "NAME=A",
    help: "LoRA alpha of modules by name or pattern, as in PEFT",
  }),
  eval: list({
    files: true,
    value: "FILE,…",
    help: "evaluation files: their loss is measured before and after",
  }),
  "eval-every": integer({
    when: { eval: true },
    least: 1,
    help: "steps between evaluations as well",
  }),
  "save-every": integer({
    least: 1,
    default: 100,
    help: "steps between checkpoints",
  }),
  keep: integer({ least: 1, default: 2, help: "number of checkpoints kept" }),
  "log-every": integer({
    least: 1,
    otherwise: "1, on a GPU 10",
    help: "steps between readings of the loss",
  }),
  seed: integer({ default: TRAIN_DEFAULTS.seed, help: "random seed" }),
  resume: flag({
    help:
      "resume the last run of the same command; more --steps or --epochs extend it",
  }),
  ...COMMON,
};

/** `loqa train`. */
export const verb: Verb = defineVerb({
  name: "train",
  takes: "DIR",
  about: `
DIR is a folder that loqa init wrote (its adapter is trained), a run or a checkpoint in one (DIR/runs/2), or a model (a new
adapter, or all weights).
Every call is a run: DIR/runs/1, runs/2, … hold metrics.jsonl, checkpoints and the result. The newest result stands in
DIR/adapter (or DIR/backbone) too, its figures in DIR/loqa.json. The adapter that init wrote is kept in DIR/runs/0; runs start from
it, unless --from names another.

--resume continues the last unfinished run, and ends with the same bytes as an uninterrupted one. More steps than it had extend
it: from there on the learning rate follows the schedule of all steps, so where it had decayed to 0 it rises again. Other
options, data, models, devices or versions are refused.

Dropout is LoRA dropout alone: dropout that a model's config asks for is not applied.
`,
  examples: [
    "loqa train smol-nf4 --data wiki.txt --steps 120 --seq-len 128 --lr 3e-4",
    "loqa train smol-nf4 --data train.jsonl --task sft --epochs 3 --eval valid.jsonl",
    "loqa train minilm-nf2 --task classify --data-set sst2 --data sst2/train.tsv --batch 32 --epochs 2",
    "loqa train smol-nf4 --data wiki.txt --steps 240 --seq-len 128 --lr 3e-4 --resume",
    "loqa train smol-nf4 --data other.txt --from 1",
    "loqa train SmolLM2-135M.gguf --method lora --rank 16 --data wiki.txt -o smol-lora",
  ],
  options: OPTIONS,
  run,
});

/** The options on the command line; those left to the model or to others have no entry. */
function readOptions(
  values: Values<typeof OPTIONS>,
): Partial<TrainRequest> {
  const { task, steps, epochs, batch, accumulation, order, rank } = values;
  if (steps !== undefined && epochs !== undefined) {
    throw new UsageError("train takes --steps or --epochs, got both");
  }
  if (order === "random" && task !== "lm") {
    throw new UsageError("--order random needs --task lm");
  }
  const { schedule, warmup, weightDecay, beta1, beta2, epsilon } = values;
  const { clip, dropout, checkpointing, compute, seed } = values;
  const { template, learn, overflow, field, unit } = values;
  const { rslora, rankPattern, alphaPattern } = values;
  const options = {
    ...{ task, steps, epochs, batch, accumulation, order },
    ...{ schedule, warmup, weightDecay, beta1, beta2, epsilon },
    ...{ clip, dropout, checkpointing, compute, seed },
    ...{ template, learn, overflow, field, unit },
    ...{ rank, rslora, rankPattern, alphaPattern },
    method: values.method,
    dataSet: values.dataSet,
    labels: values.labels && labelNames(values.labels),
    biases: values.trainBiases,
    modulesToSave: values.modulesToSave,
    block: values.seqLen,
    learningRate: values.lr,
    alpha: values.alpha ?? rank,
    targets: values.target,
  };
  const known = Object.entries(options).filter(([, v]) => v !== undefined);
  return Object.fromEntries(known);
}

/** Names of classes, or their number: 1 for a regression head. */
function labelNames(given: readonly string[]): readonly string[] {
  if (given.length !== 1 || !/^\d+$/.test(given[0])) return given;
  const count = Number(given[0]);
  if (count < 1 || count > 10_000) {
    throw new UsageError(`--labels must be from 1 to 10000, got ${count}`);
  }
  return Array.from({ length: count }, (_, i) => `LABEL_${i}`);
}

async function run(
  { positionals: [path], values, settle }: Args<typeof OPTIONS>,
): Promise<number> {
  const { data, from, model, resume } = values;
  const given = readOptions(values);
  const { findRun, homeOf } = await import("../../models/load/runs.ts");
  const { startPlace } = await import("../../train/output.ts");
  // A run that is named stands for its folder, from that run on.
  const home = homeOf(path);
  const start = from === undefined ? path : await findRun(path, from);
  const place = await startPlace(start, { path, model });
  using progress = new Progress({ quiet: values.quiet });
  tellNotes({ ...place, notes: [] }, progress);
  const options: TrainRequest = {
    ...TRAIN_DEFAULTS,
    method: place.adapter ? "adapter" : "lora",
    block: undefined,
    ...given,
  };
  settle("method", options.method);
  const out = values.out ??
    (options.method === "adapter" ? home ?? path : undefined);
  if (!out) throw new UsageError(`train --method ${options.method} needs -o`);
  return await interruptible(async (signal, started) => {
    using device = await openChosen(
      readDeviceOptions(values, progress, { network: true }),
    );
    started();
    const report = await train(options, {
      device,
      ...home !== undefined && from === undefined
        ? { path: home, from: path }
        : { path, from },
      ...{ model, out, data },
      evaluation: values.eval,
      evaluateEvery: values.evalEvery,
      saveEvery: values.saveEvery,
      keep: values.keep,
      logEvery: values.logEvery ?? (device.name === "webgpu" ? 10 : 1),
      resume,
      signal,
      onProgress: (done, text) => progress.update(done, text),
      onNote: (line) => progress.note(line),
      onWarning: (line) => progress.warn(`warning: ${line}`),
    });
    progress[Symbol.dispose]();
    if (values.json) print(JSON.stringify(report, null, 2));
    else printFitted(summary(report));
  }, { resumes: true });
}

function summary(report: TrainReport): string {
  const { steps, loss, evaluation, tokensPerSecond, seconds } = report;
  const lines = [
    `${counted(steps, "step")}, loss ${
      loss.toFixed(4)
    } (mean of the last tenth)`,
    evaluation && evaluated(evaluation),
    `${report.trainableParameters.toLocaleString("en")} trainable parameters, ${
      Math.round(tokensPerSecond)
    } tokens/s, ${seconds.toFixed(1)} s, ${
      Math.round(report.peakBytes / 2 ** 20)
    } MB at the most`,
    `written: ${report.out} (run ${report.run})`,
  ];
  return lines.filter(Boolean).join("\n");
}

function evaluated(
  evaluation: NonNullable<TrainReport["evaluation"]>,
): string {
  const { before, after, perplexityBefore, perplexityAfter } = evaluation;
  const { accuracyBefore, accuracyAfter } = evaluation;
  if (accuracyBefore !== undefined && accuracyAfter !== undefined) {
    return `accuracy ${accuracyBefore.toFixed(4)} -> ${
      accuracyAfter.toFixed(4)
    }, evaluation loss ${before.toFixed(4)} -> ${after.toFixed(4)}`;
  }
  return perplexityBefore === undefined || perplexityAfter === undefined
    ? `evaluation loss ${before.toFixed(4)} -> ${after.toFixed(4)}`
    : `perplexity ${perplexityBefore.toPrecision(5)} -> ${
      perplexityAfter.toPrecision(5)
    }`;
}
