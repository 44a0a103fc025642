import assert from "node:assert/strict";
import {
  type ClassifyOptions,
  labelsOf,
  readClassExamples,
} from "../../../../src/data/tasks/classify.ts";
import { Framer } from "../../../../src/data/frame.ts";
import { readLabelled } from "../../../../src/data/tasks/labelled.ts";
import { BOS, EOS, file, idOf, pairCodec } from "../codec.ts";

const framer = new Framer(pairCodec());

async function examples(
  text: string,
  options: Partial<ClassifyOptions> = {},
  name = "train.jsonl",
) {
  const texts = await Array.fromAsync(readLabelled(file(name, text)));
  return await readClassExamples(texts, {
    framer,
    context: 100,
    labels: labelsOf(texts),
    ...options,
  });
}

Deno.test("texts with labels become examples", async () => {
  const set = await examples("one\t0\ntwo words\t1\n", {}, "train.tsv");
  assert.equal(set.size, 2);
  assert.deepEqual(set.example(1), {
    kind: "class",
    tokens: Int32Array.of(BOS, idOf("two"), idOf(" words"), EOS),
    typeIds: undefined,
    label: 1,
  });
  assert.equal(set.longest, 4);
  assert.throws(() => set.example(2), /wanted one of 0 to 1/);
});

Deno.test("pairs have type ids, names of labels an order", async () => {
  const set = await examples(
    '{"premise":"a","hypothesis":"b c","label":"yes"}\n{"premise":"a","hypothesis":"b","label":"no"}',
  );
  const { tokens, typeIds, label } = set.example(0);
  assert.deepEqual([...tokens], [
    BOS,
    idOf("a"),
    EOS,
    idOf("b"),
    idOf(" c"),
    EOS,
  ]);
  assert.deepEqual([...typeIds!], [0, 0, 0, 1, 1, 1]);
  assert.deepEqual([label, set.example(1).label], [1, 0]);
});

Deno.test("a label that the model lacks names file and line", async () => {
  const text = "sentence\tlabel\na\t0\nb\t3\n";
  const texts = await Array.fromAsync(readLabelled(file("train.tsv", text)));
  await assert.rejects(
    readClassExamples(texts, {
      framer,
      context: 9,
      labels: labelsOf(texts, { model: ["LABEL_0", "LABEL_1"] }),
    }),
    {
      name: "SyntaxError",
      message: 'Cannot use "train.tsv", line 3: label "3": wanted one of 0..1',
    },
  );
});

Deno.test("a model with another number of labels is refused", async () => {
  const texts = await Array.fromAsync(
    readLabelled(file("train.tsv", "a\tx\nb\ty\nc\tz\n")),
  );
  assert.throws(
    () => labelsOf(texts, { model: ["LABEL_0", "LABEL_1"] }),
    /Cannot use these data with this model: wanted 3 labels \(x, y, z\), the model has 2/,
  );
  assert.throws(
    () => labelsOf(texts, { set: "mnli", model: ["LABEL_0", "LABEL_1"] }),
    /Cannot use mnli with this model: wanted 3 labels/,
  );
});

Deno.test("a model of one label learns numbers", async () => {
  const texts = await Array.fromAsync(
    readLabelled(file("train.tsv", "a\t-2.5\nb\t1e3\n")),
  );
  const labels = labelsOf(texts, { model: ["LABEL_0"] });
  const set = await readClassExamples(texts, { framer, context: 9, labels });
  assert.deepEqual([0, 1].map((i) => set.example(i).label), [-2.5, 1000]);
});

Deno.test("longer texts are cut, left out or refused", async () => {
  const text = "one two three four\t1\none\t0\n";
  const cut = await examples(text, { context: 4 }, "t.tsv");
  assert.deepEqual([cut.size, cut.truncated, cut.dropped], [2, 1, 0]);
  assert.equal(cut.firstLonger, '"t.tsv", line 1');
  assert.deepEqual([...cut.example(0).tokens], [
    BOS,
    idOf("one"),
    idOf(" two"),
    EOS,
  ]);
  const left = await examples(text, { context: 4, overflow: "drop" }, "t.tsv");
  assert.deepEqual([left.size, left.truncated, left.dropped], [1, 0, 1]);
  await assert.rejects(
    examples(text, { context: 4, overflow: "error" }, "t.tsv"),
    {
      name: "SyntaxError",
      message: 'Cannot use "t.tsv", line 1: wanted at most 4 tokens, got 6',
    },
  );
  await assert.rejects(
    examples(
      "one two three\t1\na b c\t0\n",
      { context: 4, overflow: "drop" },
      "t.tsv",
    ),
    /Cannot read examples: wanted at least one, got none: 2 were too long/,
  );
});
