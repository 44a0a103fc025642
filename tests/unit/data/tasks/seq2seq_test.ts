import assert from "node:assert/strict";
import { Framer } from "../../../../src/data/frame.ts";
import { readPairs, readParallel } from "../../../../src/data/tasks/pairs.ts";
import type { PairOptions } from "../../../../src/data/tasks/pairs.ts";
import {
  readPairExamples,
  type Seq2SeqOptions,
} from "../../../../src/data/tasks/seq2seq.ts";
import { exists, sharedData } from "../../../helpers/inputs.ts";
import { BOS, EOS, file, idOf, pairCodec } from "../codec.ts";

async function pairs(name: string, text: string, options?: PairOptions) {
  const read = readPairs(file(name, text), options);
  return (await Array.fromAsync(read)).map(({ source, target, record }) => [
    source,
    target,
    record.line ?? record.row,
  ]);
}

Deno.test("columns of XSum, CNN/DailyMail and others", async () => {
  const json = (fields: object) => JSON.stringify({ id: 1, ...fields });
  assert.deepEqual(
    await pairs("x.jsonl", json({ document: "a\nb", summary: "c" })),
    [["a\nb", "c", 1]],
  );
  assert.deepEqual(
    await pairs("c.json", `[${json({ article: "a", highlights: "b\nc" })}]`),
    [["a", "b\nc", 1]],
  );
  assert.deepEqual(
    await pairs("c.csv", 'id,article,highlights\n1,"a, b","c\nd"\n'),
    [["a, b", "c\nd", 2]],
  );
  assert.deepEqual(
    await pairs("s.json", json({ dialogue: "a", summary: "b" })),
    [["a", "b", 1]],
  );
  assert.deepEqual(
    await pairs("s.tsv", "q\ta\nx\ty\n", { columns: ["q", "a"] }),
    [["x", "y", 2]],
  );
});

Deno.test("a dictionary is words and their pronunciations", async () => {
  assert.deepEqual(
    await pairs(
      "us.json",
      '{\n"read": {"DEFAULT": "ɹˈid", "VBD": "ɹˈɛd"},\n"a": "ə"}',
    ),
    [["read", "ɹˈid", 1], ["a", "ə", 2]],
  );
  await assert.rejects(
    pairs("us.json", '{"a": "ə", "b": {"NOUN": "x"}}'),
    /"us\.json", row 2: wanted a pronunciation of "b" under DEFAULT, got none/,
  );
  await assert.rejects(
    pairs("us.json", '{"a": 3}'),
    /row 1: wanted a pronunciation of "a", got a number/,
  );
});

Deno.test("missing columns and empty texts are refused", async () => {
  await assert.rejects(
    pairs("x.jsonl", '{"document":"a","title":"b"}'),
    {
      name: "SyntaxError",
      message:
        'Cannot use "x.jsonl", line 1: wanted the columns "document" and "summary", or "article" and "highlights", or "dialogue" and "summary", or "text" and "summary", or "source" and "target", got "document", "title"',
    },
  );
  await assert.rejects(
    pairs("x.jsonl", '{"document":"a","summary":"b"}\n{"document":"a"}'),
    /line 2: wanted a field "summary", got "document"/,
  );
  await assert.rejects(
    pairs("x.jsonl", '{"document":" ","summary":"b"}'),
    /line 1: wanted a source and a target, got an empty text/,
  );
  await assert.rejects(
    pairs("x.jsonl", '{"document":"a","summary":""}'),
    /got an empty target/,
  );
});

Deno.test("two files, line by line", async () => {
  const read = (source: string, target: string) =>
    Array.fromAsync(
      readParallel(file("t.source", source), file("t.target", target)),
    );
  const found = await read("a\nb\n", "c\nd\n");
  assert.deepEqual(
    found.map(({ source, target, record }) => [source, target, record.line]),
    [["a", "c", 1], ["b", "d", 2]],
  );
  await assert.rejects(
    read("a\nb\n", "c\n"),
    /"t\.source", line 2: wanted as many lines as "t\.target", which has 1/,
  );
  await assert.rejects(
    read("a\n", "c\nd\n"),
    /"t\.target", line 2: wanted as many lines as "t\.source", which has 1/,
  );
  await assert.rejects(
    read("a\n\n", "c\nd\n"),
    /"t\.source", line 2: .* empty text/,
  );
});

const framer = new Framer(pairCodec());

async function examples(options: Partial<Seq2SeqOptions> = {}) {
  const text = "source\ttarget\none two three\tfour five six\none\ttwo\n";
  return await readPairExamples(readPairs(file("t.tsv", text)), {
    framer,
    context: 100,
    ...options,
  });
}

Deno.test("pairs become examples, both sides with their special tokens", async () => {
  const set = await examples();
  assert.deepEqual(set.example(1), {
    kind: "pair",
    source: Int32Array.of(BOS, idOf("one"), EOS),
    target: Int32Array.of(BOS, idOf("two"), EOS),
  });
  assert.deepEqual([set.size, set.longest, set.truncated], [2, 5, 0]);
});

Deno.test("each side is cut to its own length", async () => {
  const set = await examples({ context: 4, targetContext: 3 });
  assert.deepEqual(
    [...set.example(0).source],
    [BOS, idOf("one"), idOf(" two"), EOS],
  );
  assert.deepEqual([...set.example(0).target], [BOS, idOf("four"), EOS]);
  assert.deepEqual([set.truncated, set.firstLonger], [1, '"t.tsv", line 2']);
  const left = await examples({ context: 4, overflow: "drop" });
  assert.deepEqual([left.size, left.dropped], [1, 1]);
});

Deno.test("an over-long document is one clear error where it is to be one", async () => {
  await assert.rejects(examples({ context: 4, overflow: "error" }), {
    name: "SyntaxError",
    message:
      'Cannot use "t.tsv", line 2: the source: wanted at most 4 tokens, got 5',
  });
  await assert.rejects(
    examples({ targetContext: 4, overflow: "error" }),
    /line 2: the target: wanted at most 4 tokens, got 5/,
  );
});

Deno.test("targets may have a tokenizer of their own", async () => {
  const targetFramer = new Framer(pairCodec(), { vocabSize: 5 });
  await assert.rejects(
    examples({ targetFramer }),
    /Cannot use the tokenizer "toy" with this model: wanted ids below 5/,
  );
});

for (const [name, count] of [["us", 90217], ["gb", 87398]] as const) {
  const path = `${sharedData()}/g2p/${name}_gold.json`;
  Deno.test({
    name:
      `every word of the ${name} dictionary has a pronunciation (wants ../shared/data)`,
    ignore: !exists(path),
    async fn() {
      const all = await pairs("gold.json", Deno.readTextFileSync(path));
      assert.equal(all.length, count);
    },
  });
}
