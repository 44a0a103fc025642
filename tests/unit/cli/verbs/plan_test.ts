import assert from "node:assert/strict";
import { loqa } from "../../../helpers/cli.ts";
import { inFolder } from "../../../helpers/model.ts";

Deno.test("plan prints one JSON document with the costs of every method", async () => {
  const args = ["plan", "llama-7b", "--json", "--rank", "64", "--gflops", "50"];
  const { code, stdout, stderr } = await loqa(...args);
  assert.equal(code, 0, stderr);
  const document = JSON.parse(stdout);
  assert.equal(document.verb, "plan");
  assert.equal(document.model, "llama-7b");
  assert.deepEqual(Object.keys(document.methods), [
    "full",
    "lora",
    "qlora",
    "loftq",
    "qalora",
  ]);
  for (const cost of Object.values<Record<string, number>>(document.methods)) {
    assert.ok(cost.trainableParameters > 0);
    assert.ok(cost.diskBytes > 0);
    assert.ok(cost.memoryBytes > 0);
    assert.equal(cost.stepSeconds, cost.stepFlops / 50e9);
  }
});

Deno.test("plan --block is the group size, --seq-len the sequence length; --group and --seq are aliases", async () => {
  const planned = async (...args: string[]) => {
    const { code, stdout, stderr } = await loqa(
      ...["plan", "llama-7b", "--json", ...args],
    );
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const [own, aliases] = await Promise.all([
    planned("--block", "64", "--seq-len", "128"),
    planned("--group", "64", "--seq", "128"),
  ]);
  assert.deepEqual([own.group, own.sequence], [64, 128]);
  assert.deepEqual(aliases, own);
});

Deno.test("plan reads a config.json, alone or in a folder", async () => {
  await inFolder(async (folder) => {
    const place = `${folder}/config.json`;
    const write = (config: Record<string, unknown>) =>
      Deno.writeTextFile(place, JSON.stringify(config));
    await write({ model_type: "bert", vocab_size: 9, hidden_size: 0 });
    const broken = await loqa("plan", place);
    assert.equal(broken.code, 1);
    assert.match(
      broken.stderr,
      /config\.json wants a whole number >= 1 for hidden_size, got 0/,
    );
    await write({
      model_type: "bert",
      vocab_size: 9,
      hidden_size: 8,
      intermediate_size: 16,
      num_hidden_layers: 2,
      max_position_embeddings: 4,
    });
    const { code, stdout, stderr } = await loqa("plan", folder);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /\(bert\): 1,4\d\d parameters/);
    assert.match(stdout, /^qalora /m);
  });
});

Deno.test("plan takes a model, and the folder that init wrote", async () => {
  await inFolder(async (folder) => {
    const example = new URL("../../../../examples/model", import.meta.url)
      .pathname;
    const made = await loqa(
      ...["init", example, "-o", `${folder}/out`, "--rank", "2", "-q"],
      ...["--method", "qlora", "--format", "nf2", "--device", "wasm"],
    );
    assert.equal(made.code, 0, made.stderr);
    const parameters = async (...args: string[]) => {
      const { code, stdout, stderr } = await loqa("plan", ...args, "--json");
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout).parameters as number;
    };
    const wanted = await parameters(example);
    assert.equal(await parameters(`${example}/model.safetensors`), wanted);
    assert.equal(await parameters(`${folder}/out`), wanted);
    assert.equal(await parameters(`${folder}/out/backbone`), wanted);
  });
});

Deno.test("plan refuses a model of which a part or a tensor is missing, as init does", async () => {
  await inFolder(async (folder) => {
    const example = new URL("../../../../examples/model/", import.meta.url);
    const refused = async (path: string, ...words: RegExp[]) => {
      for (const verb of ["plan", "init"]) {
        const more = verb === "init" ? ["-o", `${folder}/out`, "-q"] : [];
        const { code, stdout, stderr } = await loqa(verb, path, ...more);
        assert.equal(code, 1);
        assert.equal(stdout, "");
        for (const word of words) assert.match(stderr, word);
      }
    };
    const golden = new URL("../../../golden/io/llama.gguf", import.meta.url);
    const part = `${folder}/m-00002-of-00003.gguf`;
    await Deno.copyFile(golden, part);
    await refused(part, /it is part 2 of 3 of a split model, and "m-00001-of/);

    const model = `${folder}/model`;
    await Deno.mkdir(model);
    const shard = "model-00001-of-00002.safetensors";
    await Deno.copyFile(
      new URL("model.safetensors", example),
      `${model}/${shard}`,
    );
    await Deno.copyFile(
      new URL("config.json", example),
      `${model}/config.json`,
    );
    await refused(`${model}/${shard}`, /it is part 1 of 2 of a split model/);
    await Deno.writeTextFile(
      `${model}/model.safetensors.index.json`,
      JSON.stringify({
        weight_map: {
          "model.norm.weight": shard,
          "lm_head.weight": "model-00002-of-00002.safetensors",
        },
      }),
    );
    await refused(model, /"model-00002-of-00002\.safetensors" is missing/);
    const { code, stderr } = await loqa("plan", model);
    assert.equal(code, 1);
    // The sizes of what is not there are known all the same.
    const [, config] = /\(loqa plan (\S+) plans from the config alone\)/
      .exec(stderr)!;
    assert.equal((await loqa("plan", config)).code, 0);

    await Deno.remove(`${model}/model.safetensors.index.json`);
    await Deno.rename(`${model}/${shard}`, `${model}/model.safetensors`);
    assert.equal((await loqa("plan", model)).code, 0);
    const path = `${model}/config.json`;
    const text = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(
      path,
      JSON.stringify({ ...text, intermediate_size: 100 }),
    );
    await refused(model, /whose tensors are not those of its config/);
  });
});

Deno.test("plan refuses what is no model, and widths that there are not", async () => {
  const none = await loqa("plan", "no-such-model");
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no-such-model.*llama-7b/);
  assert.equal((await loqa("plan", "llama-7b", "--bits", "5")).code, 2);
  assert.equal((await loqa("plan")).code, 2);
});
