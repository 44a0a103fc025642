/**
 * Small tokenizers of every kind against the libraries that made them: tokenizers, transformers, sentencepiece.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type ChatMessage,
  compileChatTemplate,
} from "../../../src/io/chat/template.ts";
import { folderFiles } from "../../../src/io/open.ts";
import { openTokenizer } from "../../../src/io/open_tokenizer.ts";
import type { Tokenizer } from "../../../src/io/tokenizer/tokenizer.ts";
import { golden } from "../../helpers/golden.ts";

interface Row {
  readonly text: string;
  readonly ids: number[];
  readonly plain: number[];
  /** Decoded ids. */
  readonly known: number[];
  readonly decoded: string;
  readonly skipped?: string;
}

interface Golden {
  readonly peer: string;
  readonly special: Record<string, number>;
  readonly pair?: { ids: number[]; typeIds: number[] };
  readonly rows: Row[];
}

const CASES = [
  "byte-level",
  "llama3",
  "gpt2",
  "bart",
  "wordpiece",
  "unigram-json",
  "unigram",
  "llama",
  "own",
];

function open(name: string): Promise<Tokenizer> {
  const path = name === "own" ? "../../../examples/model" : name;
  return folderFiles(new URL(path, import.meta.url).pathname)
    .then(openTokenizer);
}

for (const name of CASES) {
  const { peer, special, pair, rows } = golden<Golden>(
    import.meta,
    `${name}.json`,
  );

  Deno.test(`${name}: ids are those of ${peer}`, async () => {
    const tokenizer = await open(name);
    for (const { text, ids, plain } of rows) {
      assert.deepEqual(Array.from(tokenizer.encode(text)), ids, text);
      assert.deepEqual(
        Array.from(tokenizer.encode(text, { addSpecialTokens: false })),
        plain,
        text,
      );
    }
  });

  Deno.test(`${name}: text is that of ${peer}`, async () => {
    const tokenizer = await open(name);
    for (const { known, decoded, skipped } of rows) {
      assert.equal(tokenizer.decode(known), decoded);
      if (skipped === undefined) continue;
      const options = { skipSpecialTokens: true };
      assert.equal(tokenizer.decode(known, options), skipped);
    }
  });

  Deno.test(`${name}: a stream gives the same text in whole characters`, async () => {
    const tokenizer = await open(name);
    for (const { text, known, decoded } of rows) {
      const stream = tokenizer.stream();
      const parts = known.map((id) => stream.push(id));
      assert.equal(parts.join("") + stream.end(), decoded);
      if (text.includes("\ufffd")) continue;
      for (const part of parts) {
        assert.ok(part.isWellFormed() && !part.includes("\ufffd"), part);
      }
    }
  });

  Deno.test(`${name}: special tokens are those of ${peer}`, async () => {
    const tokenizer = await open(name);
    assert.deepEqual(Object.fromEntries(tokenizer.specialIds), special);
    assert.equal(tokenizer.bosId, special.bos_token);
    assert.equal(tokenizer.eosId, special.eos_token);
    for (const id of Object.values(special)) {
      assert.equal(tokenizer.idOf(tokenizer.tokenOf(id)!), id);
      assert.ok(id < tokenizer.vocabSize);
    }
    const first = rows.find(({ text }) => text === "Hello, world!")!.ids[0];
    assert.equal(
      tokenizer.addsBos,
      special.bos_token !== undefined && first === special.bos_token,
    );
    if (pair === undefined) return;
    const got = tokenizer.encodePair("Hello, world!", "A blue flag.");
    assert.deepEqual(Array.from(got.ids), pair.ids);
    assert.deepEqual(Array.from(got.typeIds), pair.typeIds);
  });
}

interface Chat {
  readonly template: string;
  readonly messages: ChatMessage[];
  readonly addGenerationPrompt: boolean;
  readonly text?: string;
  readonly error?: string;
}

const chat = golden<{ templates: Record<string, string>; rows: Chat[] }>(
  import.meta,
  "chat.json",
);

for (const [name, source] of Object.entries(chat.templates)) {
  Deno.test(`chat template ${name}: texts and refusals are those of transformers`, () => {
    const template = compileChatTemplate(source, {
      given: { "bos_token": "<|im_start|>", "eos_token": "<|im_end|>" },
      name,
    });
    for (const row of chat.rows.filter(({ template }) => template === name)) {
      const { messages, addGenerationPrompt, text, error } = row;
      const apply = () =>
        template.render({ messages }, { addGenerationPrompt }).text;
      if (text !== undefined) assert.equal(apply(), text);
      else {
        assert.throws(
          apply,
          ({ message }) => message.includes(error) && message.includes(name),
        );
      }
    }
  });
}

Deno.test("byte-level: the conversation is laid out by the file's template", async () => {
  const tokenizer = await open("byte-level");
  const rows = chat.rows.filter(({ template }) => template === "ChatML");
  assert.ok(tokenizer.hasChatTemplate);
  for (const { messages, addGenerationPrompt, text } of rows) {
    assert.equal(
      tokenizer.applyChatTemplate(messages, { addGenerationPrompt }),
      text,
    );
  }
});
