import { openDevice } from "../../src/backend/open.ts";
import { loadCausal } from "../../src/models/load/load.ts";
import { logitsOf } from "../helpers/llama.ts";
import { own } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();
const TEXT = `${own.path}/sea-sample.txt`;

for (const format of ["int4", "int2"]) {
  const subject = { ...own, label: `${own.label}, QA-LoRA ${format}` };
  await peerTests(subject, "qalora.py", async () => {
    const out = `${folder}/${format}`;
    await loqaJson(
      ...["init", own.path, "-o", out, "--method", "qalora", "--seed", "3"],
      ...["--format", format, "--rank", "4", "--alpha", "8"],
      ...["--rank-pattern", "down_proj=2", "--alpha-pattern", "k_proj=5"],
    );
    await loqaJson(
      ...["train", out, "--data", TEXT, "--steps", "5", "--block", "48"],
      ...["--batch", "2", "--lr", "1e-2"],
    );
    using device = await openDevice("wasm", { threads: 1 });
    await using loaded = await loadCausal(device, out);
    const { vocabSize } = loaded.model.config;
    const ids = Array.from(
      { length: 48 },
      (_, i) => 4 + (i * 61) % (vocabSize - 4),
    );
    const logits = await logitsOf(loaded.model, { ids, batch: 2, time: 24 });
    await Deno.writeTextFile(`${out}/ids.json`, JSON.stringify(ids));
    await Deno.writeFile(
      `${out}/logits.bin`,
      new Uint8Array(logits.buffer as ArrayBuffer),
    );
    await loqaJson("merge", out, "-o", `${out}-merged`);
    return [own.path, out];
  });
}
