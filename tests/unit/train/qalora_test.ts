import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { init } from "../../../src/init/run.ts";
import { openAdapter, openCheckpoint } from "../../../src/io/open.ts";
import { readAdapterFolder } from "../../../src/models/load/locate.ts";
import {
  train,
  TRAIN_DEFAULTS,
  type TrainRun,
} from "../../../src/train/run.ts";
import { inFolder, readTree } from "../../helpers/model.ts";

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;
const OPTIONS = {
  ...TRAIN_DEFAULTS,
  method: "adapter",
  steps: 6,
  block: 24,
  batch: 2,
  learningRate: 1e-2,
  dropout: 0.2,
} as const;

/** Trains in a copy of the initialised `folder/start`; stops after the step `until`. */
async function run(
  folder: string,
  name: string,
  { until, ...more }: { until?: number } & Partial<TrainRun> = {},
): Promise<string> {
  const out = `${folder}/${name}`;
  const stop = new AbortController();
  using device = await openDevice("wasm", { threads: 1 });
  const done = train(OPTIONS, {
    device,
    path: out,
    out,
    data: [`${EXAMPLE}/train-sample.txt`],
    saveEvery: 100,
    keep: 1,
    logEvery: 1,
    signal: stop.signal,
    onProgress: (_, text) => {
      if (text.startsWith(`step ${until} `)) stop.abort();
    },
    ...more,
  });
  if (until === undefined) await done;
  else await assert.rejects(done, { name: "AbortError" });
  return out;
}

/** The whole model in int3, whose 320 inputs of `down_proj` make ten groups: A does not survive PEFT's form to the bit. */
async function initialise(folder: string, names: string[]): Promise<void> {
  using device = await openDevice("wasm", { threads: 1 });
  await using checkpoint = await openCheckpoint(EXAMPLE);
  for (const name of names) {
    await init(checkpoint, {
      method: "qalora",
      format: "int3",
      rank: 3,
      alpha: 6,
      iterations: 1,
      seed: 0,
    }, { device, out: `${folder}/${name}` });
  }
}

const adapterBytes = (out: string) =>
  Deno.readFile(`${out}/adapter/adapter_model.safetensors`);

Deno.test("training QA-LoRA: stopped and resumed, and told again after its end, the bytes are the same", () =>
  inFolder(async (folder) => {
    await initialise(folder, ["whole", "cut"]);
    const start = await readAdapterFolder(`${folder}/whole/adapter`);
    const whole = await run(folder, "whole");
    const cut = await run(folder, "cut", { until: 3 });
    const [checkpoint] = await Array.fromAsync(
      Deno.readDir(`${cut}/runs/1/checkpoints`),
    );
    await using kept = await openAdapter(
      `${cut}/runs/1/checkpoints/${checkpoint.name}`,
    );
    assert.deepEqual(kept.settings.qalora, { group: 32, pooling: "sum" });
    await run(folder, "cut", { resume: true });
    assert.deepEqual(await adapterBytes(cut), await adapterBytes(whole));
    const before = await readTree(`${cut}/adapter`);
    await run(folder, "cut", { resume: true });
    assert.deepEqual(await readTree(`${cut}/adapter`), before);

    await using adapter = await openAdapter(`${whole}/adapter`);
    assert.deepEqual(adapter.settings.qalora, { group: 32, pooling: "peft" });
    const end = await readAdapterFolder(`${whole}/adapter`);
    for (const [i, { module, a, b, group }] of end.entries()) {
      assert.deepEqual([module, group], [start[i].module, 32]);
      assert.notDeepEqual(a, start[i].a);
      assert.notDeepEqual(b, start[i].b);
    }
  }));
