/**
 * The main job on the model beside this file: 4, 3 and 2 bits, quantised alone and with LoftQ's factors.
 *
 *     deno task demo
 */

import { openDevice } from "../mod.ts";
import type { InitReport } from "../src/init/report.ts";
import { init } from "../src/init/run.ts";
import { openCheckpoint } from "../src/io/open.ts";
import { columns } from "../src/cli/tables.ts";

const here = (path: string) => new URL(path, import.meta.url).pathname;
const out = here("../out/demo");
const model = here("model");

using device = await openDevice("auto", { onNote: console.error });
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
    }, { device, out: `${out}/${format}` }),
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
console.log(`
Look into one:   deno task loqa inspect ${reports[0].out}
Your own model:  deno task loqa init MODEL -o DIR`);
