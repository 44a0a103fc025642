import assert from "node:assert/strict";
import { exportModel } from "../../../src/export/run.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { writeTrainable } from "../../faults/train_work.ts";
import { inFolder, safetensorsBytes } from "../../helpers/model.ts";

const HEAD = "lm_head.weight";
const TABLE = "model.embed_tokens.weight";

/** Writes a model whose config says tied beside a head that differs, or is the table's copy. */
async function writeTied(folder: string, differs: boolean): Promise<void> {
  await writeTrainable(folder, { "intermediate_size": 64 });
  const tensors: Record<
    string,
    { shape: readonly number[]; values: Float32Array }
  > = {};
  {
    await using plain = await openCheckpoint(folder);
    for (const { name, shape } of plain.tensors.values()) {
      tensors[name] = { shape, values: await plain.readF32(name) };
    }
  }
  const { shape, values } = tensors[TABLE];
  tensors[HEAD] = { shape, values: values.map((x) => differs ? x / 2 : x) };
  await Deno.writeFile(
    `${folder}/model.safetensors`,
    await safetensorsBytes(tensors),
  );
}

for (const differs of [true, false]) {
  Deno.test(`GGUF of a model whose config says tied, with a head that ${differs ? "differs" : "is the table's copy"}, and read again`, () =>
    inFolder(async (folder) => {
      await writeTied(`${folder}/model`, differs);
      const path = `${folder}/model`;
      const out = `${folder}/out.gguf`;
      await exportModel(path, { to: "gguf", out, dtype: "f32" });
      await using model = await openCheckpoint(path);
      await using made = await openCheckpoint(out);
      for (const checkpoint of [model, made]) {
        assert.equal(checkpoint.config.tie_word_embeddings, !differs);
        assert.equal(checkpoint.tensors.has(HEAD), differs);
      }
      const head = differs ? HEAD : TABLE;
      assert.deepEqual(await made.readF32(head), await model.readF32(head));
    }));
}
