import { openLm } from "../../src/lm/lm.ts";
import { own } from "./models.ts";
import { peerTests, scratch } from "./run.ts";

const folder = scratch();
const PROMPT = "Anouk the singer";

await peerTests(
  { ...own, label: "an adapter trained in memory" },
  "lm.py",
  async () => {
    await using lm = await openLm(own.path, { device: "wasm", threads: 1 });
    const records = Array.from({ length: 4 }, (_, i) => ({
      prompt: i < 2 ? PROMPT : `The baker ${i}`,
      completion: i < 2 ? " sells seven red boats." : " sleeps.",
    }));
    const training = lm.train(records, {
      steps: 40,
      batch: 4,
      rank: 8,
      alpha: 16,
      learningRate: 1e-2,
      targets: ["q_proj", "v_proj", "down_proj"],
    });
    for await (const _ of training);
    const pieces = await Array.fromAsync(
      lm.generate(PROMPT, { maxNewTokens: 12 }),
    );
    for (const [name, bytes] of await lm.adapterFiles()) {
      await Deno.writeFile(`${folder}/${name}`, bytes);
    }
    return [own.path, folder, PROMPT, pieces.join("")];
  },
);
