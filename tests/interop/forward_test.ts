import { openDevice } from "../../src/backend/open.ts";
import { loadCausal } from "../../src/models/load/load.ts";
import { logitsOf } from "../helpers/llama.ts";
import { own, smollm, stories } from "./models.ts";
import { peerTests, scratch } from "./run.ts";

const folder = scratch();

/** Numbers below `words` that are spread over a vocabulary. */
function someIds(count: number, words: number): number[] {
  return Array.from(
    { length: count },
    (_, i) => 4 + (i * 7919 + 31) % (words - 4),
  );
}

for (const model of [own, stories, smollm]) {
  const subject = { ...model, label: `${model.label}, our forward` };
  await peerTests(subject, "forward.py", async () => {
    using device = await openDevice("wasm", { threads: 2 });
    await using loaded = await loadCausal(device, model.path);
    const { vocabSize } = loaded.model.config;
    const [batch, time] = [2, 24];
    const ids = someIds(batch * time, vocabSize);
    const logits = await logitsOf(loaded.model, { ids, batch, time });
    const out = `${folder}/${model.label.replaceAll(" ", "-")}`;
    await Deno.writeTextFile(
      `${out}.json`,
      JSON.stringify({ ids, shape: [batch, time, vocabSize] }),
    );
    await Deno.writeFile(
      `${out}.bin`,
      new Uint8Array(logits.buffer as ArrayBuffer),
    );
    return [model.path, model.kind, out];
  });
}
