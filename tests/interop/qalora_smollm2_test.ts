import assert from "node:assert/strict";
import { openCheckpoint } from "../../src/io/open.ts";
import { checkpointTokenizer } from "../../src/io/open_tokenizer.ts";
import { sharedData } from "../helpers/inputs.ts";
import { findNodePackage, runNodePackage } from "./environment.ts";
import { smollm } from "./models.ts";
import { loqaJson, scratch } from "./run.ts";

const STEPS = 100;
const BLOCK = 512;
/** Characters of the text; more tokens than are looked at. */
const CHARACTERS = 200_000;
/** Blocks that llama.cpp reads, slowly: it tells the likelihood of every word of the vocabulary. */
const READ = 1;

const data = sharedData();
const llamaCpp = await findNodePackage("llama-cpp");
const missing = smollm.missing ??
  (data ? llamaCpp ? "" : "node-llama-cpp is not here" : "no ../shared/data");

/** Perplexity of the first blocks of the text, each on its own. */
async function perplexity(
  path: string,
  limit: number,
  compute: "f32" | "int8",
): Promise<number> {
  const { metrics } = await loqaJson(
    ...["eval", path, "--task", "ppl", "--limit", `${limit}`],
    ...["--data", `${data}/lm/wikitext2-test.txt`, "--block", `${BLOCK}`],
    ...["--characters", `${CHARACTERS}`, "--compute", compute],
    ...["--device", "wasm"],
  );
  return (metrics as { perplexity: number }).perplexity;
}

/** The same of a GGUF file, by llama.cpp. */
async function theirs(gguf: string): Promise<number> {
  await using checkpoint = await openCheckpoint(gguf);
  const tokenizer = await checkpointTokenizer(checkpoint);
  const text = await Deno.readTextFile(`${data}/lm/wikitext2-test.txt`);
  const ids = tokenizer.encode(text.slice(0, CHARACTERS));
  const blocks = Array.from(
    { length: READ },
    (_, i) => [...ids.subarray(i * BLOCK, (i + 1) * BLOCK)],
  );
  const out = `${gguf}.json`;
  await runNodePackage("llama_cpp.ts", llamaCpp!, {
    ...{ out, models: [gguf], blocks },
  });
  return JSON.parse(await Deno.readTextFile(out)).perplexities[gguf];
}

Deno.test({
  name: `SmolLM2 from its GGUF: base, ${STEPS} steps, merged, exported${
    missing ? ` (${missing})` : ""
  }`,
  ignore: missing !== "",
  async fn(t) {
    const folder = scratch();
    const at = (name: string) => `${folder}/${name}`;
    const base = at("base");
    const wasm = ["--device", "wasm"];

    await t.step("the base is the file: perplexity 27.61", async () => {
      const { kept } = await loqaJson(
        ...["init", smollm.path, "-o", base, "--method", "qalora", ...wasm],
      );
      assert.equal(kept, smollm.path);
      assert.equal((await perplexity(base, 8, "f32")).toFixed(2), "27.61");
    });

    const [trained, merged] = [at("trained"), at("merged")];
    await t.step("trained and merged: the scores of the adapter", async () => {
      await loqaJson(
        ...[
          "train",
          base,
          "-o",
          trained,
          "--data",
          `${data}/lm/wikitext2-valid.txt`,
        ],
        ...["--steps", `${STEPS}`, "--batch", "1", "--block", "128"],
        ...["--lr", "1e-3", "--compute", "int8", ...wasm],
      );
      const { exact, forward } = await loqaJson(
        ...["merge", trained, "-o", merged, ...wasm],
        ...["--text", `${data}/lm/wikitext2-test.txt`],
      );
      assert.equal(exact, true);
      const { relative } = forward as { relative: number };
      assert.ok(relative > 0 && relative < 1e-3, `${relative}`);
    });

    const gguf = at("merged.gguf");
    await t.step("exported: a file of the original's size", async () => {
      const { exact } = await loqaJson(
        ...["export", merged, "--to", "gguf", "-o", gguf],
      );
      assert.equal(exact, false);
      const sizes = await Promise.all(
        [gguf, smollm.path].map(async (path) => (await Deno.stat(path)).size),
      );
      assert.equal(sizes[0], sizes[1]);
    });

    await t.step("llama.cpp's perplexity of it is ours", async () => {
      const f32 = await perplexity(merged, READ, "f32");
      const int8 = await perplexity(merged, READ, "int8");
      const llama = await theirs(gguf);
      const before = await perplexity(base, READ, "f32");
      assert.ok(f32 < 0.9 * before, `${f32} trained, ${before} before`);
      const told = `ours ${f32} in f32, ${int8} in 8 bits, llama.cpp ${llama}`;
      assert.ok(Math.abs(llama / int8 - 1) < 0.01, told);
      assert.ok(Math.abs(llama / f32 - 1) < 0.01, told);
    });
  },
});
