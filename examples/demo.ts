/**
 * The main job on the model beside this file: 4, 3 and 2 bits, quantised alone and with LoftQ's factors; then fine-tuning
 * at 2 bits from three starts, each at the learning rate that serves it best, and a line of text.
 *
 *     deno task demo
 */

import { openDevice } from "@loqa/loqa";
import { openCheckpoint } from "@loqa/loqa/files";
import { init, type InitReport } from "@loqa/loqa/init";
import { openLm } from "@loqa/loqa/lm";
import { train, TRAIN_DEFAULTS } from "@loqa/loqa/train";

const here = (path: string) => new URL(path, import.meta.url).pathname;
const folder = here("../out/demo");
const model = here("model");

/** Rows as columns, those in `right` to the right. */
function columns(rows: readonly string[][], right: readonly number[]): string {
  const widths = rows[0].map((_, i) =>
    Math.max(...rows.map((row) => row[i].length))
  );
  return rows.map((row) =>
    row.map((text, i) =>
      right.includes(i) ? text.padStart(widths[i]) : text.padEnd(widths[i])
    ).join("  ").trimEnd()
  ).join("\n");
}

using device = await openDevice();
console.log(`A LLaMA of 0.8 M parameters on ${device.description}\n`);
const plans = [
  { format: "nf4", bits: 4 },
  { format: "nf3", bits: 3 },
  { format: "nf2", bits: 2 },
  { format: "int2", bits: 2, scale: "mse", block: 64 },
] as const;
const reports: InitReport[] = [];
for (const { format, bits: _, ...plan } of plans) {
  await using checkpoint = await openCheckpoint(model);
  reports.push(
    await init(checkpoint, {
      method: "loftq",
      format,
      ...plan,
      rank: 16,
      alpha: 16,
      iterations: 5,
      seed: 0,
    }, { device, out: `${folder}/${format}`, force: true }),
  );
}

console.log(columns([
  ["bits", "format", "stored bits", "plain", "LoftQ", "change"],
  ...reports.map(({ summary }, i) => [
    `${plans[i].bits}`,
    plans[i].format,
    summary.bitsPerWeight.toFixed(2),
    summary.meanPlainError.toFixed(4),
    summary.meanError.toFixed(4),
    `-${((1 - summary.meanError / summary.meanPlainError) * 100).toFixed(0)} %`,
  ]),
], [0, 2, 3, 4, 5]));
console.log(`
bits: width of a code.
format: number format of the codes.
stored bits: bits that a weight takes in the file, its share of the scales included.
plain: mean relative error of the quantised weights, ‖W - Q‖ / ‖W‖.
LoftQ: the same with the adapter of rank 16, ‖W - Q - BA‖ / ‖W‖.
change: what the adapter takes from the error.

Written, each with backbone/, adapter/ and loqa.json:`);
for (const { out, options } of reports) {
  console.log(`  ${out}  (${options.backbone})`);
}

/** Learning rates that are tried for each start. */
const RATES = [1e-3, 3e-3, 1e-2];
const STEPS = 60;

console.log(
  `\nFine-tuning at 2 bits, ${STEPS} steps of 4 x 128 tokens at each of ${RATES.length} learning rates:\n`,
);
const held = await Deno.readTextFile(`${model}/heldout.txt`);
const half = held.lastIndexOf("\n\n", held.length / 2);
await Deno.writeTextFile(`${folder}/valid.txt`, held.slice(0, half));
await Deno.writeTextFile(`${folder}/test.txt`, held.slice(half));
{
  await using checkpoint = await openCheckpoint(model);
  await init(checkpoint, {
    ...{ method: "qlora", format: "nf2", rank: 16, alpha: 16 },
    ...{ iterations: 0, seed: 0 },
  }, { device, out: `${folder}/nf2-qlora`, force: true });
}

/** Perplexity before and after a training at one learning rate, on the stories that `part` holds. */
async function finetune(
  { path, out }: { path: string; out: string },
  learningRate: number,
  part: "valid" | "test",
): Promise<{ rate: number; before: number; after: number; run: number }> {
  const { evaluation, run } = await train({
    ...TRAIN_DEFAULTS,
    ...{ method: path === model ? "lora" : "adapter", block: 128 },
    ...{ steps: STEPS, learningRate, schedule: "linear", order: "random" },
  }, {
    ...{ device, path, out, saveEvery: STEPS, keep: 1, logEvery: 1 },
    data: [`${model}/train-sample.txt`],
    evaluation: [`${folder}/${part}.txt`],
  });
  return {
    run,
    rate: learningRate,
    before: evaluation!.perplexityBefore!,
    after: evaluation!.perplexityAfter!,
  };
}

const starts = [
  { name: "LoRA, full precision", path: model, out: `${folder}/lora` },
  { name: "QLoRA, nf2", path: `${folder}/nf2-qlora` },
  { name: "LoftQ, nf2", path: `${folder}/nf2` },
];
const { vocab_size: vocabulary } = JSON.parse(
  await Deno.readTextFile(`${model}/config.json`),
);
const rows: string[][] = [];
let last = 0;
for (const { name, path, out = path } of starts) {
  const tried = [];
  for (const rate of RATES) {
    tried.push(await finetune({ path, out }, rate, "valid"));
  }
  const best = tried.reduce((a, b) => b.after < a.after ? b : a);
  const { before, after, run } = await finetune(
    { path, out },
    best.rate,
    "test",
  );
  const numbers = [before, after].map((x) => x.toPrecision(4));
  rows.push([name, best.rate.toExponential(0), ...numbers]);
  last = run;
}
console.log(columns([
  ["start", "learning rate", "perplexity before", "after"],
  ...rows,
], [1, 2, 3]));
console.log(`
start: what is fine-tuned; the two quantised models are the same but for how they and their adapters begin.
learning rate: of those tried (${
  RATES.join(", ")
}), the one with the lowest perplexity on stories kept apart for that.
perplexity before: on held-out stories, untrained; lower is better, guessing has ${vocabulary}.
after: on the same stories, after training.`);

await using lm = await openLm(`${folder}/nf2/runs/${last}`, { device });
const prompt = "Anouk the singer lived near the";
const pieces = await Array.fromAsync(
  lm.generate(prompt, { maxNewTokens: 48 }),
);
const words = `${prompt}${pieces.join("")}`.split(/\s+/).slice(0, -1).join(" ");
const sentence = words.match(/^.*?[.!?](?=\s|$)/)?.[0] ?? words;
console.log(`
The 2-bit model with LoftQ's adapter, fine-tuned, goes on from "${prompt}":
  ${sentence}`);
console.log(`
Look into one:   deno task loqa inspect ${reports[0].out}
Talk to one:     deno task loqa generate ${folder}/nf2 --prompt "${prompt}"
Your own model:  deno task loqa init MODEL -o DIR`);
