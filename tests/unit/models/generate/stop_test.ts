import assert from "node:assert/strict";
import type { Checkpoint } from "../../../../src/io/checkpoint/checkpoint.ts";
import { checkpointTokenizer } from "../../../../src/io/open_tokenizer.ts";
import { stopTokens } from "../../../../src/models/generate/stop.ts";

type Json = Record<string, unknown>;

const SPECIAL = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"];

/** A model's small files: letters, special tokens from id 3 on, EOS `</s>` (4). */
function model(
  { config = {}, generation, chat, eos = "</s>" }: {
    config?: Json;
    generation?: Json;
    chat?: string;
    eos?: string;
  },
): Checkpoint {
  const files: Record<string, Json> = {
    "tokenizer.json": {
      "added_tokens": SPECIAL.map((content, i) => ({
        ...{ id: 3 + i, content, special: true, normalized: false },
      })),
      "pre_tokenizer": { type: "ByteLevel", "add_prefix_space": false },
      decoder: { type: "ByteLevel" },
      model: { type: "BPE", vocab: { a: 0, b: 1, "Ċ": 2 }, merges: [] },
    },
    "tokenizer_config.json": { "eos_token": eos, "chat_template": chat },
    ...(generation && { "generation_config.json": generation }),
  };
  return {
    name: "model",
    config,
    sideFiles: () =>
      Promise.resolve(
        Object.entries(files).map(([name, value]) => ({
          name,
          bytes: new TextEncoder().encode(JSON.stringify(value)),
        })),
      ),
  } as Partial<Checkpoint> as Checkpoint;
}

async function stops(parts: Parameters<typeof model>[0]): Promise<number[]> {
  const checkpoint = model(parts);
  const found = await stopTokens(
    checkpoint,
    await checkpointTokenizer(checkpoint),
  );
  return found.sort((a, b) => a - b);
}

Deno.test("stopTokens(): the tokenizer's EOS where nothing else is said", async () => {
  assert.deepEqual(await stops({}), [4]);
  assert.deepEqual(await stops({ config: { "eos_token_id": null } }), [4]);
});

Deno.test("stopTokens(): a number or a list of generation_config.json, else of config.json", async () => {
  const config = { "eos_token_id": [1, 4] };
  assert.deepEqual(await stops({ config }), [1, 4]);
  assert.deepEqual(await stops({ config, generation: {} }), [1, 4]);
  assert.deepEqual(
    await stops({ config, generation: { "eos_token_id": [0, 7] } }),
    [0, 4, 7],
  );
  assert.deepEqual(
    await stops({ config, generation: { "eos_token_id": 7 } }),
    [4, 7],
  );
});

Deno.test("stopTokens(): what the chat template writes behind an answer, if it is a special token", async () => {
  const chat = (end: string) =>
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}" + end +
    "{% endfor %}";
  assert.deepEqual(await stops({ chat: chat("<|end|>\n") }), [4, 7]);
  assert.deepEqual(await stops({ chat: chat("\n<|end|>") }), [4, 7]);
  assert.deepEqual(await stops({ chat: chat("") }), [4]);
  assert.deepEqual(await stops({ chat: chat("b") }), [4]);
  assert.deepEqual(
    await stops({ chat: "{{ raise_exception('none') }}" }),
    [4],
  );
});

Deno.test("stopTokens(): what is no token is refused, with the file and the key", async () => {
  await assert.rejects(
    stops({ generation: { "eos_token_id": "</s>" } }),
    /model: generation_config\.json wants one or more token ids for eos_token_id, got "<\/s>"/,
  );
});
