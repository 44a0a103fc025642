import assert from "node:assert/strict";
import { Tape } from "../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../src/device/device.ts";
import { openDevice } from "../../src/backend/open.ts";
import { loadModel, type LoadOptions } from "../../src/models/load/load.ts";
import { assertNear } from "../helpers/llama.ts";
import { loqa, peerTests, scratch } from "./run.ts";

const folder = scratch();
const LLAMA = [
  ...["head", "table", "both", "kept-tied", "gaussian"],
  ...["lora-head", "lora-table", "lora-both", "lora-kept-tied"],
];
const BART = ["head", "tables", "lora-head", "lora-tables"];
const REFUSED: Record<string, RegExp> = {
  pissa: /"pissa".*path_initial_model_for_weight_conversion/,
  olora: /"olora".*path_initial_model_for_weight_conversion/,
  "lora-bias": /lora_bias/,
  dora: /DoRA/,
  alora: /aLoRA/,
  rows: /trained rows of a table/,
};

/** Scores of the token after each of those in ids.json. */
async function scoresOf(
  device: Device,
  path: string,
  options: LoadOptions = {},
): Promise<Float32Array> {
  const ids: number[][] = JSON.parse(
    await Deno.readTextFile(`${folder}/ids.json`),
  );
  await using loaded = await loadModel(device, path, options);
  const { model } = loaded;
  assert.ok(model.kind !== "encoder");
  const batch = { ids: ids.flat(), batch: ids.length, time: ids[0].length };
  using tape = new Tape(device);
  const hidden = model.kind === "causal"
    ? model.forward(tape, batch)
    : model.decode(tape, batch, {
      encoded: model.encode(tape, batch),
      source: batch,
    });
  const scores = tape.matrix(hidden.value.rows, model.config.vocabSize);
  model.head.forward(device, hidden.value, { y: scores });
  return await readF32(device, scores.buffer);
}

async function succeeds(...args: string[]): Promise<void> {
  const more = ["--device", "wasm", "--quiet"];
  const { code, stderr } = await loqa(...args, ...more);
  assert.equal(code, 0, stderr);
}

async function said(name: string): Promise<Float32Array> {
  const bytes = await Deno.readFile(`${folder}/${name}/said.bin`);
  return new Float32Array(bytes.buffer);
}

/** Scores of a model that we made, in a file for Python. */
async function keep(name: string, scores: Float32Array): Promise<string> {
  const path = `${folder}/${name}.bin`;
  await Deno.writeFile(path, new Uint8Array(scores.buffer as ArrayBuffer));
  return path;
}

await peerTests(
  { label: "adapters of PEFT" },
  "adapters_write.py",
  () => Promise.resolve([folder]),
);

const made: { name: string; kind: string; adapter: string }[] = [];
for (const [kind, names] of [["llama", LLAMA], ["bart", BART]] as const) {
  for (const name of names) {
    const adapter = `${folder}/${kind}-${name}`;
    const out = `${adapter}-merged`;
    made.push({ name, kind, adapter });
    Deno.test(`an adapter of PEFT on a tied ${kind}, run and merged: ${name}`, async () => {
      using device = await openDevice("wasm", { threads: 1 });
      const base = `${folder}/${kind}`;
      const wanted = await said(`${kind}-${name}`);
      const run = await scoresOf(device, base, { adapters: { a: adapter } });
      assertNear(run, wanted, { tolerance: 1e-5, what: "run" });
      await succeeds(
        ...["merge", base, "--adapter", adapter, "-o", out],
        ...["--dtype", "f32"],
      );
      const after = await scoresOf(device, out);
      assertNear(after, wanted, { tolerance: 1e-5, what: "merged" });
    });
  }
}

for (const [name, words] of Object.entries(REFUSED)) {
  Deno.test(`an adapter of PEFT that is no plain LoRA is refused before anything is written: ${name}`, async () => {
    const out = `${folder}/${name}-merged`;
    const { code, stderr } = await loqa(
      ...["merge", `${folder}/llama`, "--adapter", `${folder}/llama-${name}`],
      ...["-o", out, "--quiet"],
    );
    assert.equal(code, 1);
    assert.match(stderr, /^loqa: Cannot read .*\n$/);
    assert.match(stderr, words);
    await assert.rejects(Deno.stat(out), Deno.errors.NotFound);
  });
}

Deno.test("a head that differs from its table, where the config says tied, is the head", async () => {
  using device = await openDevice("wasm", { threads: 1 });
  const wanted = await said("llama-other");
  const other = `${folder}/llama-other`;
  assertNear(await scoresOf(device, other), wanted, {
    ...{ tolerance: 1e-5, what: "run" },
  });
});

const OWN = new URL("../../examples/model", import.meta.url).pathname;
const SAVED = ["embed_tokens", "lm_head", "embed_tokens,lm_head"];

await peerTests(
  { label: "a tied model with a head of its own" },
  "adapters_read.py",
  async () => {
    using device = await openDevice("wasm", { threads: 1 });
    const rows: Record<string, string | null>[] = [];
    // What merging wrote says the same in transformers.
    for (const { name, kind, adapter } of made) {
      const model = `${adapter}-whole`;
      await succeeds(
        ...["merge", `${folder}/${kind}`, "--adapter", adapter, "-o", model],
        ...["--dtype", "f32"],
      );
      const said = await keep(
        `${kind}-${name}-whole`,
        await scoresOf(device, model),
      );
      rows.push({
        ...{ name: `merged, ${kind}: ${name}`, kind, model, said },
        adapter: null,
      });
    }
    for (const [i, saved] of SAVED.entries()) {
      const out = `${folder}/trained-${i}`;
      await succeeds(
        ...["train", OWN, "-o", out, "--method", "lora", "--lr", "1e-2"],
        ...["--data", `${OWN}/sea-sample.txt`, "--modules-to-save", saved],
        ...["--steps", "3", "--block", "32", "--batch", "2", "--rank", "2"],
      );
      const said = await keep(`trained-${i}`, await scoresOf(device, out));
      rows.push({
        ...{ name: `trained here: ${saved}`, kind: "llama", model: OWN, said },
        adapter: `${out}/adapter`,
      });
    }
    return [folder, JSON.stringify(rows)];
  },
);
