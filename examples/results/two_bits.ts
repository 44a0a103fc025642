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
import { openTasks } from "../../src/eval/open_task.ts";
import { runTask } from "../../src/eval/run.ts";
import { calibrate, calibrationSequences } from "../../src/init/calibrate.ts";
import { openMoments } from "../../src/init/moments.ts";
import { init } from "../../src/init/run.ts";
import { openCheckpoint } from "../../src/io/open.ts";
import { checkpointTokenizer } from "../../src/io/tokenizer.ts";
import { loadModel } from "../../src/models/load.ts";
import { train, TRAIN_DEFAULTS } from "../../src/train/run.ts";
import { type Curve, plot } from "./plot.ts";

const here = (path: string) => new URL(path, import.meta.url).pathname;
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
const steps = Number(values.steps);
const batch = Number(values.batch);

/** One row of the table. */
interface Row {
  readonly name: string;
  readonly bits: number;
  readonly rank: number;
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

const jsonPath = here("two_bits.json");
const settings = { steps, batch, block: 128, learningRate: 3e-4, warmup: 10 };
const rows = await readRows();
const only = values.only?.split(";");
using device = await openChosen({ name: "auto" });
await Deno.mkdir(values.work, { recursive: true });
const trainPart = `${values.work}/train.txt`;
await Deno.writeTextFile(
  trainPart,
  (await Deno.readTextFile(trainText)).slice(0, 600_000),
);

for (const start of starts) {
  if (rows.has(start.name)) continue;
  if (only && !only.some((part) => start.name.includes(part))) continue;
  console.error(`${start.name} …`);
  const began = performance.now();
  const place = start.method === "lora" ? model : await prepare(start);
  const out = start.method === "lora"
    ? `${values.work}/lora-${start.rank}`
    : place;
  // Without training the adapter that is there counts; LoRA's own start changes nothing.
  const before = await perplexity(place);
  await train({
    ...TRAIN_DEFAULTS,
    method: start.method === "lora" ? "lora" : "adapter",
    schedule: "linear",
    order: "random",
    rank: start.rank,
    alpha: start.rank,
    ...settings,
  }, {
    device,
    path: place,
    out,
    data: [trainPart],
    saveEvery: steps,
    keep: 1,
    logEvery: 1,
  });
  const after = await perplexity(out);
  const losses = (await Deno.readTextFile(`${out}/metrics.jsonl`)).trim()
    .split("\n").map((line) => JSON.parse(line).loss);
  rows.set(start.name, {
    name: start.name,
    bits: bitsOf(start),
    rank: start.rank,
    before,
    after,
    losses: losses.map((x: number) => Number(x.toFixed(4))),
    seconds: (performance.now() - began) / 1000,
  });
  await writeResults();
  console.error(
    `${start.name}: ${before.toPrecision(4)} -> ${after.toPrecision(4)}`,
  );
}
await writeResults();

async function prepare(start: Start): Promise<string> {
  const out = `${values.work}/${start.name.replaceAll(/[^\w]+/g, "-")}`;
  await using checkpoint = await openCheckpoint(model);
  await using stack = new AsyncDisposableStack();
  let metricOf;
  if (start.calibrated) {
    const path = `${values.work}/moments.safetensors`;
    await calibrate(checkpoint, {
      device,
      kind: "full",
      path,
      sequences: await calibrationSequences(checkpoint, [calibration], {
        tokens: 16384,
        block: 512,
      }),
    });
    metricOf = stack.use(await openMoments(path, "full")).metricOf;
  }
  await init(checkpoint, {
    method: start.method === "qlora" ? "qlora" : "loftq",
    format: start.format!,
    block: 64,
    ...(start.calibrated && { metric: "full", scale: "mse" }),
    rank: start.rank,
    alpha: start.rank,
    iterations: start.method === "qlora" ? 0 : 5,
    seed: 0,
  }, { device, out, metricOf });
  return out;
}

async function perplexity(path: string): Promise<number> {
  await using loaded = await loadModel(device, path);
  const tokenizer = await checkpointTokenizer(loaded.checkpoint);
  const [task] = await openTasks("ppl", testText, {
    tokenizer,
    context: loaded.model.config.maxLength,
    block: 512,
    characters: 200_000,
  });
  const { metrics } = await runTask(loaded.model, task, {
    limit: 8,
    decode: (ids) => tokenizer.decode(ids),
    stop: [],
  });
  return metrics.perplexity;
}

/** Bits of a weight: codes, and a scale (and a bias) of so many bits for each 64. */
function bitsOf({ format }: Start, scaleBits = 32): number {
  if (!format) return 16;
  const bits = Number(format.at(-1));
  return bits + (format.startsWith("int") ? 2 : 1) * scaleBits / 64;
}

async function readRows(): Promise<Map<string, Row>> {
  try {
    const found = JSON.parse(await Deno.readTextFile(jsonPath));
    const same = JSON.stringify(found.settings) === JSON.stringify(settings);
    return new Map(same ? found.rows.map((r: Row) => [r.name, r]) : []);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Map();
    throw error;
  }
}

async function writeResults(): Promise<void> {
  const all = starts.flatMap(({ name }) => rows.get(name) ?? []);
  if (all.length === 0) return;
  await Deno.writeTextFile(
    jsonPath,
    `${JSON.stringify({ settings, rows: all }, null, 1)}\n`,
  );
  const curves: Curve[] = all.map(({ name, losses }) => ({
    name,
    values: losses,
  }));
  await Deno.writeTextFile(
    here("two_bits.svg"),
    plot(curves, { title: "Training loss by step", smooth: 10 }),
  );
  const figure = (x: number) =>
    x < 1e4 ? x.toFixed(2) : x.toExponential(1).replace("e+", "e");
  const lines = [
    ["start", "bits", "16-bit scales", "before", "after"],
    ["---", "--:", "--:", "--:", "--:"],
    ...starts.filter(({ name }) => rows.has(name)).map((start) => {
      const { name, bits, before, after } = rows.get(start.name)!;
      return [
        name,
        bits.toFixed(2),
        bitsOf(start, 16).toFixed(2),
        figure(before),
        figure(after),
      ];
    }),
  ];
  const table = lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  await Deno.writeTextFile(
    here("two_bits.md"),
    `# SmolLM2-135M at 4, 3 and 2 bits

Perplexity on the first 8 x 512 tokens of WikiText-2's test text, before and
after ${steps} steps of ${batch} x 128 random windows of its validation text (AdamW,
learning rate 3e-4, 10 steps of warm-up, then linear to 0, clipping at 1, all
210 linear layers, alpha equal to the rank). QLoRA: the quantised model and
LoRA's own start. LoftQ: 5 iterations. Calibrated: weighted MSE scales and the
full metric, from 16384 tokens of other text. Bits of a weight: as loqa stores
it, with scales and biases in 32 bits, and what it would be with 16.

${table}

![Training loss by step](two_bits.svg)

Made by \`two_bits.ts\`; the figures of each step are in \`two_bits.json\`.
`,
  );
}
