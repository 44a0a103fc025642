import assert from "node:assert/strict";
import { exportModel } from "../../../src/export/run.ts";
import { inFolder, writeModel } from "../../helpers/model.ts";
import { rejects } from "../io/helpers.ts";
import { OWN, writeSmallPacked } from "./helpers.ts";

Deno.test("exportModel() refuses unmerged adapters, taken places and unknown targets", () =>
  inFolder(async (folder) => {
    await writeSmallPacked(`${folder}/m/backbone`, {
      format: "int4",
      block: 32,
    });
    await Deno.writeTextFile(`${folder}/m/loqa.json`, '{"model":"none"}');
    const to = "gguf";
    const out = `${folder}/out`;
    await Deno.mkdir(`${folder}/m/adapter`);
    await rejects(
      () => exportModel(`${folder}/m`, { to, out }),
      RangeError,
      "not merged",
      `loqa merge ${folder}/m`,
    );
    await Deno.remove(`${folder}/m/adapter`);
    await rejects(
      () => exportModel(OWN, { to: "pdf", out }),
      RangeError,
      '"pdf"',
      "gguf, onnx",
    );
    await exportModel(`${folder}/m`, { to, out });
    await rejects(
      () => exportModel(`${folder}/m`, { to, out: `${out}/` }),
      RangeError,
      "there already",
    );
  }));

Deno.test("exportModel() refuses other architectures", () =>
  inFolder(async (folder) => {
    const tensors = { "embeddings.weight": { shape: [2, 2] } };
    await writeModel(`${folder}/m`, {
      config: { model_type: "bert" },
      tensors,
    });
    for (const to of ["gguf", "onnx"]) {
      await rejects(
        () => exportModel(`${folder}/m`, { to, out: `${folder}/out` }),
        TypeError,
        "llama, mistral, qwen2, qwen3, smollm3",
        "bert",
      );
    }
  }));

Deno.test("a dense model is exported as it is stored", () =>
  inFolder(async (folder) => {
    const sizes: number[] = [];
    for (const dtype of [undefined, "bf16", "f32"] as const) {
      const result = await exportModel(OWN, {
        to: "gguf",
        out: `${folder}/${dtype}.gguf`,
        dtype,
      });
      assert.deepEqual(result.layers, []);
      assert.equal(result.exact, false);
      sizes.push(result.bytes);
    }
    assert.equal(sizes[0], sizes[1], "the model is stored in bf16");
    assert.ok(sizes[2] > 1.8 * sizes[1]);
  }));

Deno.test("an export that is interrupted leaves nothing", () =>
  inFolder(async (folder) => {
    for (const to of ["gguf", "onnx"]) {
      const stop = new AbortController();
      await assert.rejects(
        () =>
          exportModel(OWN, {
            to,
            out: `${folder}/out`,
            signal: stop.signal,
            onProgress: () => stop.abort(),
          }),
        (error) => error === stop.signal.reason,
      );
      assert.deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
    }
  }));
