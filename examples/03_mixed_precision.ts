/**
 * Mixed precision: LoftQ's plans between 2 and 4 bits, and one of one's own, on the model beside this file.
 *
 *     deno run --allow-read --allow-write examples/03_mixed_precision.ts
 */

import { openDevice, planLayers } from "@loqa/loqa";
import { init } from "@loqa/loqa/init";
import { openCheckpoint } from "@loqa/loqa/files";

// A plan by itself: 32 layers at 2.5 bits are 8 at 4 bits and 24 at 2.
const modules = Array.from(
  { length: 32 },
  (_, i) => `model.layers.${i}.self_attn.q_proj`,
);
const common = { format: "nf4", rank: 16, alpha: 16 } as const;
const plan = planLayers(modules, { ...common, mixed: "bits=2.5" });
const fine = [...plan.values()].filter(({ format }) => format === "nf4").length;
console.log(`bits=2.5 of 32 layers: ${fine} in nf4, ${32 - fine} in nf2`);

using device = await openDevice();
const folder = await Deno.makeTempDir({ prefix: "loqa-" });
for (
  const mixed of ["bits=2", "bits=3", "first=3:nf4,rest=nf3", "bits=4"]
) {
  await using checkpoint = await openCheckpoint(
    new URL("model", import.meta.url).pathname,
  );
  const { summary } = await init(checkpoint, {
    ...common,
    method: "loftq",
    iterations: 5,
    mixed,
    backbone: "packed",
    rankPattern: { "down_proj": 32 },
    seed: 0,
  }, {
    device,
    out: `${folder}/${mixed.replace(/\W/g, "-")}`,
    force: true,
  });
  console.log(
    `${mixed}: ${summary.bitsPerWeight.toFixed(2)} bits a weight, error ${
      summary.meanPlainError.toFixed(4)
    } -> ${summary.meanError.toFixed(4)}`,
  );
}
console.log(`written to ${folder}`);
