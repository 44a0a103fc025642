import assert from "node:assert/strict";
import { compileChatTemplate } from "../../../../src/io/chat/template.ts";
import { openTokenizer } from "../../../../src/io/open_tokenizer.ts";
import { files } from "../helpers.ts";

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
  const render = (tools: unknown[] | null) =>
    tokenizer.chatTemplate!.render({ messages: HELLO, tools }).text;
  assert.deepEqual([render(null), render([])], ["<s>hello", "tools"]);
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

Deno.test("strftime_now() gives the date as Python does", () => {
  const now = new Date();
  const { render } = compile("{{ strftime_now('%Y|%-d|%b|%q|%%') }}");
  const month = now.toLocaleDateString("en-US", { month: "short" });
  assert.equal(
    render({ messages: HELLO }).text,
    `${now.getFullYear()}|${now.getDate()}|${month}|%q|%`,
  );
});

Deno.test("a text that no memory holds is told as such, with the line", () => {
  const { render } = compile(
    "\n{{ ('a' * 100000).replace('', 'b' * 100000) }}",
  );
  assert.throws(() => render({ messages: HELLO }), {
    name: "RangeError",
    message:
      /template of "small", line 2: it wants more memory or stack than there is/,
  });
  assert.throws(() => compile(`{{ x${".y".repeat(100_000)} }}`), {
    name: "SyntaxError",
    message: /template of "small": it wants more memory or stack than there is/,
  });
});

const HOSTILE: Record<string, string> = {
  "a long range": "{% for i in range(1000000000) %}{% endfor %}",
  "a range without steps": "{% for i in range(0, 9, 0) %}{% endfor %}",
  "a list that doubles":
    "{% set ns = namespace(r=[1]) %}{% for i in range(40) %}{% set ns.r = ns.r + ns.r %}{% endfor %}",
  "a text that doubles":
    "{% set ns = namespace(s='abc') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
  "a text repeated": "{{ 'ab' * 2000000000 }}",
  "a list repeated": "{% set x = [1] * 2000000000 %}",
  "a large power": "{{ 7 ** (7 ** 9) }}",
  "a wide field": "{{ '{:>2000000000}'.format('a') }}",
  "a wide line": "{{ 'a'.ljust(2000000000) }}{{ 'a' | center(2000000000) }}",
  "a deep indent": "{{ 'a\\nb' | indent(2000000000) }}",
  "a replacement that doubles":
    "{% set ns = namespace(s='aa') %}{% for i in range(40) %}{% set ns.s = ns.s.replace('a', 'aa') %}{% endfor %}",
  "a nest that doubles":
    "{% set ns = namespace(r=[1]) %}{% for i in range(40) %}{% set ns.r = [ns.r, ns.r] %}{% endfor %}{{ ns.r }}",
  "JSON that doubles":
    "{% set ns = namespace(r=[1]) %}{% for i in range(40) %}{% set ns.r = [ns.r, ns.r] %}{% endfor %}{{ ns.r | tojson }}",
  "nests to compare":
    "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
  "nested loops":
    "{% set r = range(10000) %}{% for i in r %}{% for j in r %}{% for k in r %}{% endfor %}{% endfor %}{% endfor %}",
};

for (const [what, source] of Object.entries(HOSTILE)) {
  Deno.test(`a template with ${what} ends in a RangeError`, () => {
    const { render } = compile(source);
    assert.throws(() => render({ messages: HELLO }).text, {
      name: "RangeError",
      message: /chat template of "small"/,
    });
  });
}

Deno.test("a template reaches nothing outside", () => {
  const { render } = compile(
    "{{ Deno }}{{ globalThis }}{{ messages.constructor }}{{ messages[0].__proto__ }}",
  );
  assert.equal(render({ messages: HELLO }).text, "");
});

const ENDLESS: Record<string, string> = {
  "a macro that calls itself":
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
  "a namespace in itself":
    "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
};

for (const [what, source] of Object.entries(ENDLESS)) {
  Deno.test(`a template with ${what} ends in an error of one line`, () => {
    assert.throws(() => compile(source).render({ messages: HELLO }), {
      name: /^(Type|Range)Error$/,
      message: /^Cannot apply the chat template of "small", line 1: .*$/,
    });
  });
}

Deno.test("a template of deep nesting is refused", () => {
  const deep = 10_000;
  for (
    const source of [
      "{{ " + "(".repeat(deep) + "1" + ")".repeat(deep) + " }}",
      "{{ " + "[".repeat(deep) + "]".repeat(deep) + " }}",
      "{{ " + "-".repeat(deep) + "1 }}",
      "{{ " + "not ".repeat(deep) + "1 }}",
      "{% if 1 %}".repeat(deep) + "{% endif %}".repeat(deep),
      "{{ 'a" + "\\'".repeat(deep),
    ]
  ) {
    assert.throws(() => compile(source), {
      name: "SyntaxError",
      message: /^Cannot read the chat template of "small": line 1: /,
    });
  }
});

Deno.test("an error says what is wrong in which line, and what to do", () => {
  const messageOf = (source: string) => {
    try {
      return compile(source).render({ messages: HELLO }).text;
    } catch (error) {
      return (error as Error).message;
    }
  };
  const start = 'Cannot apply the chat template of "small", line 2: ';
  assert.equal(
    messageOf("\n{{ raise_exception('Only one\\n system message!') }}"),
    `${start}it refuses the conversation: Only one system message!`,
  );
  assert.equal(
    messageOf("\n{{ 'a' + messages }}"),
    `${start}can only concatenate str (not "list") to str (transformers refuses it, too; mend the record or the template)`,
  );
  assert.equal(
    messageOf("\n{{ 'a' | urlize }}"),
    `${start}loqa's Jinja lacks the filter "urlize", which Jinja2 has; write this line of the template without it`,
  );
  assert.equal(
    messageOf("\n{% include 'other' %}"),
    'Cannot read the chat template of "small": line 2: loqa\'s Jinja lacks {% include %}; write the template without it',
  );
});

Deno.test("a template's own blocks, of which there are none, are undefined", () => {
  const { render } = compile("({{ self.system }})");
  assert.equal(render({ messages: HELLO }).text, "()");
});

Deno.test("records are JSON, and their variables have names of their own", () => {
  const { render } = compile("{{ messages }}{{ date }}");
  assert.equal(
    render({ messages: [{ role: "user", n: undefined }] }).text,
    "[{'role': 'user'}]",
  );
  for (
    const record of [
      { messages: [] },
      { messages: [new Date(0)] },
      { messages: [{ role: "user", content: () => 1 }] },
      { messages: HELLO, tools: ["a"] },
      { messages: HELLO, documents: [1] },
      { messages: HELLO, kwargs: { messages: 1 } },
    ]
  ) assert.throws(() => render(record), { name: "TypeError" });
});

const LONG = Array.from({ length: 2000 }, (_, i) => [
  { role: "user", content: `Question ${i}?` },
  { role: "assistant", content: `Answer ${i}.` },
]).flat();

Deno.test("a conversation of 2,000 turns is laid out", () => {
  const { render } = compile(
    "{% for m in messages %}{% if loop.first %}<s>{% endif %}{{ m.role + ': ' + m.content | trim + '\\n' }}{% if loop.last %}</s>{% endif %}{% endfor %}",
  );
  const { text } = render({ messages: LONG });
  assert.equal(
    text,
    `<s>${
      LONG.map(({ role, content }) => `${role}: ${content}\n`).join("")
    }</s>`,
  );
});

Deno.test("a template that goes through all turns at each turn is refused where they are many", () => {
  const { render } = compile(
    "{% for m in messages %}{% for n in messages %}{{ n.role }}{% endfor %}{% endfor %}",
  );
  assert.equal(render({ messages: LONG.slice(0, 20) }).text.length, 20 * 130);
  assert.throws(() => render({ messages: LONG }), {
    name: "RangeError",
    message: /it does more than \d+ steps/,
  });
});
