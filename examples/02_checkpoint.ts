/**
 * A whole checkpoint: what `loqa init` does, from a program.
 *
 *     deno run --allow-read --allow-write examples/02_checkpoint.ts [MODEL [OUT]]
 */

import { openDevice } from "@loqa/loqa";
import { init } from "@loqa/loqa/init";
import { openCheckpoint } from "@loqa/loqa/files";

const model = Deno.args[0] ?? new URL("model", import.meta.url).pathname;
const out = Deno.args[1] ??
  `${await Deno.makeTempDir({ prefix: "loqa-" })}/nf4`;

using device = await openDevice();
await using checkpoint = await openCheckpoint(model);
const { summary, layers } = await init(checkpoint, {
  method: "loftq",
  format: "nf4",
  rank: 8,
  alpha: 16,
  iterations: 5,
  seed: 0,
}, { device, out, force: true });

const worst = layers.toSorted((a, b) => b.error - a.error)[0];
console.log(
  `${summary.layers} layers: ${summary.meanPlainError.toFixed(4)} -> ${
    summary.meanError.toFixed(4)
  }, worst ${worst.name} (${worst.error.toFixed(4)})\nwritten to ${out}`,
);
