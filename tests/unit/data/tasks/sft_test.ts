import assert from "node:assert/strict";
import { compileChatTemplate } from "../../../../src/io/chat/template.ts";
import type { TextCodec } from "../../../../src/data/codec.ts";
import { collate, IGNORED, lossCount } from "../../../../src/data/example.ts";
import type { DataRecord } from "../../../../src/data/records/record.ts";
import {
  encodeFilled,
  readExamples,
  type SftOptions,
} from "../../../../src/data/tasks/sft.ts";
import {
  alpacaPrompt,
  detectTemplate,
} from "../../../../src/data/tasks/templates.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import { readRecords } from "../../../../src/data/records/records.ts";
import { exists, sharedData } from "../../../helpers/inputs.ts";
import { EOS, idOf, templateOf, toyCodec } from "../codec.ts";

const codec = toyCodec();

function record(fields: Record<string, unknown>, line = 1): DataRecord {
  return { fields, file: "d.jsonl", row: line, line };
}

async function one(
  fields: Record<string, unknown>,
  options: Partial<SftOptions> = {},
) {
  const set = await readExamples([record(fields)], {
    codec,
    context: 1000,
    ...options,
  });
  return set.example(0);
}

function learnt(
  { tokens, labels }: { tokens: Int32Array; labels: Int32Array },
): string[] {
  const runs: string[] = [];
  let ids: number[] = [];
  for (let t = 0; t <= labels.length; t++) {
    if (t < labels.length && labels[t] !== IGNORED) {
      assert.equal(labels[t], tokens[t]);
      ids.push(labels[t]);
    } else if (ids.length > 0) {
      runs.push(codec.decode(ids));
      ids = [];
    }
  }
  return runs;
}

Deno.test("of prompt and answer only the answer is learnt, with the end", async () => {
  const prompt = await one({ prompt: "Say hi:", completion: " hi there" });
  assert.deepEqual(learnt(prompt), [` hi there<${EOS}>`]);
  assert.equal(prompt.tokens.at(-1), EOS);
  const alpaca = await one({ instruction: "Add", input: "1 2", output: "3" });
  assert.deepEqual(learnt(alpaca), [`3<${EOS}>`]);
  assert.equal(
    codec.decode(alpaca.tokens.slice(1, -2)),
    alpacaPrompt("Add", "1 2"),
  );
});

Deno.test("of a conversation every turn of the assistant is learnt, with its end", async () => {
  const messages = [
    { role: "system", content: "Be brief" },
    { role: "user", content: "Hi" },
    { role: "assistant", content: "Hello" },
    { role: "user", content: "Bye" },
    { role: "assistant", content: "Good bye" },
    { role: "user", content: "again" },
  ];
  const example = await one({ messages });
  assert.deepEqual(learnt(example), ["Hello~\n", "Good bye~\n"]);
  assert.deepEqual(
    [...example.tokens],
    Array.from(
      codec.encode(codec.chatTemplate!.render({ messages }).text, {
        addSpecialTokens: false,
      }),
    ),
  );
});

Deno.test("a token across the border is the answer's", () => {
  // Joins the last character of the prompt with the first of the answer.
  const joining: TextCodec = {
    encode: (text) =>
      (text.match(/ab|[^]/g) ?? []).map((s) =>
        s.charCodeAt(0) + 100 * s.length
      ),
    decode: () => "",
  };
  const { labels } = encodeFilled({
    segments: [
      { text: "xa", learnt: false },
      { text: "by", learnt: true },
      { text: "z", learnt: false },
    ],
    complete: true,
  }, joining);
  assert.deepEqual([...labels], [IGNORED, 97 + 200, 121 + 100, IGNORED]);
});

Deno.test("no end is added twice, and none without one", async () => {
  const fields = { prompt: "a", completion: " b" };
  const twice = toyCodec();
  const ending = {
    ...twice,
    encode: (text: string) => [...Array.from(twice.encode(text)), EOS],
    encodeOffsets: undefined,
  };
  const example = await one(fields, { codec: ending });
  assert.deepEqual([...example.tokens].filter((id) => id === EOS), [EOS]);
  assert.equal(lossCount(example.labels), 2);
  const without = await one(fields, { codec: toyCodec({ eosId: undefined }) });
  assert.deepEqual([...without.labels], [IGNORED, IGNORED, idOf(" b")]);
});

Deno.test("longer examples: cut and counted, left out, or an error", async () => {
  const records = [
    record({ prompt: "a b c", completion: " d e f g" }, 4),
    record({ prompt: "a", completion: " b" }, 5),
    record({ prompt: "a b", completion: " c d e f" }, 6),
  ];
  const read = (overflow: SftOptions["overflow"], context = 6) =>
    readExamples(records, { codec, context, overflow });
  const cut = await read("truncate");
  assert.deepEqual(
    [cut.size, cut.truncated, cut.dropped, cut.longest, cut.firstLonger],
    [3, 2, 0, 6, '"d.jsonl", line 4'],
  );
  assert.deepEqual(learnt(cut.example(0)), [" d e"]);
  const left = await read("drop");
  assert.deepEqual(
    [left.size, left.truncated, left.dropped, left.longest, left.firstLonger],
    [1, 0, 2, 4, '"d.jsonl", line 4'],
  );
  await assert.rejects(read("error"), {
    name: "SyntaxError",
    message: 'Cannot use "d.jsonl", line 4: wanted at most 6 tokens, got 9',
  });
  const short = await read("truncate", 4);
  assert.deepEqual([short.size, short.truncated, short.dropped], [2, 1, 1]);
  await assert.rejects(read("drop", 2), {
    name: "RangeError",
    message:
      /wanted at least one, got none: 3 of more than 2 tokens were dropped, the first in "d.jsonl", line 4/,
  });
  await assert.rejects(read("drop", 1), /wanted a context of 2 tokens or more/);
});

Deno.test("records that fit no template are refused with file and line", async () => {
  const bad: [Record<string, unknown>, RegExp][] = [
    [
      { text: "x" },
      /wanted the fields messages, conversations, prompt and completion, .* got text \(texts are for the task lm\)$/,
    ],
    [{}, / got none$/],
    [{ prompt: "a", completion: "" }, /wanted an answer, got an empty one/],
    [
      { prompt: "a", completion: 3 },
      /"completion": wanted a text, got a number/,
    ],
    [
      { instruction: "a", input: [], output: "b" },
      /"input": wanted a text, got a list/,
    ],
    [{ messages: "x" }, /"messages": wanted a list of messages, got a string/],
    [{ messages: [{ role: "user" }] }, /message 1: wanted a content, got none/],
    [
      { messages: [null] },
      /message 1: wanted an object with a role and a content, got null/,
    ],
    [{ messages: [] }, /wanted a message of the assistant, got none/],
  ];
  for (const [fields, message] of bad) {
    await assert.rejects(() => one(fields), (error: Error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, /^Cannot use "d.jsonl", line 1: /);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.throws(() => detectTemplate(record({ answer: "x" })), /got answer$/);
});

Deno.test("chat templates that are missing, fail or rewrite the past", async () => {
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
    { role: "user", content: "c" },
    { role: "assistant", content: "d" },
  ];
  await assert.rejects(
    () => one({ messages }, { codec: toyCodec({ chatTemplate: undefined }) }),
    { name: "TypeError", message: /wanted a tokenizer with a chat template/ },
  );
  const failing = toyCodec({
    chatTemplate: templateOf(() => {
      throw new Error("roles must alternate");
    }),
  });
  await assert.rejects(() => one({ messages }, { codec: failing }), {
    name: "SyntaxError",
    message:
      'Cannot use "d.jsonl", line 1: the chat template: roles must alternate',
  });
  const forgetting = toyCodec({
    chatTemplate: templateOf((list) =>
      list.map(({ role, content }, i) =>
        role === "assistant" && i < list.length - 1
          ? ""
          : `${role}:${content}.\n`
      ).join("")
    ),
  });
  const set = await readExamples([record({ messages })], {
    codec: forgetting,
    context: 100,
  });
  assert.deepEqual(
    [0, 1].map((i) => forgetting.decode(set.example(i).tokens)),
    ["user:a.\nassistant:b.\n", "user:a.\nuser:c.\nassistant:d.\n"],
  );
  assert.equal(set.size, 2);
});

Deno.test("collate() pads on the right, and nothing is learnt there", () => {
  const example = (...tokens: number[]) => ({
    tokens: Int32Array.from(tokens),
    labels: Int32Array.from(tokens, (id, i) => i === 0 ? IGNORED : id),
  });
  const examples = [example(5, 6, 7), example(8), example(9, 4)];
  const batch = collate(examples, { padId: 99 });
  assert.deepEqual([batch.rows, batch.cols], [3, 3]);
  assert.deepEqual([...batch.tokens], [5, 6, 7, 8, 99, 99, 9, 4, 99]);
  const no = IGNORED;
  assert.deepEqual([...batch.labels], [no, 6, 7, no, no, no, no, 4, no]);
  assert.deepEqual([...batch.lengths], [3, 1, 2]);
  assert.deepEqual(examples.map(({ labels }) => lossCount(labels)), [2, 0, 1]);
  assert.equal(collate(examples, { padId: 0, multiple: 8 }).cols, 8);
  assert.throws(() => collate([], { padId: 0 }), RangeError);
});

const path = `${sharedData()}/gsm8k/train.jsonl`;
Deno.test({
  name:
    "GSM8K's training set: every answer is learnt whole (wants ../shared/data)",
  ignore: !exists(path),
  async fn() {
    const source = bytesSource(Deno.readFileSync(path), "train.jsonl");
    const set = await readExamples(readRecords(source), {
      codec,
      context: 1024,
    });
    assert.deepEqual([set.size, set.truncated, set.dropped], [7473, 0, 0]);
    for (let i = 0; i < set.size; i += 100) {
      const [answer, ...rest] = learnt(set.example(i));
      assert.match(answer, /\nThe final answer is: {2}-?[\d,.]+<2>$/);
      assert.equal(rest.length, 0);
    }
  },
});

Deno.test("records come from a list, one by one, or from a file: the same examples", async () => {
  const fields = [
    { prompt: "a", completion: " b" },
    {
      messages: [{ role: "user", content: "a" }, {
        role: "assistant",
        content: "b",
      }],
    },
  ];
  const text = fields.map((record) => JSON.stringify(record)).join("\n");
  const bytes = new TextEncoder().encode(text);
  async function* oneByOne() {
    yield* fields;
  }
  const sources = [
    fields,
    oneByOne(),
    fields.map((each, i) => record(each, i + 1)),
    bytesSource(bytes, "d.jsonl"),
  ];
  const made = [];
  for (const source of sources) {
    const set = await readExamples(source, { codec, context: 100 });
    made.push([0, 1].map((i) => set.example(i)));
  }
  for (const each of made) assert.deepEqual(each, made[0]);
  assert.deepEqual(made[0].map(learnt), [[` b<${EOS}>`], ["b~\n"]]);
  await assert.rejects(
    readExamples([[]], { codec, context: 100 }),
    {
      name: "SyntaxError",
      message: 'Cannot use "data", row 1: wanted an object, got a list',
    },
  );
});

Deno.test("numbers and the order of keys reach a chat template as the file has them", async () => {
  const line =
    '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"b": 2.0, "10": 12345678901234567890, "2": 1}}}]}]}';
  const chatTemplate = await compileChatTemplate(
    "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}<{{ c.function.name }} {{ c.function.arguments | tojson }}|end>{% endfor %};{% endfor %}",
    { given: {}, name: "small" },
  );
  const own = toyCodec({ chatTemplate });
  const set = await readExamples(
    bytesSource(new TextEncoder().encode(line), "d.jsonl"),
    { codec: own, context: 100 },
  );
  const { tokens } = set.example(0);
  assert.equal(
    own.decode(tokens),
    'a;<f {"b": 2.0, "10": 12345678901234567890, "2": 1}|end>;',
  );
});

Deno.test("Alpaca's system and history stand before the instruction; fields that nothing uses are named once", async () => {
  const history = [["One?", "1"], ["Two?", "2"]];
  const example = await one({
    ...{ instruction: "Three?", output: "3" },
    ...{ system: "Count.", history },
  });
  assert.deepEqual(learnt(example), [`3<${EOS}>`]);
  assert.equal(
    codec.decode(example.tokens.slice(1, -2)),
    "Count.\n\n### Instruction:\nOne?\n\n### Response:1\n\n### Instruction:\nTwo?\n\n### Response:2\n\n### Instruction:\nThree?\n\n### Response:",
  );
  const pair = { prompt: "a", completion: " b", system: "x", tools: null };
  const { notes } = await readExamples(
    [record(pair, 1), record(pair, 2)],
    { codec, context: 100 },
  );
  assert.deepEqual(notes, [
    'field "system" is not used (the first: "d.jsonl", line 1)',
  ]);
  await assert.rejects(
    () => one({ instruction: "a", output: "b", history: [["c"]] }),
    {
      message: /"history": wanted a list of pairs, .* got a list with a list$/,
    },
  );
});
