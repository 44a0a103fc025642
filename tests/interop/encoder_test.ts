import assert from "node:assert/strict";
import { Tape } from "../../src/autograd/tape.ts";
import { readF32 } from "../../src/device/device.ts";
import { openDevice } from "../../src/backend/open.ts";
import { answerClasses, answerSpans } from "../../src/eval/answer.ts";
import { ofKind } from "../../src/models/families.ts";
import { loadModel, type LoadOptions } from "../../src/models/load/load.ts";
import type { EncoderModel } from "../../src/models/model.ts";
import { assertAllClose } from "../helpers/assert.ts";
import { sentences, writeEncoder } from "../helpers/encoders.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();

/** As lib.py has them. */
const ROWS = [[2, 8, 13, 5, 17, 9, 18, 3], [2, 20, 3], [2, 4, 4, 14, 3]];

async function featuresOf(model: EncoderModel): Promise<Float32Array[]> {
  using tape = new Tape(model.device);
  const time = Math.max(...ROWS.map((row) => row.length));
  const { value } = model.encode(tape, {
    ids: ROWS.flatMap((row) => [
      ...row,
      ...Array<number>(time - row.length).fill(0),
    ]),
    ...{ batch: ROWS.length, time },
    bounds: ROWS.map((row) => [0, row.length] as const),
  });
  const { buffer, offset, rows, cols } = value;
  const all = await readF32(model.device, buffer, offset, rows * cols);
  return ROWS.map((row, b) =>
    all.slice(b * time * cols, (b * time + row.length) * cols)
  );
}

/** Outputs of a model for the rows, in the order of lib.py's `encoder_says`. */
async function said(
  path: string,
  options: LoadOptions = {},
): Promise<Float32Array<ArrayBuffer>> {
  using device = await openDevice("wasm", { threads: 1 });
  await using loaded = await loadModel(device, path, options);
  const model = ofKind(loaded.model, "encoder", `run ${path}`);
  const requests = ROWS.map((row) => ({ tokens: Int32Array.from(row) }));
  const { kind } = model.head;
  const parts = kind === "none"
    ? await featuresOf(model)
    : kind === "span"
    ? (await answerSpans(model, requests)).flatMap((s) => [s.start, s.end])
    : await answerClasses(model, requests);
  return Float32Array.from(parts.flatMap((part) => Array.from(part)));
}

async function wanted(path: string): Promise<Float32Array> {
  return new Float32Array((await Deno.readFile(`${path}/said.bin`)).buffer);
}

const WRITTEN = [
  ...["bert", "bert-spans", "bert-base", "roberta", "roberta-base"],
  ...["deberta-v3", "deberta-v3-number", "deberta-v2-spans", "deberta-plain"],
];

await peerTests(
  { label: "encoders of transformers" },
  "encoder_write.py",
  () => Promise.resolve([folder]),
);

for (const name of WRITTEN) {
  Deno.test(`encoders of transformers: ${name} says here what it says there`, async () => {
    assertAllClose(
      await said(`${folder}/${name}`),
      await wanted(`${folder}/${name}`),
      { rtol: 1e-4, atol: 1e-4 },
    );
  });
}

Deno.test("encoders of transformers: all that does not fit a config is told in one error", async () => {
  const path = `${folder}/deberta-v3`;
  const other = `${folder}/deberta-other`;
  await Deno.mkdir(other);
  await Deno.copyFile(
    `${path}/model.safetensors`,
    `${other}/model.safetensors`,
  );
  const config = JSON.parse(await Deno.readTextFile(`${path}/config.json`));
  await Deno.writeTextFile(
    `${other}/config.json`,
    JSON.stringify({
      ...config,
      position_buckets: 5,
      share_att_key: false,
      pos_att_type: ["c2p"],
      norm_rel_ebd: "none",
    }),
  );
  await assert.rejects(said(other), (error: Error) => {
    assert.equal(error.name, "SyntaxError");
    for (
      const problem of [
        /rel_embeddings\.weight\W+is \[8, 32\], wanted \[10, 32\]/,
        /layer\.0\.attention\.self\.pos_key_proj\.weight\W+is missing/,
        /deberta\.encoder\.LayerNorm\.bias\W+has no place in the model/,
      ]
    ) assert.match(error.message, problem);
    return true;
  });
});

for (const type of ["bert", "deberta-v2", "roberta"] as const) {
  const out = `${folder}/${type}-out`;
  const base = `${folder}/${
    type === "roberta" ? "roberta-base" : `${type}-own`
  }`;
  const label = `a head and an adapter, ${type}`;
  await peerTests({ label }, "encoder_head.py", async () => {
    if (type !== "roberta") await writeEncoder(base, type);
    const data = `${folder}/${type}.tsv`;
    await Deno.writeTextFile(data, sentences(200, 0));
    await loqaJson(
      ...["train", base, "-o", out, "--method", "lora", "--rank", "3"],
      ...["--task", "classify", "--data-set", "sst2", "--data", data],
      ...["--steps", "20", "--batch", "8", "--block", "16", "--lr", "0.01"],
    );
    await Deno.writeFile(
      `${out}/logits.bin`,
      new Uint8Array((await said(out)).buffer),
    );
    return [base, out];
  });

  for (const kind of ["classes", "spans"]) {
    Deno.test(`${label}: ${kind} that PEFT trained, we load`, async () => {
      const theirs = `${out}/theirs-${kind}`;
      assertAllClose(
        await said(base, { adapters: { theirs } }),
        await wanted(theirs),
        { rtol: 1e-4, atol: 1e-4 },
      );
    });
  }
}
