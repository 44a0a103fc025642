/**
 * `loqa train`.
 *
 * @module
 */

import type { TrainOptions, TrainReport } from "../../train/run.ts";
import { train, TRAIN_DEFAULTS } from "../../train/run.ts";
import { TRAINED_BIASES } from "../../io/peft/whole.ts";
import { LABELLED_SETS, type LabelledSetName } from "../../data/tasks/glue.ts";
import { TRAIN_TASKS } from "../../train/options.ts";
import { SCHEDULES } from "../../train/step/schedule.ts";
import { LEARNS } from "../../data/tasks/sft.ts";
import { TEMPLATES } from "../../data/tasks/templates.ts";
import {
  COMMON,
  COMPUTES,
  numbersByName,
  optionHelp,
  type Options,
  parse,
  type Parsed,
  UsageError,
} from "../args.ts";
import { openChosen, readDeviceOptions } from "../device.ts";
import { MODEL, tellNotes } from "../place.ts";
import { interruptible } from "../interrupt.ts";
import { Progress } from "../text/progress.ts";
import { print, printFitted } from "../output.ts";
import { counted } from "../text/tables.ts";

const OPTIONS: Options = {
  data: {
    files: true,
    value: "FILE,…",
    multiple: true,
    help: "training data: jsonl, json, csv, tsv, txt or parquet; needed",
  },
  out: {
    short: "o",
    value: "DIR",
    default: "DIR itself",
    help: "output folder; needed unless DIR was written by loqa init",
  },
  method: {
    value: "NAME",
    default: "adapter where DIR has one, else lora",
    help:
      "adapter (the one DIR has), lora (a new one) or full (full fine-tuning: all weights)",
  },
  task: {
    value: "NAME",
    default: "lm",
    help:
      "lm: causal language modelling, every token; sft: supervised fine-tuning on answers to prompts; classify: sequence classification or regression; qa: extractive question answering (SQuAD's files); seq2seq: source/target pairs",
  },
  "data-set": {
    when: { task: ["classify"] },
    value: "NAME",
    help: `data set whose columns and labels the files have (classify): ${
      Object.keys(LABELLED_SETS).join(", ")
    }`,
  },
  labels: {
    when: { task: ["classify"] },
    value: "N|NAME,…",
    multiple: true,
    default: "the model's, or those of the data",
    help:
      "number of classes of a new head, or their names; 1: a regression head (classify)",
  },
  "train-biases": {
    when: { method: ["adapter", "lora"] },
    value: "NAME",
    default: "none",
    help: "biases trained beside the adapter: none, all, lora_only",
  },
  "modules-to-save": {
    when: { method: ["adapter", "lora"] },
    value: "NAME,…",
    multiple: true,
    help: "modules trained in full beside the adapter and a head",
  },
  template: {
    when: { task: ["sft"] },
    value: "NAME",
    default: "by the fields",
    help: `prompt template of a record: ${TEMPLATES.join(", ")} (sft)`,
  },
  field: {
    when: { task: ["lm"] },
    value: "NAME",
    default: "text",
    help: "field of a record that holds the text (lm)",
  },
  unit: {
    when: { task: ["lm"] },
    value: "NAME",
    default: "file",
    help:
      "unit of a plain text file that is one text: file, paragraph, line (lm)",
  },
  learn: {
    when: { task: ["sft"] },
    value: "NAME",
    default: "all",
    help: "answers of a conversation that are trained on: all, last (sft)",
  },
  overflow: {
    when: { task: ["sft", "classify", "qa", "seq2seq"] },
    value: "NAME",
    default: "drop (sft), else truncate",
    help: "examples longer than --seq-len: truncate, drop, error",
  },
  from: {
    value: "N|PATH",
    default: "the adapter of init, else the newest run",
    help: "run, checkpoint or adapter to start from",
  },
  model: MODEL,
  steps: { value: "N", help: "number of optimizer steps" },
  epochs: {
    value: "N",
    default: "1",
    help: "number of passes through the data",
  },
  batch: { value: "N", default: "4", help: "batch size: sequences of a batch" },
  accumulation: {
    value: "N",
    default: "1",
    help: "gradient accumulation: batches of a step",
  },
  "seq-len": {
    also: ["block"],
    value: "N",
    default: "512, or the model's context",
    help: "maximum sequence length, in tokens",
  },
  order: {
    value: "NAME",
    default: "shuffle",
    help: "order of the examples: shuffle, sequential, or random windows (lm)",
  },
  lr: { value: "X", default: "2e-4", help: "peak learning rate" },
  schedule: {
    value: "NAME",
    default: "cosine",
    help: `learning rate schedule after the warm-up: ${SCHEDULES.join(", ")}`,
  },
  warmup: {
    value: "N",
    default: "3 % of the steps",
    help: "number of warm-up steps, in which the learning rate rises",
  },
  "weight-decay": { value: "X", default: "0", help: "AdamW's weight decay" },
  beta1: { value: "X", default: "0.9", help: "AdamW's beta1" },
  beta2: { value: "X", default: "0.999", help: "AdamW's beta2" },
  epsilon: { value: "X", default: "1e-8", help: "AdamW's epsilon" },
  clip: {
    value: "X",
    default: "1",
    help: "gradient clipping: maximum norm of all gradients; 0: none",
  },
  dropout: {
    when: { method: ["adapter", "lora"] },
    value: "X",
    default: "0",
    help: "LoRA dropout: probability that an input of the adapter is zeroed",
  },
  checkpointing: {
    help:
      "activation (gradient) checkpointing: recompute blocks in the backward pass; less memory, slower",
  },
  compute: {
    value: "NAME",
    default: "f32",
    help:
      "arithmetic of products with int5 … int2: f32, or int8 (integer, faster)",
  },
  rank: {
    when: { method: ["lora"] },
    value: "R",
    default: "16",
    help: "LoRA rank of a new adapter",
  },
  alpha: {
    when: { method: ["lora"] },
    value: "A",
    default: "the rank",
    help: "LoRA alpha of a new adapter",
  },
  rslora: {
    when: { method: ["lora"] },
    help: "rank-stabilised LoRA: scale alpha / sqrt(rank)",
  },
  target: {
    when: { method: ["lora"] },
    value: "NAME,…",
    multiple: true,
    default: "all linear layers but the head",
    help: "target modules of a new adapter, by name or pattern",
  },
  "rank-pattern": {
    when: { method: ["lora"] },
    value: "NAME=R",
    multiple: true,
    help: "LoRA rank of modules by name or pattern, as in PEFT",
  },
  "alpha-pattern": {
    when: { method: ["lora"] },
    value: "NAME=A",
    multiple: true,
    help: "LoRA alpha of modules by name or pattern, as in PEFT",
  },
  eval: {
    files: true,
    value: "FILE,…",
    multiple: true,
    help: "evaluation files: their loss is measured before and after",
  },
  "eval-every": {
    when: { eval: true },
    value: "N",
    help: "steps between evaluations as well",
  },
  "save-every": {
    value: "N",
    default: "100",
    help: "steps between checkpoints",
  },
  keep: { value: "N", default: "2", help: "number of checkpoints kept" },
  "log-every": {
    value: "N",
    default: "1, on a GPU 10",
    help: "steps between readings of the loss",
  },
  seed: { value: "N", default: "0", help: "random seed" },
  resume: {
    help:
      "resume the last run of the same command; more --steps or --epochs extend it",
  },
  ...COMMON,
};

/** The page of `loqa train --help`. */
export const help =
  `loqa train DIR --data FILE…: fine-tune a model, or its adapter

DIR is a folder that loqa init wrote (its adapter is trained), a run or a checkpoint in one (DIR/runs/2), or a model (a new
adapter, or all weights).
Every call is a run: DIR/runs/1, runs/2, … hold metrics.jsonl, checkpoints and the result. The newest result stands in
DIR/adapter (or DIR/backbone) too, its figures in DIR/loqa.json. The adapter that init wrote is kept in DIR/runs/0; runs start from
it, unless --from names another.

  loqa train smol-nf4 --data wiki.txt --steps 120 --seq-len 128 --lr 3e-4
  loqa train smol-nf4 --data train.jsonl --task sft --epochs 3 --eval valid.jsonl
  loqa train minilm-nf2 --task classify --data-set sst2 --data sst2/train.tsv --batch 32 --epochs 2
  loqa train smol-nf4 --data wiki.txt --steps 240 --seq-len 128 --lr 3e-4 --resume
  loqa train smol-nf4 --data other.txt --from 1
  loqa train SmolLM2-135M.gguf --method lora --rank 16 --data wiki.txt -o smol-lora

--resume continues the last unfinished run, and ends with the same bytes as an uninterrupted one. More steps than it had extend
it: from there on the learning rate follows the schedule of all steps, so where it had decayed to 0 it rises again. Other
options, data, models, devices or versions are refused.

Dropout is LoRA dropout alone: dropout that a model's config asks for is not applied.

Options:
${optionHelp(OPTIONS)}
`;

const positive = { above: 0, fraction: true };
const share = { least: 0, most: 0.999, fraction: true };

function readOptions(
  args: Parsed,
): Partial<TrainOptions> {
  const task = args.choice("task", TRAIN_TASKS) ?? "lm";
  const steps = args.number("steps", { least: 1 });
  const epochs = args.number("epochs", positive);
  if (steps !== undefined && epochs !== undefined) {
    throw new UsageError("train takes --steps or --epochs, got both");
  }
  const given = {
    task,
    steps,
    epochs,
    dataSet: args.choice(
      "data-set",
      Object.keys(LABELLED_SETS) as LabelledSetName[],
    ),
    labels: readLabels(args),
    biases: args.choice("train-biases", TRAINED_BIASES),
    modulesToSave: args.list("modules-to-save"),
    method: args.choice("method", ["adapter", "lora", "full"]),
    block: args.number("seq-len", { least: 2 }),
    batch: args.number("batch", { least: 1 }),
    accumulation: args.number("accumulation", { least: 1 }),
    learningRate: args.number("lr", positive),
    schedule: args.choice("schedule", SCHEDULES),
    warmup: args.number("warmup", { least: 0 }),
    weightDecay: args.number("weight-decay", { least: 0, fraction: true }),
    beta1: args.number("beta1", share),
    beta2: args.number("beta2", { ...share, most: 0.999999 }),
    epsilon: args.number("epsilon", positive),
    clip: args.number("clip", { least: 0, fraction: true }),
    dropout: args.number("dropout", share),
    checkpointing: args.on("checkpointing"),
    compute: args.choice("compute", COMPUTES),
    order: args.choice("order", ["shuffle", "random", "sequential"]),
    template: args.choice("template", TEMPLATES),
    learn: args.choice("learn", LEARNS),
    overflow: args.choice("overflow", ["truncate", "drop", "error"]),
    field: args.text("field"),
    unit: args.choice("unit", ["file", "paragraph", "line"]),
    rank: args.number("rank", { least: 1 }),
    alpha: args.number("alpha", positive) ??
      args.number("rank", { least: 1 }),
    rslora: args.on("rslora"),
    targets: args.list("target"),
    rankPattern: numbersByName(args, "rank-pattern"),
    alphaPattern: numbersByName(args, "alpha-pattern"),
    seed: args.number("seed"),
  };
  if (given.order === "random" && task !== "lm") {
    throw new UsageError("--order random needs --task lm");
  }
  const known = Object.entries(given).filter(([, v]) => v !== undefined);
  return Object.fromEntries(known);
}

/** Names of classes, or their number: 1 for a regression head. */
function readLabels(args: Parsed): readonly string[] | undefined {
  const given = args.list("labels");
  if (given?.length !== 1 || !/^\d+$/.test(given[0])) return given;
  const count = Number(given[0]);
  if (count < 1 || count > 10_000) {
    throw new UsageError(`--labels must be from 1 to 10000, got ${count}`);
  }
  return Array.from({ length: count }, (_, i) => `LABEL_${i}`);
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<number> {
  const args = parse(argv, OPTIONS);
  const path = args.one("train", "DIR");
  const data = args.list("data");
  if (!data?.length) throw new UsageError("train needs --data FILE");
  const given = readOptions(args);
  const { findRun, homeOf } = await import("../../models/load/runs.ts");
  const { startPlace } = await import("../../train/output.ts");
  const { openCheckpoint } = await import("../../io/open.ts");
  const { familyOf } = await import("../../models/families.ts");
  const from = args.text("from");
  const model = args.text("model");
  // A run that is named stands for its folder, from that run on.
  const home = homeOf(path);
  const start = from === undefined ? path : await findRun(path, from);
  const place = await startPlace(start, { path, model });
  using progress = new Progress({ quiet: args.on("quiet") });
  tellNotes({ ...place, notes: [] }, progress);
  let context: number;
  {
    await using checkpoint = await openCheckpoint(place.model);
    context = familyOf(checkpoint).config(checkpoint).maxLength;
  }
  const options: TrainOptions = {
    ...TRAIN_DEFAULTS,
    method: place.adapter ? "adapter" : "lora",
    block: Math.min(TRAIN_DEFAULTS.block, context),
    ...given,
  };
  args.settle("method", options.method);
  const out = args.text("out") ??
    (options.method === "adapter" ? home ?? path : undefined);
  if (!out) throw new UsageError(`train --method ${options.method} needs -o`);
  return await interruptible(async (signal, started) => {
    using device = await openChosen(
      readDeviceOptions(args, progress, { network: true }),
    );
    started();
    const report = await train(options, {
      device,
      ...home !== undefined && from === undefined
        ? { path: home, from: path }
        : { path, from },
      ...{ model, out, data },
      evaluation: args.list("eval"),
      evaluateEvery: args.number("eval-every", { least: 1 }),
      saveEvery: args.number("save-every", { least: 1 }) ?? 100,
      keep: args.number("keep", { least: 1 }) ?? 2,
      logEvery: args.number("log-every", { least: 1 }) ??
        (device.name === "webgpu" ? 10 : 1),
      resume: args.on("resume"),
      signal,
      onProgress: (done, text) => progress.update(done, text),
      onNote: (line) => progress.note(line),
      onWarning: (line) => progress.warn(`warning: ${line}`),
    });
    progress[Symbol.dispose]();
    if (args.on("json")) print(JSON.stringify(report, null, 2));
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
