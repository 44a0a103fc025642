import assert from "node:assert/strict";
import { compileChatTemplate } from "../../../../src/io/chat/template.ts";
import type { JsonObject } from "../../../../src/io/files/json.ts";
import type { TokenOffsets } from "../../../../src/io/tokenizer/tokenizer.ts";
import type { TextCodec } from "../../../../src/data/codec.ts";
import { IGNORED } from "../../../../src/data/example.ts";
import type { Learn } from "../../../../src/data/chat/labels.ts";
import { RecordReader } from "../../../../src/data/tasks/sft.ts";

const END = 0x10ffff;

/** A tokenizer of characters with a chat template; its end is written `</s>`. */
async function codecOf(
  source: string,
  eosId: number | undefined = END,
): Promise<TextCodec> {
  const encode = (text: string) => Array.from(text, (c) => c.codePointAt(0)!);
  return {
    encode,
    decode: (ids) =>
      Array.from(ids, (id) => id === END ? "</s>" : String.fromCodePoint(id))
        .join(""),
    eosId,
    encodeOffsets(text): TokenOffsets {
      const ends: number[] = [];
      for (const c of text) ends.push((ends.at(-1) ?? 0) + c.length);
      return {
        ids: Int32Array.from(encode(text)),
        starts: Int32Array.from([0, ...ends.slice(0, -1)]),
        ends: Int32Array.from(ends),
        blurred: [],
      };
    },
    chatTemplate: await compileChatTemplate(source, {
      given: { eos_token: "</s>", bos_token: "<s>" },
      name: "small",
    }),
  };
}

/** The examples of a record as texts, what is learnt between brackets. */
function examplesOf(
  codec: TextCodec,
  fields: JsonObject,
  learn?: Learn,
): string[] {
  const reader = new RecordReader({ codec, learn });
  const record = { fields, file: "d.jsonl", row: 1, line: 1 };
  return Array.from(reader.examples(record), ({ tokens, labels }) => {
    let out = "";
    for (let t = 0; t <= tokens.length; t++) {
      const is = t < tokens.length && labels[t] !== IGNORED;
      const was = t > 0 && labels[t - 1] !== IGNORED;
      if (is !== was) out += is ? "[" : "]";
      if (t < tokens.length) out += codec.decode([tokens[t]]);
    }
    return out;
  });
}

const user = (content: string) => ({ role: "user", content });
const answer = (content: string, more: JsonObject = {}) => ({
  ...{ role: "assistant", content },
  ...more,
});
const ONE = [user("Legs?"), answer("Four.")];
const TWO = [...ONE, user("Eyes?"), answer("Two.")];
const RAIN = [
  user("Rain?"),
  answer("", {
    tool_calls: [{ function: { name: "weather", arguments: { days: 2 } } }],
  }),
  { role: "tool", content: '{"sky": "dry"}' },
  answer("No."),
];

/** A template's name, its text, a record's messages, and the examples. */
const CASES: readonly (readonly [
  string,
  string,
  readonly JsonObject[],
  ...string[],
])[] = [
  [
    "an end behind each message",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    TWO,
    "<|user|>Legs?<|end|>\n<|assistant|>[Four.<|end|>\n]<|user|>Eyes?<|end|>\n<|assistant|>[Two.<|end|>\n]",
  ],
  [
    "a thought in the last answer only",
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    TWO,
    "<|user|>Legs?<|end|><|assistant|>[Four.<|end|>]<|user|>Eyes?<|end|><|assistant|>[<think></think>Two.<|end|>]",
  ],
  [
    "an end of text where no prompt is asked for",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}",
    TWO,
    "<|user|>Legs?<|end|><|assistant|>[Four.<|end|>]<|user|>Eyes?<|end|><|assistant|>[Two.<|end|></s>]",
  ],
  [
    "a prompt that begins a thought",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}",
    TWO,
    "<|user|>Legs?<|end|><|assistant|>[Four.<|end|>]<|user|>Eyes?<|end|><|assistant|>[Two.<|end|>]",
  ],
  [
    "thoughts cut out of the history",
    "{% for m in messages %}<|{{ m.role }}|>\n{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    [
      user("Legs?"),
      answer("<think>dogs</think>Four."),
      user("Eyes?"),
      answer("<think>all</think>Two."),
    ],
    "<|user|>\nLegs?<|end|><|assistant|>\n[Four.<|end|>]<|user|>\nEyes?<|end|><|assistant|>\n[<think>all</think>Two.<|end|>]",
  ],
  [
    "an end before the next user's turn",
    "{% for m in messages %}{% if m.role == 'user' and not loop.first %}<|end|>{% endif %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    TWO,
    "<|user|>Legs?<|assistant|>[Four.<|end|>]<|user|>Eyes?<|assistant|>[Two.</s>]",
  ],
  [
    "an end behind all but the last message",
    "{% if messages[0].role != 'system' %}<|start|>system\nHelp.<|end|>\n{% endif %}{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}{% if not loop.last %}</s>\n{% endif %}{% endfor %}{% if add_generation_prompt %}</s>\n<|start|>assistant\n{% endif %}",
    TWO,
    "<|start|>system\nHelp.<|end|>\n<|start|>user\nLegs?</s>\n<|start|>assistant\n[Four.</s>]\n<|start|>user\nEyes?</s>\n<|start|>assistant\n[Two.</s>]",
  ],
  [
    "no end at all: an example for each answer",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    TWO,
    "<|user|>Legs?<|assistant|>[Four.</s>]",
    "<|user|>Legs?<|assistant|>Four.<|user|>Eyes?<|assistant|>[Two.</s>]",
  ],
  [
    "empty lines for an end",
    "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}{% if add_generation_prompt %}### assistant:\n{% endif %}",
    ONE,
    "### user:\nLegs?\n\n### assistant:\n[Four.\n\n</s>]",
  ],
  [
    "a header behind every conversation",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>",
    TWO,
    "<|user|>Legs?<|end|><|assistant|>[Four.<|end|>]<|user|>Eyes?<|end|><|assistant|>[Two.<|end|>]<|assistant|>",
  ],
  [
    "an assistant that begins, its prompt inside the loop",
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% if loop.last and add_generation_prompt %}<|assistant|>\n{% endif %}{% endfor %}",
    [answer("Hello."), ...ONE],
    "<|assistant|>\n[Hello.<|end|>\n]<|user|>\nLegs?<|end|>\n<|assistant|>\n[Four.<|end|>\n]",
  ],
  [
    "no prompt behind a tool",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt and messages[-1].role != 'tool' %}<|assistant|>{% endif %}",
    [
      user("Rain?"),
      answer("", {
        tool_calls: [{ function: { name: "weather", arguments: {} } }],
      }),
      { role: "tool", content: "dry" },
      answer("No."),
    ],
    "<|user|>Rain?<|end|><|assistant|>[<call>weather</call><|end|>]<|tool|>dry<|end|><|assistant|>[No.<|end|>]",
  ],
  [
    "a system message moved to the last question",
    "{% set s = messages[0].content if messages[0].role == 'system' else '' %}{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}<q>{% if loop.last or (loop.index0 == (messages | length) - 3) %}{{ s }} {% endif %}{{ m.content }}</q>{% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
    [{ role: "system", content: "Short." }, ...TWO],
    "<q>Legs?</q>[Four.</s>]<q>Short. Eyes?</q>[Two.</s>]",
  ],
  [
    "spaces around what is said",
    "{% for m in messages %}({{ m.role }}) {{ m.content | trim }} </s>{% endfor %}{% if add_generation_prompt %}(assistant){% endif %}",
    [user("  Legs? \n"), answer("\n Four. ")],
    "(user) Legs? </s>(assistant)[ Four. </s>]",
  ],
  [
    "what is said looks like the template's own text",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    [
      user("assistant<|end|><|assistant|>user"),
      answer("x<|end|><|user|>y<|end|><|assistant|>x"),
      user("x"),
      answer("x"),
    ],
    "<|user|>assistant<|end|><|assistant|>user<|end|><|assistant|>[x<|end|><|user|>y<|end|><|assistant|>x<|end|>]<|user|>x<|end|><|assistant|>[x<|end|>]",
  ],
  [
    "parts of a content",
    "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{{ p.text }};{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    [
      { role: "user", content: [{ type: "text", text: "Legs?" }] },
      {
        role: "assistant",
        content: [{ type: "text", text: "Fo" }, { type: "text", text: "ur" }],
      },
    ],
    "<|user|>Legs?;<|end|><|assistant|>[Fo;ur;<|end|>]",
  ],
  [
    "a call that begins an answer which has no header",
    "{% for m in messages %}{% if m.role == 'user' %}<q>{{ m.content }}</q>{% elif m.role == 'tool' %}<r>{{ m.content }}</r>{% else %}{% if m.tool_calls %}<calls>{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}</calls>{% else %}{{ m.content }}{% endif %}</s>{% endif %}{% endfor %}",
    RAIN,
    '<q>Rain?</q>[<calls>{"name": "weather", "arguments": {"days": 2}}</calls></s>]<r>{"sky": "dry"}</r>[No.</s>]',
  ],
  [
    "a tool that answers in JSON, and no end of a turn",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    RAIN,
    "<|user|>Rain?<|assistant|>[<call>weather</call></s>]",
    '<|user|>Rain?<|assistant|><call>weather</call><|tool|>{"sky": "dry"}<|assistant|>[No.</s>]',
  ],
  [
    "a question with tags, and no end of a turn",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    [user("<b>Legs</b>?"), answer("Four."), user("<b>Eyes</b>?"), answer("2.")],
    "<|user|><b>Legs</b>?<|assistant|>[Four.</s>]",
    "<|user|><b>Legs</b>?<|assistant|>Four.<|user|><b>Eyes</b>?<|assistant|>[2.</s>]",
  ],
  [
    "a header behind every conversation that begins as a question's",
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}{{ '<|start|>assistant\n' }}",
    TWO,
    "<|start|>user\nLegs?</s>\n<|start|>assistant\n[Four.</s>]\n<|start|>user\nEyes?</s>\n<|start|>assistant\n[Two.</s>]\n<|start|>assistant\n",
  ],
  [
    "a header behind every conversation, and a system's text before it that ends in the same way",
    "{{ '<|start|>system\n' }}Help.<|end|>{{ '\n' }}{% for m in messages %}<|start|>{{ m.role }}{{ '\n' }}{{ m.content }}<|end|>{{ '\n' }}{% endfor %}{{ '<|start|>assistant\n' }}",
    TWO,
    "<|start|>system\nHelp.<|end|>\n<|start|>user\nLegs?<|end|>\n<|start|>assistant\n[Four.<|end|>\n]<|start|>user\nEyes?<|end|>\n<|start|>assistant\n[Two.<|end|>\n]<|start|>assistant\n",
  ],
  [
    "a header behind every conversation, and no end: the header is left out",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>",
    ONE,
    "<|user|>Legs?<|assistant|>[Four.</s>]",
  ],
  [
    "empty lines behind a last answer that has no end",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if not loop.last %}</s>{% else %}{{ '\n\n' }}{% endif %}{% endfor %}",
    TWO,
    "<|user|>Legs?</s><|assistant|>[Four.</s>]<|user|>Eyes?</s><|assistant|>[Two.\n\n</s>]",
  ],
  [
    "answers on end, without an end of their own",
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}</think>{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>{% endif %}",
    [...ONE, answer("Or more.")],
    "<|user|>Legs?<|assistant|>[</think>Four.</s>]",
    "<|user|>Legs?<|assistant|></think>Four.<|assistant|>[</think>Or more.</s>]",
  ],
  [
    "answers on end, a header after another end than where a prompt is asked for",
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}{% if not loop.last %}{{ '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    [...ONE, answer("Or more.")],
    "<|user|>\nLegs?\n<|assistant|>\n[Four.</s>]\n<|assistant|>\n[Or more.</s>]",
  ],
  [
    "an end of its look alone, behind a call as behind a text",
    "{% for m in messages %}({{ m.role }}){{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>{% endfor %}~e~{% endfor %}{% if add_generation_prompt %}(assistant){% endif %}",
    RAIN,
    '(user)Rain?~e~(assistant)[<call>weather</call>~e~](tool){"sky": "dry"}~e~(assistant)[No.~e~]',
  ],
  [
    "a token that ends the calls, but no turn",
    "{% for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}<|calls_begin|>{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}<|calls_end|>{% else %}{{ m.content }}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    RAIN,
    "<|user|>Rain?</s><|assistant|>[<|calls_begin|>weather<|calls_end|></s>]",
    '<|user|>Rain?</s><|assistant|><|calls_begin|>weather<|calls_end|><|tool|>{"sky": "dry"}</s><|assistant|>[No.</s>]',
  ],
  [
    "a token that begins each call and ends the last, but no turn",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}<|call|>{{ c.function.name }}<|call|>{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    RAIN.slice(0, 2),
    "<|user|>Rain?<|assistant|>[<|call|>weather<|call|></s>]",
  ],
  [
    "calls without their names",
    "{% for m in messages %}<|{{ m.role }}|>{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    RAIN,
    '<|user|>Rain?<|end|><|assistant|>[{"days": 2}<|end|>]<|tool|>{"sky": "dry"}<|end|><|assistant|>[No.<|end|>]',
  ],
  [
    "calls by their ids alone, behind a text",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.id }}:{{ c.function.arguments | tojson }}</call>{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    [
      user("Rain?"),
      answer("Wait.", {
        tool_calls: [{
          id: "w0",
          function: { name: "weather", arguments: {} },
        }],
      }),
    ],
    "<|user|>Rain?<|end|><|assistant|>[Wait.<call>w0:{}</call><|end|>]",
  ],
  [
    "a call, and behind its end an empty answer",
    "{% for m in messages %}{% if m.tool_calls %}<|assistant|><call>{{ m.tool_calls[0].function.name }}</call></s>{% endif %}{% if m.content is not none %}<|{{ m.role }}|>{{ m.content }}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    RAIN,
    '<|user|>Rain?</s><|assistant|>[<call>weather</call></s>]<|assistant|></s><|tool|>{"sky": "dry"}</s><|assistant|>[No.</s>]',
  ],
  [
    "a prompt that goes on behind a header in words",
    "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}<sep>{% endfor %}{% if add_generation_prompt %}assistant: <think>{% endif %}",
    TWO,
    "user: Legs?<sep>assistant: [Four.<sep>]user: Eyes?<sep>assistant: <think>[</think>Two.<sep>]",
  ],
  [
    "a header behind every conversation, and one in words in the history alone",
    "{% for m in messages %}{% if m.role == 'assistant' and not loop.last %}{{ 'Bot:' }}{% endif %}{{ m.content }}{% if m.role == 'assistant' and not loop.last %}</s>{% endif %}{{ '\n' }}{% endfor %}{{ 'Bot:' }}",
    TWO,
    "Legs?\nBot:[Four.</s>]\nEyes?\n[Two.</s>]",
  ],
  [
    "a first answer behind which no conversation may end",
    "{% if messages | selectattr('role', 'equalto', 'user') | list | length == 0 %}{{ raise_exception('no question') }}{% endif %}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    [answer("Hello."), ...ONE],
    "<|assistant|>[Hello.</s>]<|user|>Legs?</s><|assistant|>[Four.</s>]",
  ],
  [
    "a prompt that is written otherwise than the headers of a conversation",
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant>\n{% endif %}",
    TWO,
    "<|user|>\nLegs?<|end|>\n<|assistant|>\n[Four.<|end|>\n]<|user|>\nEyes?<|end|>\n<|assistant|>\n[Two.<|end|>\n]",
  ],
  [
    "empty lines of an answer made one",
    "{% for m in messages %}{{ '\n\n' + m.role }}: {{ m.content.replace('\n\n', '\n') | trim }}{% endfor %}{% if add_generation_prompt %}{{ '\n\nassistant:' }}{% endif %}",
    [user("Legs?"), answer("Four.\n\nOr two.")],
    "\n\nuser: Legs?\n\nassistant:[ Four.\nOr two.</s>]",
  ],
];

for (const [name, template, messages, ...wanted] of CASES) {
  Deno.test(`of a conversation the answers and their ends are learnt: ${name}`, async () => {
    const codec = await codecOf(template);
    assert.deepEqual(examplesOf(codec, { messages }), wanted);
    // The form of a conversation is found once; the second one is told by it.
    assert.deepEqual(examplesOf(codec, { messages }), wanted);
    // The last answer alone is learnt as it is with the others.
    const [last] = examplesOf(codec, { messages }, "last");
    const final = wanted.at(-1)!;
    assert.equal(
      last.slice(last.indexOf("[")),
      final.slice(final.lastIndexOf("[")),
    );
  });
}

const PLAIN = CASES[0][1];

Deno.test("what the data take out is not learnt: weight 0, train false, a prompt of messages", async () => {
  const codec = await codecOf(PLAIN);
  const [q, a, r, b] = TWO;
  const wanted =
    "<|user|>Legs?<|end|>\n<|assistant|>Four.<|end|>\n<|user|>Eyes?<|end|>\n<|assistant|>[Two.<|end|>\n]";
  for (
    const fields of [
      { messages: [q, { ...a, weight: 0 }, r, b] },
      { messages: [q, { ...a, train: false }, r, { ...b, weight: 1 }] },
      { prompt: [q, a, r], completion: [b] },
      {
        conversations: [
          { from: "human", value: "Legs?" },
          { from: "gpt", value: "Four.", weight: 0 },
          { from: "human", value: "Eyes?" },
          { from: "gpt", value: "Two." },
        ],
      },
    ]
  ) assert.deepEqual(examplesOf(codec, fields), [wanted]);
});

Deno.test("tools, documents and variables of a record reach the template", async () => {
  const codec = await codecOf(
    "{{ tools | length }}{{ documents | length }}{{ enable_thinking }}{{ style }}" +
      PLAIN,
  );
  const fields = { messages: ONE, tools: [{}, {}], documents: [{ text: "x" }] };
  const [text] = examplesOf(codec, {
    ...fields,
    enable_thinking: false,
    chat_template_kwargs: { style: "terse" },
  });
  assert.match(text, /^21[Ff]alseterse<\|user\|>/);
  const [written] = examplesOf(codec, {
    ...fields,
    enable_thinking: null,
    tools: '[{"a": 1}]',
    chat_template_kwargs: { style: "", enable_thinking: true },
  });
  assert.match(written, /^11[Tt]rue<\|user\|>/);
});

Deno.test("answers that are empty, left out or without an end are refused", async () => {
  const call = {
    "tool_calls": [{ function: { name: "weather", arguments: {} } }],
  };
  const refused = async (
    template: string,
    message: JsonObject,
    reason: RegExp,
    eosId?: number,
  ) => {
    const codec = {
      ...await codecOf(template),
      ...eosId === 0 && { eosId: undefined },
    };
    assert.throws(() => examplesOf(codec, { messages: [user("a"), message] }), {
      name: "SyntaxError",
      message: reason,
    });
  };
  await refused(
    PLAIN,
    answer(" \n"),
    /^Cannot use "d.jsonl", line 1: message 2: wanted an answer, got an empty one$/,
  );
  await refused(
    PLAIN,
    answer("", call),
    /message 2: the chat template does not write its tool calls$/,
  );
  await refused(
    "{% for m in messages %}{% if m.tool_calls %}{{ m.tool_calls[0].function.name }}{% else %}{{ m.content }}{% endif %}{% endfor %}",
    answer("", { tool_calls: [...call.tool_calls, ...call.tool_calls] }),
    /message 2: the chat template does not write its tool calls$/,
  );
  await refused(
    "{% for m in messages %}{{ m.role }}: {{ m.content | string }}{% endfor %}",
    { role: "assistant", content: [{ type: "text", text: "b" }] },
    /message 2: the chat template writes a content in parts as the list that it is; make it one text$/,
  );
  await refused(
    "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
    answer("b"),
    /message 2: the chat template does not write it$/,
  );
  await refused(
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}",
    answer("b"),
    /the tokenizer has no token that ends a text: the model would never stop$/,
    0,
  );
  await refused(
    PLAIN,
    answer("b", { weight: 0 }),
    /wanted a message of the assistant that is to be learnt, got none/,
  );
  await refused(
    PLAIN,
    answer("b", { weight: 0.5 }),
    /weight: wanted 0 or 1, got 0.5$/,
  );
  await refused(
    PLAIN,
    answer("b", { train: 1 }),
    /train: wanted true or false, got 1$/,
  );
});

Deno.test("a template's own marks are taken as they are, each for its message", async () => {
  const marked =
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}{% if loop.last %}<think></think>{% endif %}{{ m.content }}<|end|>{% endgeneration %}{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}";
  const codec = await codecOf(marked);
  const [q, a, r, b] = TWO;
  const before = "<|user|>Legs?<|end|><|assistant|>";
  const second =
    "<|user|>Eyes?<|end|><|assistant|>[<think></think>Two.<|end|>]";
  assert.deepEqual(examplesOf(codec, { messages: TWO }), [
    `${before}[Four.<|end|>]${second}`,
  ]);
  for (
    const examples of [
      examplesOf(codec, { messages: TWO }, "last"),
      examplesOf(codec, { messages: [q, { ...a, weight: 0 }, r, b] }),
    ]
  ) assert.deepEqual(examples, [`${before}Four.<|end|>${second}`]);
  // An end of the whole text may have marks of its own; and one answer none but with others.
  const ended = await codecOf(
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}{% generation %}</s>{% endgeneration %}",
  );
  assert.deepEqual(examplesOf(ended, { messages: TWO }, "last"), [
    "Legs?Four.<|end|>Eyes?[Two.<|end|></s>]",
  ]);
  assert.deepEqual(
    examplesOf(ended, { messages: [q, a, r, { ...b, train: false }] }),
    ["Legs?[Four.<|end|>]Eyes?Two.<|end|></s>"],
  );
  const only = await codecOf(
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{% if loop.last %}{{ m.content }}{% endif %}<|end|>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
  );
  assert.deepEqual(examplesOf(only, { messages: TWO }), [
    "Legs?[Four.<|end|>]",
    "Legs?<|end|>Eyes?[Two.<|end|>]",
  ]);
  const silent = await codecOf(
    "{% for m in messages %}{% generation %}{{ m.text }}<|end|>{% endgeneration %}{% endfor %}",
  );
  assert.throws(() => examplesOf(silent, { messages: ONE }), {
    message: /message 2: the chat template does not write it$/,
  });
});

Deno.test("a conversation of 2,000 turns takes time that grows with its length", async () => {
  const codec = await codecOf(PLAIN);
  let renders = 0;
  const template = codec.chatTemplate!;
  const counting = {
    ...codec,
    chatTemplate: {
      ...template,
      render: (...args: Parameters<typeof template.render>) => {
        renders++;
        return template.render(...args);
      },
    },
  };
  const messages = Array.from(
    { length: 2000 },
    (_, i) => i % 2 === 0 ? user(`Question ${i}?`) : answer(`Answer ${i}.`),
  );
  const [text] = examplesOf(counting, { messages });
  assert.equal(text.split("[").length - 1, 1000);
  assert.match(
    text,
    /\[Answer 1\.<\|end\|>\n\].*\[Answer 1999\.<\|end\|>\n\]$/s,
  );
  assert.ok(renders < 20, `${renders} renders`);
});
