/**
 * The main job on the model beside this file: 4, 3 and 2 bits, quantised alone and with LoftQ's factors; then fine-tuning
 * at 2 bits from three starts, and a line of text.
 *
 *     deno task demo
 */

import { openChosen } from "../src/cli/device.ts";
import type { InitReport } from "../src/init/report.ts";
import { init } from "../src/init/run.ts";
import { openCheckpoint } from "../src/io/open.ts";
import { checkpointTokenizer } from "../src/io/tokenizer.ts";
import { columns } from "../src/cli/tables.ts";
import { generate } from "../src/models/generate.ts";
import { loadCausal } from "../src/models/load.ts";
import { train, TRAIN_DEFAULTS, type TrainReport } from "../src/train/run.ts";

const here = (path: string) => new URL(path, import.meta.url).pathname;
const folder = here("../out/demo");
const model = here("model");

using device = await openChosen({ name: "auto" });
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
    }, { device, out: `${folder}/${format}` }),
  );
}

console.log(columns([
  ["bits", "format", "stored bits", "plain", "LoftQ", ""],
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
plain: mean relative error of the quantised weights; LoftQ: of the weights with the adapter of rank 16.

Written, each with backbone/, adapter/ and loqa.json:`);
for (const { out, options } of reports) {
  console.log(`  ${out}  (${options.backbone})`);
}

console.log(
  "\nFine-tuning on another world's stories, 60 steps of 4 x 128 tokens:\n",
);
const text = await Deno.readTextFile(`${model}/sea-sample.txt`);
const cut = text.lastIndexOf("\n\n", 0.9 * text.length);
await Deno.writeTextFile(`${folder}/sea-train.txt`, text.slice(0, cut));
await Deno.writeTextFile(`${folder}/sea-test.txt`, text.slice(cut));
const base = { method: "loftq", format: "nf2", rank: 16, alpha: 16 } as const;
{
  await using checkpoint = await openCheckpoint(model);
  await init(checkpoint, { ...base, method: "qlora", iterations: 0, seed: 0 }, {
    device,
    out: `${folder}/nf2-qlora`,
  });
}
const starts = [
  { name: "LoRA, full precision", path: model, out: `${folder}/lora` },
  { name: "QLoRA, nf2", path: `${folder}/nf2-qlora` },
  { name: "LoftQ, nf2", path: `${folder}/nf2` },
];
const trained: TrainReport[] = [];
for (const { path, out = path } of starts) {
  trained.push(
    await train({
      ...TRAIN_DEFAULTS,
      method: path === model ? "lora" : "adapter",
      block: 128,
      steps: 60,
      learningRate: 3e-3,
      schedule: "linear",
      order: "random",
    }, {
      device,
      path,
      out,
      data: [`${folder}/sea-train.txt`],
      evaluation: [`${folder}/sea-test.txt`],
      saveEvery: 60,
      keep: 1,
      logEvery: 1,
    }),
  );
}
console.log(columns([
  ["start", "loss before", "after", "perplexity before", "after"],
  ...trained.map(({ evaluation }, i) => [
    starts[i].name,
    evaluation!.before.toFixed(3),
    evaluation!.after.toFixed(3),
    evaluation!.perplexityBefore!.toPrecision(4),
    evaluation!.perplexityAfter!.toPrecision(4),
  ]),
], [1, 2, 3, 4]));

await using loaded = await loadCausal(device, `${folder}/nf2`);
const tokenizer = await checkpointTokenizer(loaded.checkpoint);
const prompt = "The captain";
const [tokens] = await generate(loaded.model, [tokenizer.encode(prompt)], {
  maxNewTokens: 32,
});
console.log(`
The 2-bit model with LoftQ's adapter goes on: "${prompt}${
  tokenizer.decode(tokens).split("\n")[0]
}"`);
console.log(`
Look into one:   deno task loqa inspect ${reports[0].out}
Talk to one:     deno task loqa generate ${folder}/nf2 --prompt "The mate"
Your own model:  deno task loqa init MODEL -o DIR`);
