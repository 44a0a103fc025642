import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { loadModel, ofKind, write } from "../../../src/models/load/load.ts";
import { writeOptions } from "../../../src/models/generate/seq2seq.ts";
import { TRAIN_DEFAULTS } from "../../../src/train/options.ts";
import { findSubject } from "../../../src/train/trainable.ts";
import { bartCheckpoint, models, writeBart } from "../../golden/bart/data.ts";
import { inFolder } from "../../helpers/model.ts";

Deno.test("findSubject(): a whole BART is written with the bias of its head, which is not trained", async () => {
  const row = models.find(({ headBias }) => headBias)!;
  await inFolder(async (folder) => {
    await using before = await bartCheckpoint(row);
    await writeBart(`${folder}/model`, row);
    using device = await openDevice("reference");
    await using found = await findSubject({ model: `${folder}/model` }, {
      options: { ...TRAIN_DEFAULTS, method: "full", task: "seq2seq" },
    });
    await using subject = await found.load(device);
    const bias = "final_logits_bias";
    assert.ok(!subject.parameters.parameters.has(bias));
    await subject.write(`${folder}/trained`);
    await using after = await openCheckpoint(`${folder}/trained`);
    assert.deepEqual(after.tensors.get(bias)?.shape, [1, 30]);
    assert.deepEqual(await after.readF32(bias), await before.readF32(bias));
    await using loaded = await loadModel(device, `${folder}/trained`);
    const { sources, runs: [{ settings, written }] } = row.generate;
    assert.deepEqual(
      await write(ofKind(loaded.model, "seq2seq", "write"), sources, {
        ...writeOptions(after),
        ...settings,
      }),
      written,
    );
  });
});
