import { openDevice } from "../../src/backend/open.ts";
import { loadCausal } from "../../src/models/load/load.ts";
import { logitsOf } from "../helpers/llama.ts";
import { writeSmall } from "../unit/export/helpers.ts";
import { type Model, own, stories } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();
const TEXT = `${own.path}/sea-sample.txt`;
/** Training options of both sides; train.py reads them from loqa.json. */
const SETTINGS = [
  ...["--steps", "20", "--block", "48", "--batch", "2", "--accumulation", "2"],
  ...["--lr", "5e-3", "--schedule", "linear", "--warmup", "3"],
  ...["--weight-decay", "0.1", "--clip", "0.5", "--order", "sequential"],
];

let made = 0;

/** A model of random weights, its rows whole blocks of nf4. */
async function small(
  label: string,
  changes: Readonly<Record<string, unknown>>,
): Promise<Model> {
  const path = `${folder}/${label}`;
  await writeSmall(path, { intermediate_size: 128, ...changes });
  return { label, path, kind: "causal" };
}

const qwen3 = await small("Qwen3", {
  model_type: "qwen3",
  architectures: ["Qwen3ForCausalLM"],
  head_dim: 32,
});
const smollm3 = await small("SmolLM3", {
  model_type: "smollm3",
  architectures: ["SmolLM3ForCausalLM"],
  no_rope_layer_interval: 2,
  pad_token_id: 0,
});

for (const model of [own, stories, qwen3, smollm3]) {
  for (const [form, backbone] of [["LoRA", "none"], ["QLoRA", "bnb"]]) {
    const subject = { ...model, label: `${model.label}, ${form} training` };
    await peerTests(subject, "train.py", async () => {
      const out = `${folder}/${made++}`;
      await loqaJson(
        ...["init", model.path, "-o", out, "--method", "qlora", "--seed", "3"],
        // bitsandbytes decodes to the backbone's type: steps of bf16 would drift apart. README's own way is in readme_test.ts.
        ...["--backbone", backbone, "--format", "nf4", "--dtype", "f32"],
        ...["--rank", "4", "--alpha", "8"],
      );
      const start = `${out}-start`;
      await Deno.mkdir(start);
      for await (const { name } of Deno.readDir(`${out}/adapter`)) {
        await Deno.copyFile(`${out}/adapter/${name}`, `${start}/${name}`);
      }
      await loqaJson("train", out, "--data", TEXT, ...SETTINGS);

      using device = await openDevice("wasm");
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
      return [model.path, start, out, TEXT];
    });
  }
}
