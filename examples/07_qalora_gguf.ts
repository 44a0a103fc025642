/**
 * QA-LoRA from a model to a file for llama.cpp: quantise to int4, train in integers, merge exactly, export.
 *
 *     deno run --allow-read --allow-write --allow-env=XDG_RUNTIME_DIR examples/07_qalora_gguf.ts [MODEL [DATA [OUT]]]
 */

import { openDevice } from "@loqa/loqa";
import { exportModel } from "@loqa/loqa/export";
import { openCheckpoint } from "@loqa/loqa/files";
import { init } from "@loqa/loqa/init";
import { merge } from "@loqa/loqa/merge";
import { train, TRAIN_DEFAULTS } from "@loqa/loqa/train";

const here = (path: string) => new URL(path, import.meta.url).pathname;
const [model = here("model"), data = here("model/train-sample.txt"), out] =
  Deno.args;
const work = out ?? await Deno.makeTempDir({ prefix: "loqa-" });
const [dir, merged, gguf] = ["int4", "merged", "model.gguf"].map((name) =>
  `${work}/${name}`
);

using device = await openDevice();
{
  await using checkpoint = await openCheckpoint(model);
  const { summary } = await init(checkpoint, {
    ...{ method: "qalora", format: "int4", block: 32 },
    ...{ rank: 16, alpha: 16, iterations: 0, seed: 0 },
  }, { device, out: dir });
  console.log(`${summary.bitsPerWeight.toFixed(2)} bits a weight`);
}

const { loss } = await train({
  ...{ ...TRAIN_DEFAULTS, method: "adapter", compute: "int8" },
  ...{ block: 128, steps: 10, learningRate: 1e-3 },
}, {
  device,
  path: dir,
  out: dir,
  data: [data],
  saveEvery: 10,
  keep: 1,
  logEvery: 1,
});
console.log(`trained, loss ${loss.toFixed(3)}`);

const { exact, maxDifference } = await merge(dir, { out: merged, device });
console.log(`merged, exact: ${exact}, logits differ by ${maxDifference}`);

const { layers, rounding, bytes } = await exportModel(merged, {
  to: "gguf",
  out: gguf,
});
console.log(
  `${gguf}: ${layers.length} quantised layers, ${
    (bytes / 1e3).toFixed(0)
  } kB, codes as trained, scales and biases rounded by ${
    (rounding.mean * 100).toFixed(2)
  } % of a step in the mean`,
);
