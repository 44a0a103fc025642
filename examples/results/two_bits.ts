/**
 * LoftQ's claim at a size that a laptop can check: SmolLM2-135M at 4, 3 and 2 bits, fine-tuned on WikiText-2 from QLoRA's
 * start, from LoftQ's, from a calibrated one, and without quantisation. Writes `two_bits.md`, `two_bits.svg` and
 * `two_bits.json` beside this file.
 *
 *     deno run -A examples/results/two_bits.ts MODEL TRAIN.txt TEST.txt CALIBRATION.txt [--steps 120] [--only "NAME;…"]
 *
 * A run that was interrupted goes on where it was: what is in `two_bits.json` for the same settings is kept.
 */

import { parseArgs } from "node:util";
import { openChosen } from "../../src/cli/device.ts";
import { init } from "../../src/init/run.ts";
import { openCheckpoint } from "../../src/io/open.ts";
import { plot } from "./plot.ts";
import {
  figure,
  fineTune,
  here,
  markdown,
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
    only: { type: "string" },
    work: { type: "string", default: here("../../out/results") },
  },
});
const [model, trainText, testText, calibration] = positionals;
if (!calibration) {
  console.error("wanted MODEL TRAIN.txt TEST.txt CALIBRATION.txt");
  Deno.exit(2);
}

/** One row of the table. */
interface Row {
  readonly name: string;
  readonly before: number;
  readonly after: number;
  /** Training loss by step. */
  readonly losses: readonly number[];
  readonly seconds: number;
}

interface Start {
  readonly name: string;
  readonly format?: "nf4" | "nf3" | "nf2" | "int2";
  readonly rank: number;
  readonly method: "loftq" | "qlora" | "lora";
  readonly calibrated?: boolean;
}

const starts: Start[] = [
  { name: "LoRA, full precision, r 16", rank: 16, method: "lora" },
  { name: "LoRA, full precision, r 64", rank: 64, method: "lora" },
];
for (const format of ["nf4", "nf3", "nf2"] as const) {
  for (const rank of [16, 64]) {
    for (const method of ["qlora", "loftq"] as const) {
      const label = method === "qlora" ? "QLoRA" : "LoftQ";
      starts.push({
        name: `${label}, ${format}, r ${rank}`,
        format,
        rank,
        method,
      });
    }
  }
}
starts.push({
  name: "calibrated, int2 b64, r 16",
  format: "int2",
  rank: 16,
  method: "loftq",
  calibrated: true,
});
const names = starts.map(({ name }) => name);

const schedule = scheduleOf(Number(values.steps), Number(values.batch));
const rows = await Rows.open<Row>(here("two_bits.json"), { ...schedule });
const only = values.only?.split(";");
using device = await openChosen({ name: "auto" });
const data = await trainingText(trainText, values.work);

for (const start of starts) {
  const { name, method, rank } = start;
  if (rows.get(name)) continue;
  if (only && !only.some((part) => name.includes(part))) continue;
  console.error(`${name} …`);
  const began = performance.now();
  const path = method === "lora" ? model : await prepare(start);
  const out = method === "lora" ? `${values.work}/lora-${rank}` : path;
  // Without training the adapter that is there counts; the default LoRA initialisation changes nothing.
  const before = await perplexity(device, path, testText);
  const losses = await fineTune(device, {
    path,
    out,
    data,
    schedule,
    options: {
      method: method === "lora" ? "lora" : "adapter",
      rank,
      alpha: rank,
    },
  });
  const after = await perplexity(device, out, testText);
  const seconds = (performance.now() - began) / 1000;
  await rows.add({ name, before, after, losses, seconds }, names);
  await writePage();
  console.error(`${name}: ${figure(before)} -> ${figure(after)}`);
}
await writePage();

async function prepare(start: Start): Promise<string> {
  const { format, rank, method, calibrated } = start;
  const out = `${values.work}/${start.name.replaceAll(/[^\w]+/g, "-")}`;
  await using checkpoint = await openCheckpoint(model);
  await using found = calibrated
    ? await moments(device, checkpoint, {
      text: calibration,
      path: `${values.work}/moments.safetensors`,
    })
    : undefined;
  await init(checkpoint, {
    method: method === "qlora" ? "qlora" : "loftq",
    format,
    block: 64,
    ...(calibrated && { metric: "full", scale: "mse" }),
    rank,
    alpha: rank,
    iterations: method === "qlora" ? 0 : 5,
    seed: 0,
  }, { device, out, metricOf: found?.metricOf, force: true });
  return out;
}

/** Bits of a weight: codes, and a scale (and a bias) for each 64, in f32 as bitsandbytes has them (nf4) or in f16. */
function bitsOf({ format }: Start): string {
  if (!format) return "16";
  const bits = Number(format.at(-1));
  const each = format.startsWith("int") ? 2 : 1;
  const scaleBits = format === "nf4" ? 32 : 16;
  return (bits + each * scaleBits / 64).toFixed(2);
}

async function writePage(): Promise<void> {
  const done = starts.flatMap((start) => {
    const row = rows.get(start.name);
    return row ? [{ start, row }] : [];
  });
  if (done.length === 0) return;
  const curves = done.map(({ row: { name, losses } }) => ({
    name,
    values: losses,
  }));
  await Deno.writeTextFile(
    here("two_bits.svg"),
    plot(curves, { title: "Training loss by step", smooth: 10 }),
  );
  const table = markdown([
    ["start", "bits", "before", "after"],
    ...done.map(({ start, row: { name, before, after } }) => [
      name,
      bitsOf(start),
      figure(before),
      figure(after),
    ]),
  ]);
  const { steps, batch, block } = schedule;
  await Deno.writeTextFile(
    here("two_bits.md"),
    `# SmolLM2-135M at 4, 3 and 2 bits

Perplexity on the first 8 x 512 tokens of WikiText-2's test text, before and
after ${steps} steps of ${batch} x ${block} random windows of its validation text (AdamW,
learning rate 3e-4, 10 steps of warm-up, then linear to 0, clipping at 1, all
210 linear layers, alpha equal to the rank). QLoRA: the quantised model and
LoRA's own start. LoftQ: 5 iterations. Calibrated: weighted MSE scales and the
full metric, from 16384 tokens of other text. Bits of a weight: as loqa stores
it, scales and biases included. They were in f32 when this was measured, now they are
in f16 but for nf4, as bitsandbytes has it.

${table}

![Training loss by step](two_bits.svg)

Made by \`two_bits.ts\`; the figures of each step are in \`two_bits.json\`.
`,
  );
}
