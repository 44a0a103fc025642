import assert from "node:assert/strict";
import { openCheckpoint } from "../../../../src/io/open.ts";
import { copySideFiles } from "../../../../src/io/safetensors/copy.ts";
import { openGguf } from "../../../../src/io/gguf/file.ts";
import { ggufTokenizer } from "../../../../src/io/gguf/tokenizer.ts";
import { ggufHeader } from "../../../../src/io/gguf/write.ts";
import { ggufTokenizerPairs } from "../../../../src/io/gguf/write_tokenizer.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import {
  checkpointTokenizer,
  openTokenizer,
  readTokenizerFiles,
} from "../../../../src/io/open_tokenizer.ts";
import type { Tokenizer } from "../../../../src/io/tokenizer/tokenizer.ts";
import { files, inFolder, rawSafetensors } from "../helpers.ts";

const MODEL = JSON.stringify({
  model: { type: "BPE", vocab: { a: 0 }, merges: [] },
});
const HELLO = [{ role: "user", content: "hi" }];

interface Case {
  /** `chat_template` of tokenizer_config.json. */
  readonly config?: unknown;
  /** Files besides. */
  readonly besides?: Record<string, string>;
  /** Output of transformers 5.23 without tools, and with some; an error's words. */
  readonly want: readonly [string | RegExp, string | RegExp];
}

const list = (templates: Record<string, string>) =>
  Object.entries(templates).map(([name, template]) => ({ name, template }));
const NO_DEFAULT =
  /Cannot choose among the chat templates of "small\/tokenizer_config\.json": wanted one called default \(chat_template\.jinja\), got "rag", "tool_use"/;

const CASES: Record<string, Case> = {
  "a list": {
    config: list({ rag: "rag", default: "plain", tool_use: "tools" }),
    want: ["plain", "tools"],
  },
  "an object": {
    config: { default: "plain", tool_use: "tools" },
    want: ["plain", "tools"],
  },
  "a list without a default": {
    config: list({ tool_use: "tools", rag: "rag" }),
    want: [NO_DEFAULT, "tools"],
  },
  "a template that is not taken and is none": {
    config: list({ default: "plain", rag: "{% for %}" }),
    want: ["plain", "plain"],
  },
  "a file and a folder": {
    config: "config",
    besides: {
      "chat_template.jinja": "file",
      "additional_chat_templates/tool_use.jinja": "folder",
    },
    want: ["file", "folder"],
  },
  "a folder alone, before the configuration": {
    config: "config",
    besides: { "additional_chat_templates/tool_use.jinja": "folder" },
    want: [
      /additional_chat_templates\/tool_use\.jinja": wanted one called default \(chat_template\.jinja\), got "tool_use"/,
      "folder",
    ],
  },
  "a file before the configuration's list": {
    config: list({ default: "plain", tool_use: "tools" }),
    besides: { "chat_template.jinja": "file" },
    want: ["file", "file"],
  },
};

function check(tokenizer: Tokenizer, want: Case["want"]): void {
  const tools = [{ type: "function", function: { name: "f" } }];
  for (const [i, given] of [null, tools].entries()) {
    const run = () =>
      tokenizer.chatTemplate!.render({ messages: HELLO, tools: given }).text;
    const wanted = want[i];
    if (typeof wanted === "string") assert.equal(run(), wanted);
    else assert.throws(run, { name: "TypeError", message: wanted });
  }
}

for (const [name, { config, besides = {}, want }] of Object.entries(CASES)) {
  Deno.test(`the chat template is chosen as transformers does: ${name}`, async () => {
    const small = {
      "tokenizer.json": MODEL,
      "tokenizer_config.json": JSON.stringify({ chat_template: config }),
      ...besides,
    };
    check(await openTokenizer(files(small, "small")), want);
  });
}

Deno.test("what is no chat template is refused with what is wanted", async () => {
  for (const config of [7, ["text"], [{ name: "default" }], { default: 1 }]) {
    await assert.rejects(
      openTokenizer(files({
        "tokenizer.json": MODEL,
        "tokenizer_config.json": JSON.stringify({ chat_template: config }),
      }, "small")),
      {
        name: "SyntaxError",
        message:
          /"small\/tokenizer_config\.json": wanted as chat_template a text, or a list of objects with the texts name and template/,
      },
    );
  }
});

const BPE = JSON.stringify({
  added_tokens: [],
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false },
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", vocab: { a: 0 }, merges: [] },
});

Deno.test("GGUF files hold templates by name, as llama.cpp has them", async () => {
  const read = await readTokenizerFiles(
    files({
      "tokenizer.json": BPE,
      "chat_template.jinja": "plain",
      "additional_chat_templates/tool_use.jinja": "tools",
      "additional_chat_templates/my rag.jinja": "rag",
    }),
    "source",
  );
  const { header } = ggufHeader(ggufTokenizerPairs(read, 1), []);
  const file = await openGguf(bytesSource(header, "made.gguf"));
  const entry = (key: string) => file.metadata.get(`tokenizer.${key}`);
  assert.equal(entry("chat_template"), "plain");
  assert.equal(entry("chat_template.tool_use"), "tools");
  assert.equal(entry("chat_template.my_rag"), "rag");
  assert.deepEqual(
    new Set(entry("chat_templates") as string[]),
    new Set(["tool_use", "my_rag"]),
  );
  const back = ggufTokenizer(file);
  const tokenizer = await openTokenizer(files(
    Object.fromEntries(
      Object.entries(back).map(([name, json]) => [name, JSON.stringify(json)]),
    ),
  ));
  check(tokenizer, ["plain", "tools"]);
});

Deno.test("templates in a folder of their own travel with a model", async () => {
  await inFolder(async (folder) => {
    const inner = `${folder}/model/additional_chat_templates`;
    await Deno.mkdir(inner, { recursive: true });
    const put = (name: string, data: string | Uint8Array) =>
      typeof data === "string"
        ? Deno.writeTextFile(`${folder}/model/${name}`, data)
        : Deno.writeFile(`${folder}/model/${name}`, data);
    await put(
      "model.safetensors",
      rawSafetensors(
        { w: { dtype: "F32", shape: [1], data_offsets: [0, 4] } },
        new Uint8Array(4),
      ),
    );
    await put("config.json", `{"model_type":"tiny"}`);
    await put("tokenizer.json", MODEL);
    await put("chat_template.jinja", "plain");
    await put("additional_chat_templates/tool_use.jinja", "tools");
    await put("additional_chat_templates/notes.txt", "no");
    await using model = await openCheckpoint(`${folder}/model`);
    check(await checkpointTokenizer(model), ["plain", "tools"]);
    await Deno.mkdir(`${folder}/copy`);
    await copySideFiles(model, `${folder}/copy`, model.config);
    assert.equal(
      await Deno.readTextFile(
        `${folder}/copy/additional_chat_templates/tool_use.jinja`,
      ),
      "tools",
    );
    // A link out of the folder carries nothing along.
    await Deno.remove(inner, { recursive: true });
    await Deno.mkdir(`${folder}/else`);
    await Deno.writeTextFile(`${folder}/else/tool_use.jinja`, "else");
    await Deno.symlink(`${folder}/else`, inner);
    await using linked = await openCheckpoint(`${folder}/model`);
    await assert.rejects(
      copySideFiles(linked, `${folder}/copy`, linked.config),
      {
        name: "TypeError",
        message: /additional_chat_templates\/tool_use\.jinja .* is a link to/,
      },
    );
  });
});
