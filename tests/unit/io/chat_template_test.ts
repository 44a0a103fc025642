import assert from "node:assert/strict";
import { compileChatTemplate } from "../../../src/io/chat_template.ts";
import { openTokenizer } from "../../../src/io/tokenizer.ts";
import { files } from "./helpers.ts";

const MODEL = {
  model: { type: "BPE", vocab: { a: 0 }, merges: [] },
};
const HELLO = [{ role: "user", content: "hello" }];

function compile(source: string) {
  return compileChatTemplate(source, { given: {}, name: "small" });
}

Deno.test("a template from a list is the one called default", async () => {
  const templates = [
    { name: "tool_use", template: "tools" },
    { name: "default", template: "{{ bos_token }}{{ messages[0].content }}" },
  ];
  const tokenizer = await openTokenizer(files({
    "tokenizer.json": JSON.stringify(MODEL),
    "tokenizer_config.json": JSON.stringify({
      "bos_token": "<s>",
      "chat_template": templates,
    }),
  }));
  assert.equal(tokenizer.applyChatTemplate(HELLO), "<s>hello");
});

Deno.test("applyChatTemplate() says that there is no template", async () => {
  const tokenizer = await openTokenizer(
    files({ "tokenizer.json": JSON.stringify(MODEL) }, "model"),
  );
  assert.equal(tokenizer.hasChatTemplate, false);
  assert.throws(() => tokenizer.applyChatTemplate(HELLO), {
    name: "TypeError",
    message: /model\/tokenizer\.json" has no chat template/,
  });
});

Deno.test("strftime_now() gives the date as Python does", async () => {
  const now = new Date();
  const { render } = await compile("{{ strftime_now('%Y|%-d|%b|%q|%%') }}");
  const month = now.toLocaleDateString("en-US", { month: "short" });
  assert.equal(
    render({ messages: HELLO }).text,
    `${now.getFullYear()}|${now.getDate()}|${month}|%q|%`,
  );
});

const HOSTILE: Record<string, string> = {
  "a long range": "{% for i in range(1000000000) %}{% endfor %}",
  "a range without steps": "{% for i in range(0, 9, 0) %}{% endfor %}",
  "a list that doubles":
    "{% set ns = namespace(r=[1]) %}{% for i in range(40) %}{% set ns.r = ns.r + ns.r %}{% endfor %}",
  "a text that doubles":
    "{% set ns = namespace(s='abc') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
  "nested loops":
    "{% set r = range(10000) %}{% for i in r %}{% for j in r %}{% for k in r %}{% endfor %}{% endfor %}{% endfor %}",
};

for (const [what, source] of Object.entries(HOSTILE)) {
  Deno.test(`a template with ${what} ends in a RangeError`, async () => {
    const { render } = await compile(source);
    assert.throws(() => render({ messages: HELLO }).text, {
      name: "RangeError",
      message: /chat template of "small"/,
    });
  });
}

Deno.test("a template reaches nothing outside", async () => {
  const { render } = await compile(
    "{{ Deno }}{{ globalThis }}{{ messages.constructor }}{{ messages[0].__proto__ }}",
  );
  assert.equal(render({ messages: HELLO }).text, "");
});
