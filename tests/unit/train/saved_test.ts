import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { openAdapter, openCheckpoint } from "../../../src/io/open.ts";
import { findTargets } from "../../../src/init/targets.ts";
import { familyOf } from "../../../src/models/families.ts";
import { loadModel } from "../../../src/models/load/load.ts";
import { blockLinears } from "../../../src/train/lora_targets.ts";
import {
  train,
  TRAIN_DEFAULTS,
  type TrainOptions,
  type TrainReport,
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
  steps: 20,
  batch: 8,
  block: 16,
  rank: 2,
  learningRate: 1e-2,
} as const satisfies TrainOptions;

async function withData(
  type: "bert" | "deberta-v2",
  work: (folder: string) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    await writeEncoder(`${folder}/model`, type);
    await Deno.writeTextFile(`${folder}/train.tsv`, sentences(160, 0));
    await Deno.writeTextFile(`${folder}/dev.tsv`, sentences(64, 1));
    await work(folder);
  });
}

async function run(
  folder: string,
  options: Partial<TrainOptions>,
  more: { path: string; out: string } & Partial<TrainRun>,
): Promise<TrainReport> {
  using device = await openDevice("wasm", { threads: 1 });
  return await train({ ...OPTIONS, ...options }, {
    device,
    data: [`${folder}/train.tsv`],
    evaluation: [`${folder}/dev.tsv`],
    ...{ saveEvery: 1000, keep: 1, logEvery: 1 },
    ...more,
  });
}

/** Names that an adapter holds in full, and what its settings say of them. */
async function heldBy(folder: string) {
  await using adapter = await openAdapter(folder);
  const { bias, modules_to_save: saved } = adapter.config;
  const names = [...adapter.others.keys()]
    .map((name) => name.replace("base_model.model.", "")).sort();
  return { bias, saved, names };
}

const HEAD = ["classifier.bias", "classifier.weight"];
const QUERY = "bert.encoder.layer.0.attention.self.query.base_layer.bias";
const NORM = "bert.encoder.layer.0.output.LayerNorm.bias";

const CASES: Record<string, {
  options: Partial<TrainOptions>;
  /** Tensors beside the classifier and the pooler, which the model has. */
  others: (names: string[]) => boolean;
  bias: string;
  saved: string[];
}> = {
  "nothing else": {
    options: {},
    others: (names) => names.length === 0,
    bias: "none",
    saved: ["classifier"],
  },
  "all biases": {
    options: { biases: "all" },
    // Two layers of six linear ones and two norms, the embeddings' norm, the pooler.
    others: (names) =>
      names.length === 2 * 8 + 2 && names.includes(QUERY) &&
      names.includes(NORM),
    bias: "all",
    saved: ["classifier"],
  },
  "the biases of adapted layers": {
    options: { biases: "lora_only", targets: ["query", "value"] },
    others: (names) => names.length === 2 * 2 && names.includes(QUERY),
    bias: "lora_only",
    saved: ["classifier"],
  },
  "another module": {
    options: { modulesToSave: ["embeddings.LayerNorm"], targets: ["query"] },
    others: (names) =>
      names.join() ===
        "bert.embeddings.LayerNorm.bias,bert.embeddings.LayerNorm.weight",
    bias: "none",
    saved: ["classifier", "embeddings.LayerNorm"],
  },
};

for (const [what, { options, others, bias, saved }] of Object.entries(CASES)) {
  Deno.test(`beside a classifier ${what}: what was trained is what is written, and goes on`, async () => {
    await withData("bert", async (folder) => {
      // A model with a pooler of its own, as BERT is stored.
      const start = `${folder}/start`;
      await run(folder, { method: "full", steps: 1 }, {
        path: `${folder}/model`,
        out: start,
      });
      const model = `${start}/backbone`;
      const out = `${folder}/out`;
      const first = await run(folder, options, { path: model, out });
      const held = await heldBy(`${out}/adapter`);
      const rest = held.names.filter((name) => !HEAD.includes(name));
      assert.ok(others(rest), rest.join());
      assert.equal(held.bias, bias);
      assert.deepEqual(held.saved, saved);

      // Trained on without a word of it: the same tensors, from where they were.
      const again = await run(
        folder,
        { method: "adapter", steps: 2, learningRate: 1e-4 },
        { path: out, out },
      );
      assert.equal(again.evaluation!.before, first.evaluation!.after);
      assert.equal(
        again.evaluation!.accuracyBefore,
        first.evaluation!.accuracyAfter,
      );
      assert.ok(again.evaluation!.after !== again.evaluation!.before);
      assert.deepEqual(await heldBy(`${out}/adapter`), held);
    });
  });
}

Deno.test("an adapter with a new head: told again after its end, the bytes are the same", async () => {
  await withData("deberta-v2", async (folder) => {
    const { code, stderr } = await loqa(
      ...["init", `${folder}/model`, "-o", `${folder}/q`, "--rank", "2"],
      ...["--format", "nf4", "--device", "wasm", "--quiet"],
    );
    assert.equal(code, 0, stderr);
    const place = { path: `${folder}/q`, out: `${folder}/q` };
    const options = { method: "adapter", steps: 80 } as const;
    const report = await run(folder, options, place);
    assert.ok(report.evaluation!.accuracyAfter! > 0.9);
    const told = (await Deno.readTextFile(`${folder}/q/runs/1/metrics.jsonl`))
      .trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(told.at(-1).accuracy, report.evaluation!.accuracyAfter);
    const before = await readTree(`${folder}/q/adapter`);
    await run(folder, options, { ...place, resume: true });
    assert.deepEqual(await readTree(`${folder}/q/adapter`), before);
    const { names, saved } = await heldBy(`${folder}/q/adapter`);
    assert.deepEqual(names, [
      ...HEAD,
      "pooler.dense.bias",
      "pooler.dense.weight",
    ]);
    assert.deepEqual(saved, ["classifier", "pooler"]);
  });
});

Deno.test("a number is learnt where there is one label", async () => {
  await withData("bert", async (folder) => {
    const rated = (seed: number) =>
      sentences(160, seed).replaceAll("\t1", "\t4.5").replaceAll(
        "\t0",
        "\t1.5",
      );
    await Deno.writeTextFile(`${folder}/train.tsv`, rated(0));
    await Deno.writeTextFile(`${folder}/dev.tsv`, rated(1));
    const { code, stdout, stderr } = await loqa(
      ...[
        "train",
        `${folder}/model`,
        "-o",
        `${folder}/out`,
        "--device",
        "wasm",
      ],
      ...["--task", "classify", "--labels", "1", "--data"],
      ...[
        `${folder}/train.tsv`,
        "--eval",
        `${folder}/dev.tsv`,
        "--block",
        "16",
      ],
      ...[
        "--steps",
        "200",
        "--batch",
        "8",
        "--lr",
        "0.01",
        "--json",
        "--quiet",
      ],
    );
    assert.equal(code, 0, stderr);
    const { evaluation } = JSON.parse(stdout);
    // The mean alone would be off by 1.5.
    assert.ok(evaluation.before > 5 && evaluation.after < 0.5, stdout);
    assert.equal(evaluation.accuracyAfter, undefined);
    using device = await openDevice("wasm", { threads: 1 });
    await using loaded = await loadModel(device, `${folder}/out`);
    assert.ok(loaded.model.kind === "encoder");
    assert.deepEqual(loaded.model.head, { kind: "classify", labels: 1 });
    assert.equal(loaded.checkpoint.config.problem_type, "regression");
  });
});

Deno.test("modules and labels that do not fit are refused", async () => {
  await withData("bert", async (folder) => {
    const place = { path: `${folder}/model`, out: `${folder}/out` };
    const cases: [Partial<TrainOptions>, RegExp][] = [
      [{ modulesToSave: ["score"] }, /no module is called score$/],
      [
        { modulesToSave: ["output.dense"] },
        /^Cannot train bert\.encoder\.layer\.0\.\S*output\.dense\.weight of .* in full: the adapter has factors for it$/,
      ],
    ];
    for (const [options, message] of cases) {
      await assert.rejects(run(folder, options, place), {
        name: "RangeError",
        message,
      });
    }
    await run(folder, { steps: 1 }, place);
    await assert.rejects(
      run(folder, { method: "adapter", labels: ["a", "b", "c"] }, {
        path: place.out,
        out: place.out,
      }),
      /3 labels are wanted \(a, b, c\), its head has 2 \(negative, positive\)$/,
    );
  });
});

Deno.test("the settings of a new adapter name its layers and no others, as PEFT reads them", async () => {
  await withData("bert", async (folder) => {
    const targetsOf = async (targets?: string[]) => {
      const out = `${folder}/${targets?.join() ?? "all"}`;
      await run(folder, { steps: 1, targets }, {
        path: `${folder}/model`,
        out,
      });
      await using adapter = await openAdapter(`${out}/adapter`);
      return [adapter.settings.targetModules, adapter.modules.size] as const;
    };
    assert.deepEqual(await targetsOf(["query"]), [["query"], 2]);
    const layer = (i: number) => `bert.encoder.layer.${i}.attention.self`;
    assert.deepEqual(await targetsOf(["query|value"]), [
      [0, 1].flatMap((i) => [`${layer(i)}.query`, `${layer(i)}.value`]),
      4,
    ]);
    // The pooler has a layer called dense as well, which is none of theirs.
    const [all, count] = await targetsOf();
    assert.equal(all.length, count);
    assert.ok(!all.includes("dense"));
  });
});

for (const type of ["bert", "deberta-v2"] as const) {
  Deno.test(`a new adapter is put on the linear layers that init quantises: ${type}`, async () => {
    await inFolder(async (folder) => {
      await writeEncoder(`${folder}/model`, type);
      await using checkpoint = await openCheckpoint(`${folder}/model`);
      using device = await openDevice("reference");
      const family = familyOf(checkpoint);
      using model = await family.load(device, checkpoint, {});
      const linears = blockLinears(family.tensors(checkpoint))
        .map(({ module }) => module).sort();
      assert.deepEqual(linears, [...model.linears.keys()].sort());
      const targets = findTargets(checkpoint).map(({ module }) => module);
      assert.deepEqual(targets.sort(), linears);
    });
  });
}
