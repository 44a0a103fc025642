import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { answerClasses } from "../../../src/eval/answer.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { ofKind } from "../../../src/models/families.ts";
import { loadModel } from "../../../src/models/load/load.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { loqa } from "../../helpers/cli.ts";
import { sentences, writeEncoder } from "../../helpers/encoders.ts";
import { inFolder } from "../../helpers/model.ts";

const IDS = [[2, 8, 13, 5, 17, 3], [2, 20, 9, 3], [2, 4, 4, 14, 15, 3]];

async function logitsOf(path: string): Promise<number[]> {
  using device = await openDevice("wasm", { threads: 1 });
  await using loaded = await loadModel(device, path, { compute: "f32" });
  const rows = await answerClasses(
    ofKind(loaded.model, "encoder", "compare"),
    IDS.map((row) => ({ tokens: Int32Array.from(row) })),
  );
  return rows.flatMap((row) => [...row]);
}

for (const type of ["bert", "deberta-v2"] as const) {
  Deno.test(`QA-LoRA of an encoder with a head merges exactly: ${type}`, async () => {
    await inFolder(async (folder) => {
      await writeEncoder(`${folder}/model`, type);
      await Deno.writeTextFile(`${folder}/train.tsv`, sentences(100, 0));
      const verb = async (...args: string[]) => {
        const { code, stdout, stderr } = await loqa(
          ...[...args, "--device", "wasm", "--json", "--quiet"],
        );
        assert.equal(code, 0, stderr);
        return JSON.parse(stdout);
      };
      const [out, merged] = [`${folder}/out`, `${folder}/merged`];
      await verb(
        ...["init", `${folder}/model`, "-o", out, "--method", "qalora"],
        ...["--format", "int4", "--block", "32", "--rank", "2"],
      );
      await verb(
        ...["train", out, "--task", "classify", "--data-set", "sst2"],
        ...["--data", `${folder}/train.tsv`, "--steps", "20", "--batch", "8"],
        ...["--block", "16", "--lr", "0.01"],
      );
      const { exact, layers, forward } = await verb(
        ...["merge", out, "-o", merged],
      );
      assert.equal(exact, true);
      assert.equal(layers.length, 12);
      assert.deepEqual([forward.of, forward.agreement], ["random", 1]);
      assert.ok(forward.maxDifference < 1e-4, `${forward.maxDifference}`);
      assertAllClose(await logitsOf(merged), await logitsOf(out), {
        atol: 1e-4,
      });
      await using backbone = await openCheckpoint(`${merged}/backbone`);
      const { id2label, architectures } = backbone.config;
      assert.deepEqual(id2label, { 0: "negative", 1: "positive" });
      assert.match(String(architectures), /ForSequenceClassification$/);
      assert.equal(backbone.tensors.get("classifier.weight")!.encoding, "F32");
    });
  });
}
