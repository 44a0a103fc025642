import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { openTasks } from "../../../src/eval/open_task.ts";
import { runTask } from "../../../src/eval/run_task.ts";
import { openAdapter } from "../../../src/io/open.ts";
import { checkpointTokenizer } from "../../../src/io/open_tokenizer.ts";
import { labelNames } from "../../../src/models/encoder/head_config.ts";
import { loadModel } from "../../../src/models/load/load.ts";
import {
  train,
  TRAIN_DEFAULTS,
  type TrainOptions,
  type TrainRun,
} from "../../../src/train/run.ts";
import { loqa } from "../../helpers/cli.ts";
import { sentences, writeEncoder } from "../../helpers/encoders.ts";
import { inFolder, readTree } from "../../helpers/model.ts";

const OPTIONS = {
  ...TRAIN_DEFAULTS,
  method: "lora",
  task: "classify",
  dataSet: "sst2",
  steps: 200,
  batch: 16,
  block: 16,
  rank: 4,
  learningRate: 5e-3,
} as const satisfies TrainOptions;

async function withModel(
  type: "bert" | "deberta-v2",
  work: (folder: string) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    await writeEncoder(`${folder}/model`, type);
    await Deno.writeTextFile(`${folder}/train.tsv`, sentences(800, 0));
    await Deno.writeTextFile(`${folder}/dev.tsv`, sentences(80, 1));
    await work(folder);
  });
}

async function run(
  folder: string,
  out: string,
  { options = {}, ...more }:
    & { options?: Partial<TrainOptions> }
    & Partial<TrainRun> = {},
) {
  using device = await openDevice("wasm", { threads: 1 });
  return await train({ ...OPTIONS, ...options }, {
    device,
    path: `${folder}/model`,
    out: `${folder}/${out}`,
    data: [`${folder}/train.tsv`],
    ...{ saveEvery: 1000, keep: 1, logEvery: 1 },
    ...more,
  });
}

async function accuracy(folder: string, path: string): Promise<number> {
  using device = await openDevice("wasm", { threads: 1 });
  await using loaded = await loadModel(device, `${folder}/${path}`);
  const { model, checkpoint } = loaded;
  assert.equal(model.kind, "encoder");
  const tokenizer = await checkpointTokenizer(checkpoint);
  const [task] = await openTasks("glue", `${folder}/dev.tsv`, {
    ...{ tokenizer, context: 16, block: 16, glue: "sst2" },
    labels: labelNames(checkpoint.config, 2),
  });
  const { metrics, count } = await runTask(model, task, {
    decode: () => "",
    stop: [],
  });
  assert.equal(count, 80);
  return metrics.accuracy;
}

for (const type of ["bert", "deberta-v2"] as const) {
  Deno.test(`a new head and an adapter learn classes: ${type}`, async () => {
    await withModel(type, async (folder) => {
      const report = await run(folder, "out", {
        evaluation: [`${folder}/dev.tsv`],
      });
      assert.ok(report.evaluation!.after < 0.3 * report.evaluation!.before);
      assert.equal(report.evaluation!.perplexityAfter, undefined);
      assert.ok(await accuracy(folder, "out") > 0.95);

      await using adapter = await openAdapter(`${folder}/out/adapter`);
      assert.equal(adapter.config.task_type, "SEQ_CLS");
      const prefix = type === "bert" ? "bert" : "deberta";
      for (const module of adapter.modules.keys()) {
        assert.ok(module.startsWith(`${prefix}.encoder.layer.`), module);
      }
      const others = [...adapter.others.keys()].sort();
      const pooler = type === "bert" ? "bert.pooler" : "pooler";
      assert.deepEqual(
        others,
        ["classifier", `${pooler}.dense`].flatMap((module) =>
          ["bias", "weight"].map((part) => `base_model.model.${module}.${part}`)
        ).sort(),
      );
      assert.deepEqual(adapter.config.modules_to_save, [
        "classifier",
        "pooler",
      ]);
      const told = JSON.parse(
        await Deno.readTextFile(`${folder}/out/loqa.json`),
      );
      assert.deepEqual(told.head, {
        kind: "classify",
        labels: ["negative", "positive"],
      });

      const merged = await loqa(
        ...["merge", `${folder}/out`, "-o", `${folder}/merged`, "--quiet"],
        ...["--dtype", "f32", "--device", "wasm"],
      );
      assert.equal(merged.code, 0, merged.stderr);
      const config = JSON.parse(
        await Deno.readTextFile(`${folder}/merged/config.json`),
      );
      assert.deepEqual(config.id2label, { 0: "negative", 1: "positive" });
      assert.match(config.architectures[0], /ForSequenceClassification$/);
      assert.ok(await accuracy(folder, "merged") > 0.95);
    });
  });
}

Deno.test("an encoder's training that broke off ends with the same bytes", async () => {
  await withModel("bert", async (folder) => {
    const options = { steps: 12, biases: "all", dropout: 0.1 } as const;
    await run(folder, "whole", { options });
    const stop = new AbortController();
    await assert.rejects(
      run(folder, "parts", {
        options,
        signal: stop.signal,
        onProgress: (_, text) => {
          if (text.startsWith("step 5 ")) stop.abort();
        },
      }),
      { name: "AbortError" },
    );
    await run(folder, "parts", { options, resume: true });
    const [a, b] = await Promise.all(
      ["whole", "parts"].map((out) => readTree(`${folder}/${out}/adapter`)),
    );
    assert.deepEqual(b, a);
    await using adapter = await openAdapter(`${folder}/whole/adapter`);
    assert.equal(adapter.config.bias, "all");
    assert.ok(
      adapter.others.has(
        "base_model.model.bert.encoder.layer.0.attention.self.query.base_layer.bias",
      ),
    );
    assert.ok(await accuracy(folder, "whole") >= 0.4);
  });
});

Deno.test("all weights of an encoder are trained and written with their head", async () => {
  await withModel("bert", async (folder) => {
    const options = { method: "full", learningRate: 2e-3 } as const;
    await run(folder, "out", { options });
    assert.ok(await accuracy(folder, "out") > 0.95);
    const config = JSON.parse(
      await Deno.readTextFile(`${folder}/out/backbone/config.json`),
    );
    assert.deepEqual(config.architectures, ["BertForSequenceClassification"]);
  });
});

Deno.test("a model is trained by the tasks of its kind, with as many classes as the data have", async () => {
  await withModel("bert", async (folder) => {
    await assert.rejects(
      run(folder, "a", { options: { task: "lm" } }),
      /by the task "lm": a model of type bert is trained by classify or qa/,
    );
    await run(folder, "b", { options: { steps: 1 } });
    await Deno.writeTextFile(
      `${folder}/three.tsv`,
      "the film\tgood\na story\tbad\nvery cold\tother\n",
    );
    await assert.rejects(
      run(folder, "b", {
        path: `${folder}/b`,
        data: [`${folder}/three.tsv`],
        options: { method: "adapter", dataSet: undefined },
      }),
      /label "good"/,
    );
    const { code, stderr } = await loqa(
      ...["eval", `${folder}/model`, "--task", "glue", "--glue-task", "sst2"],
      ...["--data", `${folder}/dev.tsv`, "--quiet", "--device", "wasm"],
    );
    assert.equal(code, 1);
    assert.match(stderr, /wanted a model with a head for classes, got none/);
  });
});
