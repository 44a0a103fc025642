import assert from "node:assert/strict";
import { loqa } from "../../helpers/cli.ts";
import { inFolder } from "../../helpers/model.ts";

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

Deno.test("plan reads a config.json, alone or in a folder", async () => {
  await inFolder(async (folder) => {
    const place = `${folder}/config.json`;
    const write = (config: Record<string, unknown>) =>
      Deno.writeTextFile(place, JSON.stringify(config));
    await write({ model_type: "bert", vocab_size: 9 });
    const broken = await loqa("plan", place);
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /config\.json: wanted .* for hidden_size/);
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
    const example = new URL("../../../examples/model", import.meta.url)
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

Deno.test("plan refuses what is no model, and widths that there are not", async () => {
  const none = await loqa("plan", "no-such-model");
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no-such-model.*llama-7b/);
  assert.equal((await loqa("plan", "llama-7b", "--bits", "5")).code, 2);
  assert.equal((await loqa("plan")).code, 2);
});
