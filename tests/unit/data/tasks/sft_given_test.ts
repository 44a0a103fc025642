import assert from "node:assert/strict";
import { compileChatTemplate } from "../../../../src/io/chat/template.ts";
import {
  checkpointTokenizer,
  fileSource,
  openCheckpoint,
} from "../../../../src/io/open.ts";
import {
  readExamples,
  type RecordsSource,
  type SftOptions,
} from "../../../../src/train/run.ts";
import { inFolder } from "../../../helpers/model.ts";
import { toyCodec } from "../codec.ts";

const codec = toyCodec();
const EXAMPLE = new URL("../../../../examples/model", import.meta.url).pathname;

Deno.test("readExamples() with what the package gives: a model's tokenizer and a file", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/train.jsonl`;
    await Deno.writeTextFile(path, '{"prompt": "Say:", "completion": " hi"}\n');
    await using model = await openCheckpoint(EXAMPLE);
    await using file = await fileSource(path);
    const own = await checkpointTokenizer(model);
    const set = await readExamples(file, { codec: own, context: 64 });
    const { tokens, labels } = set.example(0);
    assert.equal(set.size, 1);
    assert.equal(
      own.decode(tokens, { skipSpecialTokens: true }).trim(),
      "Say: hi",
    );
    const learnt = Array.from(labels).filter((label) => label >= 0);
    assert.equal(own.decode(learnt, { skipSpecialTokens: true }).trim(), "hi");
  });
});

for (
  const [source, got] of [
    ["train.jsonl", '"train.jsonl"'],
    [null, "null"],
    [5, "number 5"],
    [{ prompt: "a", completion: "b" }, "an object"],
  ] as const
) {
  Deno.test(`readExamples() refuses ${got} for records`, async () => {
    await assert.rejects(
      readExamples(source as unknown as RecordsSource, { codec, context: 64 }),
      {
        name: "TypeError",
        message:
          `Cannot read records: wanted a list, an iterable or a file (fileSource("train.jsonl")), got ${got}`,
      },
    );
  });
}

const OPTIONS: readonly (readonly [object, string, RegExp])[] = [
  [{ codec }, "TypeError", /the options lack context$/],
  [{ codec, context: 1 }, "RangeError", /a context of 2 tokens or more, got 1/],
  [
    { codec, context: 9, overflow: "cut" },
    "RangeError",
    /overflow must be one of truncate, drop, error, got "cut"$/,
  ],
  [
    { codec, context: 9, learn: "first" },
    "RangeError",
    /learn must be one of all, last, got "first"$/,
  ],
  [
    { codec, context: 9, template: "chatml" },
    "RangeError",
    /template must be one of prompt, alpaca, gsm8k, chat, got "chatml"$/,
  ],
  [{ codec, context: 9, block: 8 }, "TypeError", /there is no option block;/],
];

for (const [options, name, message] of OPTIONS) {
  Deno.test(`readExamples() refuses its options: ${message.source}`, async () => {
    await assert.rejects(
      readExamples([{ prompt: "a", completion: "b" }], options as SftOptions),
      { name, message },
    );
  });
}

Deno.test("integers of any size in memory, and forms that differ in an object's keys alone, reach a template", async () => {
  const chatTemplate = compileChatTemplate(
    "{{ style['1'] }}:{% for m in messages %}{{ m.n }}{{ m.content }};{% endfor %}",
    { given: {}, name: "small" },
  );
  const own = toyCodec({ chatTemplate });
  const ask = (style: string, n: bigint) => ({
    messages: [
      { role: "user", content: "a", n },
      { role: "assistant", content: "b" },
    ],
    chat_template_kwargs: { style: new Map([["1", style]]) },
  });
  const set = await readExamples(
    [ask("x", 12345678901234567890n), ask("yy", 12345678901234567890n)],
    { codec: own, context: 100 },
  );
  assert.deepEqual(
    [0, 1].map((i) => own.decode(set.example(i).tokens)),
    ["x:12345678901234567890a;b;", "yy:12345678901234567890a;b;"],
  );
  const learnt = [0, 1].map((i) =>
    own.decode(Array.from(set.example(i).labels).filter((id) => id >= 0))
  );
  assert.deepEqual(learnt, ["b;", "b;"]);
});
