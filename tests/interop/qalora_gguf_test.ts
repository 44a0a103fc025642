import assert from "node:assert/strict";
import { Tape } from "../../src/autograd/tape.ts";
import { readF32 } from "../../src/device/device.ts";
import { openDevice } from "../../src/backend/open.ts";
import { type Compute, loadCausal } from "../../src/models/load/load.ts";
import { findNodePackage, runNodePackage } from "./environment.ts";
import { own } from "./models.ts";
import { loqaJson, scratch } from "./run.ts";

const folder = scratch();
const llamaCpp = await findNodePackage("llama-cpp");

/** Probabilities of the token behind each of `ids`. */
async function probabilities(
  path: string,
  ids: readonly number[],
  compute: Compute,
): Promise<number[][]> {
  using device = await openDevice("wasm");
  await using loaded = await loadCausal(device, path, { compute });
  const { model } = loaded;
  using tape = new Tape(device);
  const { vocabSize } = model.config;
  const hidden = model.forward(tape, { ids, batch: 1, time: ids.length });
  const logits = tape.matrix(ids.length, vocabSize);
  model.head.forward(device, hidden.value, { y: logits });
  const values = await readF32(
    device,
    logits.buffer,
    0,
    ids.length * vocabSize,
  );
  return ids.map((_, t) => {
    const row = [...values.subarray(t * vocabSize, (t + 1) * vocabSize)];
    const most = Math.max(...row);
    const sum = row.reduce((s, x) => s + Math.exp(x - most), 0);
    return row.map((x) => Math.exp(x - most) / sum);
  });
}

/** Mean over the rows of the KL divergence of `q` from `p`. */
function divergence(p: number[][], q: number[][]): number {
  let sum = 0;
  for (const [t, row] of p.entries()) {
    for (const [i, x] of row.entries()) {
      if (x > 0) sum += x * Math.log(x / Math.max(q[t][i], 1e-30));
    }
  }
  return sum / p.length;
}

Deno.test({
  name:
    "QA-LoRA trained, merged and exported to GGUF: llama.cpp says what we say",
  ignore: llamaCpp === undefined,
  async fn() {
    const at = (name: string) => `${folder}/${name}`;
    const [base, trained, merged] = ["base", "trained", "merged"].map(at);
    await loqaJson(
      ...["init", own.path, "-o", base, "--method", "qalora"],
      ...["--rank", "8", "--block", "32"],
    );
    await loqaJson(
      ...["train", base, "-o", trained, "--steps", "20", "--block", "64"],
      ...["--data", `${own.path}/sea-sample.txt`, "--lr", "2e-2"],
      ...["--compute", "int8"],
    );
    await loqaJson("merge", trained, "-o", merged);
    const gguf = at("merged.gguf");
    const report = await loqaJson(
      ...["export", merged, "--to", "gguf", "-o", gguf],
    );
    // Biases that were trained are no longer f16.
    assert.equal(report.exact, false);

    const ids = Array.from({ length: 40 }, (_, i) => 4 + (i * 7919 + 31) % 764);
    const request = { out: `${gguf}.json`, models: [gguf], ids, texts: [] };
    await runNodePackage("llama_cpp.ts", llamaCpp!, request);
    const told = JSON.parse(await Deno.readTextFile(request.out));
    const theirs: number[][] = told.probabilities[gguf];
    const ours = await probabilities(merged, ids, "int8");
    const exact = await probabilities(merged, ids, "f32");
    const before = await probabilities(base, ids, "f32");
    // Both round inputs to 8 bits in blocks of 32, llama.cpp with scales in 16 bits: about as far apart as from f32.
    const limit = 3 * divergence(exact, ours) + 1e-5;
    const apart = divergence(ours, theirs);
    assert.ok(apart <= limit, `${apart} above ${limit}`);
    const learnt = divergence(ours, before);
    assert.ok(learnt > 20 * limit, `training changed ${learnt} only`);
  },
});
