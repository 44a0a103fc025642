/**
 * Generated text, piece by piece as it comes: a prompt continued, or, of a model with a chat template, a conversation.
 *
 *     deno run --allow-read examples/06_generate.ts [MODEL [PROMPT]]
 */

import { openLm, type Prompt } from "@loqa/loqa/lm";

const [path = new URL("model", import.meta.url).pathname, text] = Deno.args;
await using lm = await openLm(path);

// Ctrl-C ends the text, not the program.
const control = new AbortController();
Deno.addSignalListener("SIGINT", () => control.abort());

/** Writes what the model makes of a prompt as it comes, and gives it whole. */
async function say(prompt: Prompt): Promise<string> {
  const pieces: string[] = [];
  const encoder = new TextEncoder();
  const options = { maxNewTokens: 24, temperature: 0.7, topP: 0.9, seed: 1 };
  for await (
    const piece of lm.generate(prompt, { ...options, signal: control.signal })
  ) {
    await Deno.stdout.write(encoder.encode(piece));
    pieces.push(piece);
  }
  console.log();
  return pieces.join("");
}

if (lm.tokenizer.chatTemplate) {
  const messages = [];
  for (const content of [text ?? "What is LoRA?", "And in one word?"]) {
    console.log(`> ${content}`);
    messages.push({ role: "user", content });
    messages.push({ role: "assistant", content: await say({ messages }) });
  }
} else await say(text ?? "Anouk the singer");
