import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { readAdapterFolder } from "../../../src/models/load/locate.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { openSafetensors } from "../../../src/io/safetensors/read.ts";
import { fileSource } from "../../../src/io/files/deno.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { loqa } from "../../helpers/cli.ts";
import { sentences, writeEncoder } from "../../helpers/encoders.ts";
import { inFolder, readTree } from "../../helpers/model.ts";
import { train, TRAIN_DEFAULTS } from "../../../src/train/run.ts";

async function verb(...args: string[]) {
  const { code, stdout, stderr } = await loqa(
    ...[...args, "--device", "wasm", "--json", "--quiet"],
  );
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

const WORDS = "embeddings.word_embeddings";

for (const type of ["bert", "deberta-v2"] as const) {
  Deno.test(`--quant-embedding: a table in 2 bits with factors of its own, trained and merged, ${type}`, async () => {
    await inFolder(async (folder) => {
      await writeEncoder(`${folder}/model`, type);
      await Deno.writeTextFile(`${folder}/train.tsv`, sentences(100, 0));
      const out = `${folder}/out`;
      const { layers, options } = await verb(
        ...["init", `${folder}/model`, "-o", out, "--format", "nf2"],
        ...["--rank", "3", "--quant-embedding"],
      );
      assert.equal(options.quantEmbedding, true);
      assert.equal(options.backbone, "packed");
      const [first] = layers.filter((l: { name: string }) => l.name === WORDS);
      assert.ok(first.error < first.plainError);

      await using source = await fileSource(
        `${out}/adapter/adapter_model.safetensors`,
      );
      const file = await openSafetensors(source);
      const shape = (factor: string) =>
        file.tensors.get(`base_model.model.${WORDS}.lora_embedding_${factor}`)
          ?.shape;
      assert.deepEqual([shape("A"), shape("B")], [[3, 21], [32, 3]]);
      const config = JSON.parse(
        await Deno.readTextFile(`${out}/adapter/adapter_config.json`),
      );
      assert.ok(config.target_modules.includes("word_embeddings"));

      // What the report calls the error is that of the decoded table and the factors as they are read back.
      await using before = await openCheckpoint(`${folder}/model`);
      await using backbone = await openCheckpoint(`${out}/backbone`);
      assert.equal(backbone.tensors.get(`${WORDS}.weight`)!.encoding, "nf2");
      const original = await before.readF32(`${WORDS}.weight`);
      const sum = await summed(out, WORDS);
      const norm = Math.hypot(...original);
      const error = Math.hypot(...original.map((x, i) => x - sum[i])) / norm;
      assertAllClose([error], [first.error], { rtol: 1e-4 });

      using device = await openDevice("wasm", { threads: 1 });
      const start = await readAdapterFolder(`${out}/adapter`);
      const run = {
        ...{ device, path: out, out, data: [`${folder}/train.tsv`] },
        ...{ saveEvery: 3, keep: 1, logEvery: 1 },
      };
      const how = {
        ...TRAIN_DEFAULTS,
        ...{ method: "adapter", task: "classify", dataSet: "sst2" } as const,
        ...{ steps: 6, batch: 8, block: 16, learningRate: 1e-2 },
      };
      const stop = new AbortController();
      await assert.rejects(
        train(how, {
          ...run,
          signal: stop.signal,
          onProgress: (_, text) => text.startsWith("step 3 ") && stop.abort(),
        }),
        { name: "AbortError" },
      );
      await train(how, { ...run, resume: true });
      const parts = await readTree(`${out}/adapter`);
      const end = await readAdapterFolder(`${out}/adapter`);
      const table = end.find(({ embedding }) => embedding)!;
      const prefix = type === "bert" ? "bert" : "deberta";
      assert.equal(table.module, `${prefix}.${WORDS}`);
      const earlier = start.find(({ embedding }) => embedding)!;
      assert.notDeepEqual(table.a, earlier.a);
      assert.notDeepEqual(table.b, earlier.b);
      await train(how, { ...run, resume: true });
      assert.deepEqual(await readTree(`${out}/adapter`), parts);

      await verb(
        ...["merge", out, "-o", `${folder}/merged`, "--dtype", "f32"],
      );
      await using merged = await openCheckpoint(`${folder}/merged`);
      assertAllClose(
        await merged.readF32(`${prefix}.${WORDS}.weight`),
        await summed(out, WORDS),
        { atol: 1e-5 },
      );
    });
  });
}

/** The decoded table of a folder with what its adapter adds. */
async function summed(out: string, name: string): Promise<Float64Array> {
  await using backbone = await openCheckpoint(`${out}/backbone`);
  const sum = Float64Array.from(await backbone.readF32(`${name}.weight`));
  const factors = await readAdapterFolder(`${out}/adapter`);
  const { a, b, rank, scaling } = factors.find((f) => f.embedding)!;
  const features = a.length / rank;
  for (let i = 0; i < sum.length; i++) {
    for (let r = 0; r < rank; r++) {
      sum[i] += scaling * b[Math.floor(i / features) * rank + r] *
        a[r * features + i % features];
    }
  }
  return sum;
}

Deno.test("--quant-embedding: what it does not go with", async () => {
  await inFolder(async (folder) => {
    await writeEncoder(`${folder}/model`, "bert");
    const failing = async (...args: string[]) => {
      const { code, stderr } = await loqa(
        ...["init", `${folder}/model`, "-o", `${folder}/out`, "--quiet"],
        ...["--device", "wasm", "--quant-embedding", ...args],
      );
      assert.ok(code > 0);
      return stderr;
    };
    assert.match(
      await failing("--backbone", "bnb"),
      /Cannot write embeddings\.word_embeddings for bitsandbytes: it holds no embeddings; wanted --backbone packed or dense/,
    );
    assert.match(
      await failing("--method", "qalora"),
      /--quant-embedding is not for qalora/,
    );
    const example = new URL("../../../examples/model", import.meta.url);
    const { code, stderr } = await loqa(
      ...["init", example.pathname, "-o", `${folder}/out`, "--quiet"],
      ...["--device", "wasm", "--quant-embedding"],
    );
    assert.equal(code, 1);
    assert.match(stderr, /wanted embeddings\.word_embeddings, as BERT/);
  });
});
