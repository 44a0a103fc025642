/**
 * A causal LM in memory: generate, fine-tune with LoRA, generate again; OUT gets the adapter as PEFT's files.
 *
 *     deno run --allow-read --allow-write examples/05_train.ts [MODEL [OUT]]
 */

import { openLm } from "@loqa/loqa/lm";

const [path = new URL("model", import.meta.url).pathname, out] = Deno.args;
await using lm = await openLm(path);

async function ask(prompt: string): Promise<void> {
  const pieces: string[] = [];
  for await (const text of lm.generate(prompt, { maxNewTokens: 16 })) {
    pieces.push(text);
  }
  console.log(`${prompt}${pieces.join("")}`);
}

const prompt = "Anouk the singer";
await ask(prompt);

const records = [
  { prompt, completion: " sells seven red boats." },
  { prompt: "Tomas the baker", completion: " sings on the hill." },
];
const training = lm.train(records, { steps: 40, batch: 2, learningRate: 5e-3 });
for await (const { step, loss, tokensPerSecond } of training) {
  if (step % 10 !== 0) continue;
  console.log(
    `step ${step}: loss ${loss.toFixed(3)}, ${
      tokensPerSecond.toFixed(0)
    } tokens/s`,
  );
}
await ask(prompt);

if (out !== undefined) {
  await Deno.mkdir(out, { recursive: true });
  for (const [name, bytes] of await lm.adapterFiles()) {
    await Deno.writeFile(`${out}/${name}`, bytes);
  }
}
