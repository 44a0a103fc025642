import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { exportModel } from "../../../src/export/run.ts";
import { init } from "../../../src/init/run.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { mergeExact } from "../../../src/merge/exact.ts";
import { train, TRAIN_DEFAULTS } from "../../../src/train/run.ts";
import { inFolder } from "../../helpers/model.ts";
import { withTrainable } from "../../faults/train_work.ts";
import { inHalves, writeSmallPacked } from "../export/helpers.ts";

const device = await openDevice("wasm", { threads: 1 });

/** Paths of files that were opened for reading while `work` was done, but for those of which a mark was taken. */
async function opened(work: () => Promise<unknown>): Promise<string[]> {
  const paths: string[] = [];
  const { open } = Deno;
  Deno.open = (path, options) => {
    const marks = new Error().stack?.includes("/output/marks.ts");
    if (options?.read && !options.write && !marks) paths.push(`${path}`);
    return open(path, options);
  };
  try {
    await work();
  } finally {
    Deno.open = open;
  }
  return paths;
}

Deno.test("a training opens its model and its adapter once, and takes the model's context for a length", () =>
  withTrainable(async (folder) => {
    const out = `${folder}/out`;
    await using model = await openCheckpoint(`${folder}/model`);
    await init(model, {
      ...{ method: "qlora", format: "nf4", rank: 2, alpha: 2 },
      ...{ iterations: 0, seed: 0 },
    }, { device, out });
    const paths = await opened(() =>
      train({
        ...{ ...TRAIN_DEFAULTS, block: undefined },
        ...{ method: "adapter", steps: 1, batch: 1 },
      }, {
        ...{ device, path: out, out, data: [`${folder}/data.txt`] },
        ...{ saveEvery: 1, logEvery: 1, keep: 1 },
      })
    );
    const report = await Deno.readTextFile(`${out}/runs/1/loqa.json`);
    assert.equal(JSON.parse(report).options.block, 64);
    const of = (file: string) => paths.filter((path) => path.endsWith(file));
    assert.equal(of("/backbone/model.safetensors").length, 1);
    assert.equal(of("/adapter_model.safetensors").length, 1);
  }));

Deno.test("an export opens the GGUF file that a model came from once, and a GGUF file itself once", () =>
  inFolder(async (folder) => {
    const wide = `${folder}/wide`;
    await writeSmallPacked(wide, {
      ...{ format: "int4", block: 32, change: inHalves },
    });
    const original = `${folder}/original.gguf`;
    await exportModel(wide, { to: "gguf", out: original });
    const packed = `${folder}/packed`;
    await using file = await openCheckpoint(original);
    await mergeExact(file, { out: packed, factors: [] });
    for (const [i, from] of [packed, original].entries()) {
      const paths = await opened(async () => {
        const { notes } = await exportModel(from, {
          ...{ to: "gguf", out: `${folder}/${i}.gguf`, original },
        });
        assert.match(notes.join(), /copied from .*original\.gguf/);
      });
      assert.equal(paths.filter((path) => path === original).length, 1);
    }
  }));
