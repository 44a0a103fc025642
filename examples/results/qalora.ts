/**
 * QA-LoRA's comparison at a size that a laptop can check: SmolLM2-135M at 4, 3 and 2 bits, fine-tuned on WikiText-2 with
 * QA-LoRA and merged, from a plain base and from a calibrated one, against QLoRA that is merged and quantised anew. Writes
 * `qalora.md`, `qalora.svg` and `qalora.json` beside this file.
 *
 *     deno run -A examples/results/qalora.ts MODEL TRAIN.txt TEST.txt CALIBRATION.txt MMLU COMMONSENSE [--limit 100]
 *
 * A run that was interrupted goes on where it was: what is in `qalora.json` for the same settings is kept.
 */

import { parseArgs } from "node:util";
import type { Compute } from "../../src/autograd/linear_weight.ts";
import { openChosen } from "../../src/cli/device.ts";
import { init } from "../../src/init/run.ts";
import { openCheckpoint } from "../../src/io/open.ts";
import { replaceFolder } from "../../src/io/output/replace.ts";
import { mergeDense } from "../../src/merge/dense.ts";
import { mergeExact } from "../../src/merge/exact.ts";
import { findModel, readAdapterFolder } from "../../src/models/load/locate.ts";
import { proportionOf } from "../../src/eval/tasks/statistics.ts";
import { plot } from "./plot.ts";
import {
  figure,
  fineTune,
  here,
  markdown,
  measure,
  moments,
  perplexity,
  Rows,
  scheduleOf,
  trainingText,
} from "./study.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: "string", default: "120" },
    batch: { type: "string", default: "4" },
    limit: { type: "string", default: "100" },
    only: { type: "string" },
    work: { type: "string", default: here("../../out/qalora") },
  },
});
const [model, trainText, testText, calibration, mmlu, commonsense] =
  positionals;
if (!commonsense) {
  console.error(
    "wanted MODEL TRAIN.txt TEST.txt CALIBRATION.txt MMLU COMMONSENSE",
  );
  Deno.exit(2);
}

const RANK = 16;
const BLOCK = 32;

type Format = "int4" | "int3" | "int2";

/** One row of the table. */
interface Row {
  readonly name: string;
  /** Perplexity before fine-tuning; of the model that is quantised anew, none. */
  readonly before?: number;
  /** Perplexity of the merged model. */
  readonly after: number;
  /** Accuracies of the merged model. */
  readonly mmlu: number;
  readonly commonsense: number;
  /** Training loss by step. */
  readonly losses: readonly number[];
}

interface Way {
  readonly name: string;
  readonly format: Format;
  readonly kind: "plain" | "calibrated" | "anew";
  /** Arithmetic of QA-LoRA's training ("int8"). */
  readonly compute?: Compute;
}

const KINDS = {
  anew: "QLoRA, nf4, then GPTQ to",
  plain: "QA-LoRA,",
  calibrated: "QA-LoRA, calibrated,",
} as const;
const ways = (["int4", "int3", "int2"] as const).flatMap((format) =>
  (["anew", "plain", "calibrated"] as const).map((kind): Way => ({
    name: `${KINDS[kind]} ${format}`,
    format,
    kind,
  }))
);
// Beside it, what rounding inputs and gradients to 8 bits changes.
ways.splice(2, 0, {
  name: "QA-LoRA, int4, trained in f32",
  format: "int4",
  kind: "plain",
  compute: "f32",
});
const names = ways.map(({ name }) => name);

const limit = Number(values.limit);
const schedule = scheduleOf(Number(values.steps), Number(values.batch));
const rows = await Rows.open<Row>(here("qalora.json"), { ...schedule, limit });
const only = values.only?.split(";");
using device = await openChosen({ name: "auto" });
const data = await trainingText(trainText, values.work);
const options = { rank: RANK, alpha: RANK, seed: 0, iterations: 0 };

for (const way of ways) {
  const { name, kind } = way;
  if (rows.get(name)) continue;
  if (only && !only.some((part) => name.includes(part))) continue;
  console.error(`${name} …`);
  const { merged, before, losses } = kind === "anew"
    ? await quantizeAnew(way)
    : await qalora(way);
  const after = await perplexity(device, merged, testText);
  const accuracy = async (task: "mmlu" | "commonsense", path: string) =>
    (await measure(device, merged, { task, data: path, limit })).accuracy;
  const answers = {
    mmlu: await accuracy("mmlu", mmlu),
    commonsense: await accuracy("commonsense", commonsense),
  };
  await rows.add({ name, before, after, ...answers, losses }, names);
  await writePage();
  console.error(`${name}: ${figure(after)}`);
}
await writePage();

interface Made {
  readonly merged: string;
  readonly before?: number;
  readonly losses: readonly number[];
}

function folder(name: string): string {
  return `${values.work}/${name.replaceAll(/[^\w]+/g, "-")}`;
}

/** Quantises the model at `path` into the base of QA-LoRA at `out`. */
async function quantizeBase(
  path: string,
  { out, format, kind }: { out: string } & Pick<Way, "format" | "kind">,
): Promise<void> {
  await using checkpoint = await openCheckpoint(path);
  await using found = kind === "plain"
    ? undefined
    : await moments(device, checkpoint, {
      text: calibration,
      path: `${folder(path)}.moments`,
    });
  await init(checkpoint, {
    ...options,
    method: "qalora",
    format,
    block: BLOCK,
    ...(kind === "calibrated" &&
      { metric: "full", scale: "mse", biases: true }),
    ...(kind === "anew" && { metric: "full", scale: "gptq" }),
  }, { device, out, metricOf: found?.metricOf, force: true });
}

async function qalora(
  { name, format, kind, compute = "int8" }: Way,
): Promise<Made> {
  const base = folder(name);
  await quantizeBase(model, { out: base, format, kind });
  const before = await perplexity(device, base, testText);
  const losses = await fineTune(device, {
    path: base,
    out: base,
    data,
    schedule,
    options: { method: "adapter", compute },
  });
  const merged = `${base}-merged`;
  const place = await findModel(base);
  await using checkpoint = await openCheckpoint(place.model);
  const factors = await readAdapterFolder(place.adapter!, place);
  await mergeExact(checkpoint, { out: `${merged}.partial`, factors });
  await replaceFolder(`${merged}.partial`, merged);
  return { merged, before, losses };
}

/** QLoRA, trained once for all formats, merged, and quantised without training. */
async function quantizeAnew({ name, format, kind }: Way): Promise<Made> {
  const dense = folder("qlora-dense");
  const lossFile = `${dense}.json`;
  if (!await Deno.stat(lossFile).then(() => true, () => false)) {
    const qlora = folder("qlora");
    await using checkpoint = await openCheckpoint(model);
    await init(checkpoint, { ...options, method: "qlora", format: "nf4" }, {
      device,
      force: true,
      out: qlora,
    });
    const losses = await fineTune(device, {
      path: qlora,
      out: qlora,
      data,
      schedule,
      options: { method: "adapter" },
    });
    const place = await findModel(qlora);
    await using backbone = await openCheckpoint(place.model);
    const factors = await readAdapterFolder(place.adapter!, place);
    const out = `${dense}.partial`;
    await mergeDense(backbone, { device, out, factors, dtype: "f32" });
    await replaceFolder(out, dense);
    await Deno.writeTextFile(lossFile, JSON.stringify(losses));
  }
  const merged = folder(name);
  await quantizeBase(dense, { out: merged, format, kind });
  const losses = JSON.parse(await Deno.readTextFile(lossFile));
  return { merged, losses };
}

/** The mean of the last tenth of a training's losses. */
function lastLoss({ losses }: Row): number {
  const last = losses.slice(-Math.ceil(losses.length / 10));
  return last.reduce((a, b) => a + b, 0) / last.length;
}

async function writePage(): Promise<void> {
  const done = names.flatMap((name) => rows.get(name) ?? []);
  if (done.length === 0) return;
  const missing = names.filter((name) => !rows.get(name));
  const curves = done.filter(({ before }) => before !== undefined)
    .map(({ name, losses }) => ({ name, values: losses }));
  if (curves.length > 0) {
    await Deno.writeTextFile(
      here("qalora.svg"),
      plot(curves, { title: "Training loss by step", smooth: 10 }),
    );
  }
  const percent = (x: number) => {
    const { stdErr = 0 } = proportionOf(Math.round(x * limit), limit);
    return `${(100 * x).toFixed(1)} ± ${(100 * stdErr).toFixed(1)} %`;
  };
  const table = markdown([
    ["way", "before", "after", "last loss", "MMLU", "commonsense"],
    ...done.map((row) => [
      row.name,
      row.before === undefined ? "-" : figure(row.before),
      figure(row.after),
      lastLoss(row).toFixed(3),
      percent(row.mmlu),
      percent(row.commonsense),
    ]),
  ]);
  const { steps, batch, block } = schedule;
  await Deno.writeTextFile(
    here("qalora.md"),
    `# QA-LoRA on SmolLM2-135M at 4, 3 and 2 bits

Perplexity on the first 8 x 512 tokens of WikiText-2's test text, before and
after ${steps} steps of ${batch} x ${block} random windows of its validation text (AdamW,
learning rate 3e-4, 10 steps of warm-up, then linear to 0, clipping at 1, all
210 linear layers, rank and alpha ${RANK}), and accuracy on ${limit} questions of MMLU
and of a commonsense set, with its standard error (guessing MMLU has 25 %).
What is measured is low-bit: groups of ${BLOCK}, merged without loss. The last loss is the mean of the last tenth of the steps.
QA-LoRA: min/max base, trained by \`--compute int8\` but for one row. Calibrated:
weighted MSE scales and group biases from 16384 tokens of other text. QLoRA:
merged into a dense model, then GPTQ with the same text. The checkpoint is
SmolLM2's Q4_1 file, whose groups of 32 int4 holds as they are: at 4 bits the
plain base and the calibrated one are the same.

${missing.length > 0 ? `Not run yet: ${missing.join("; ")}.\n\n` : ""}${table}

![Training loss by step](qalora.svg)

Made by \`qalora.ts\`; the figures of each step are in \`qalora.json\`.
`,
  );
}
