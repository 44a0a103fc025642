import assert from "node:assert/strict";
import { loqa } from "../helpers/cli.ts";
import { inFolder } from "../helpers/model.ts";

const EXAMPLE = new URL("../../examples/model", import.meta.url).pathname;

Deno.test("loqa train: a padding token that the model's vocabulary lacks changes nothing", () =>
  inFolder(async (folder) => {
    const model = `${folder}/model`;
    await Deno.mkdir(model);
    for await (const { name } of Deno.readDir(EXAMPLE)) {
      await Deno.copyFile(`${EXAMPLE}/${name}`, `${model}/${name}`);
    }
    const data = `${folder}/data.jsonl`;
    const records = ["The flag.", "The judge is a horse, and more of it."]
      .map((completion) => JSON.stringify({ prompt: "Who? ", completion }));
    await Deno.writeTextFile(data, records.join("\n"));
    const loss = async (out: string) => {
      const { code, stdout, stderr } = await loqa(
        ...["train", model, "--data", data, "--task", "sft", "--json", "-q"],
        ...["--batch", "2", "--steps", "1", "-o", `${folder}/${out}`],
        ...["--device", "wasm", "--threads", "1"],
      );
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout).loss as number;
    };
    const plain = await loss("plain");
    const file = `${model}/tokenizer_config.json`;
    const config = JSON.parse(await Deno.readTextFile(file));
    await Deno.writeTextFile(
      file,
      JSON.stringify({ ...config, "pad_token": "[PAD]" }),
    );
    assert.equal(await loss("padded"), plain);
  }));
