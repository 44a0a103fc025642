import assert from "node:assert/strict";
import { exportModel } from "../../src/export/run.ts";
import { openCheckpoint } from "../../src/io/open.ts";
import { assertBytes } from "../helpers/assert.ts";
import { writePacked } from "../helpers/packed.ts";
import { findNodePackage, runNodePackage } from "./environment.ts";
import { smollm } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";
import { makePacked, PACKED } from "./small.ts";

const folder = scratch();
const llamaCpp = await findNodePackage("llama-cpp");

const TEXTS = [
  "Mira the fox lived near the old mill.",
  "  two  spaces\nand a line ",
  "café naïve 東京 🙂",
  "x=1; y = 22_333",
];

/** Runs files through llama.cpp; gives the path of what it told. */
async function runLlamaCpp(module: string, models: string[]): Promise<string> {
  const out = `${models[0]}.json`;
  const ids = Array.from({ length: 40 }, (_, i) => 4 + (i * 7919 + 31) % 764);
  const request = { out, models, ids, texts: TEXTS };
  await runNodePackage("llama_cpp.ts", module, request);
  return out;
}

const subjects = [
  ...PACKED.map((subject) => ({
    ...subject,
    blocks: subject.format === "int5" ? "q5_1" : "q4_1",
  })),
  ...PACKED.slice(1, 4).map((subject) => ({
    ...subject,
    label: `${subject.label} in Q5_1`,
    blocks: "q5_1",
  })),
];

for (const { blocks, ...subject } of subjects) {
  const label = `GGUF, ${subject.label}`;
  await peerTests({ label }, "export_gguf.py", async () => {
    const { original, packed } = await makePacked(folder, subject);
    const [out, dense] = [`${packed}.gguf`, `${packed}-dense.gguf`];
    const to = ["--to", "gguf", "--blocks", blocks];
    await loqaJson("export", packed, ...to, "-o", out);
    const plain = ["--to", "gguf", "--dtype", "f32", "-o", dense];
    await loqaJson("export", original, ...plain);
    const ran = llamaCpp ? await runLlamaCpp(llamaCpp, [out, dense]) : "-";
    return [original, packed, out, dense, ran, blocks.toUpperCase()];
  });
}

Deno.test({
  name: "llama.cpp ran the files",
  ignore: llamaCpp === undefined,
  async fn() {
    for (const { label } of subjects) {
      const name = label.replaceAll(/\W+/g, "-");
      assert.ok((await Deno.stat(`${folder}/${name}.gguf.json`)).isFile);
    }
  },
});

Deno.test({
  name: "SmolLM2's own Q4_1 layers, packed and exported, are the original file",
  ignore: smollm.missing !== undefined,
  async fn() {
    await using checkpoint = await openCheckpoint(smollm.path);
    const packed = await writePacked(`${folder}/smollm/backbone`, checkpoint);
    assert.equal(packed.size, 210);
    await Deno.writeTextFile(
      `${folder}/smollm/loqa.json`,
      JSON.stringify({ model: smollm.path }),
    );
    const out = `${folder}/smollm.gguf`;
    const { exact } = await exportModel(`${folder}/smollm`, {
      to: "gguf",
      out,
    });
    assert.ok(exact);
    assertBytes(await Deno.readFile(out), await Deno.readFile(smollm.path));
  },
});
