import assert from "node:assert/strict";
import {
  g2pTask,
  type PairTaskOptions,
  summarizeTask,
} from "../../../src/eval/tasks/summarize.ts";
import { readPairs } from "../../../src/data/tasks/pairs.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { BOS, EOS, file, idOf, pairCodec } from "../data/codec.ts";

const encoder = pairCodec();

function options(overrides: Partial<PairTaskOptions> = {}): PairTaskOptions {
  const text = [
    { document: "one two three", summary: "The cats ran.\nThey hid." },
    { document: "four", summary: "A dog" },
  ].map((record) => JSON.stringify(record)).join("\n");
  return {
    pairs: readPairs(file("test.jsonl", text)),
    encoder,
    contextLength: 100,
    ...overrides,
  };
}

Deno.test("summaries are asked for and scored by ROUGE", async () => {
  const task = await summarizeTask(options());
  assert.deepEqual([task.kind, task.count], ["write", 2]);
  assert.deepEqual(task.request(1), {
    source: Int32Array.of(BOS, idOf("four"), EOS),
  });
  const { metrics, count } = task.score(["they hid\nthe cat ran", "a dog"]);
  assert.equal(count, 2);
  assertAllClose(
    [metrics.rouge1, metrics.rouge2, metrics.rougeL, metrics.rougeLsum],
    [1, (0.75 + 1) / 2, (3 / 5 + 1) / 2, 1],
    { rtol: 1e-12 },
  );
  assert.ok(metrics.rougeLStdErr > 0);
  const plain = await summarizeTask({ ...options(), stemmer: false });
  assertAllClose(
    [plain.score(["they hid\nthe cat ran"]).metrics.rouge1],
    [0.8],
    { rtol: 1e-12 },
  );
});

Deno.test("a text of nothing scores nothing", async () => {
  const task = await summarizeTask(options());
  const { metrics } = task.score(["", " ... "]);
  assert.deepEqual([metrics.rouge1, metrics.rougeLsum], [0, 0]);
  assert.throws(() => task.score([]), /wanted 1 to 2 answers, got 0/);
});

Deno.test("an over-long document is cut, or one clear error", async () => {
  const cut = await summarizeTask(options({ contextLength: 4 }));
  assert.deepEqual([...cut.request(0).source], [
    BOS,
    idOf("one"),
    idOf(" two"),
    EOS,
  ]);
  cut.request(0);
  cut.request(1);
  assert.equal(cut.truncated, 1);
  const strict = await summarizeTask(
    options({ contextLength: 4, overflow: "error" }),
  );
  assert.throws(() => strict.request(0), {
    name: "SyntaxError",
    message:
      'Cannot use "test.jsonl", line 1: the source: wanted at most 4 tokens, got 5',
  });
});

Deno.test("one clear error each: columns, tokenizer, nothing", async () => {
  await assert.rejects(
    summarizeTask(
      options({ pairs: readPairs(file("x.csv", "text,label\na,b\n")) }),
    ),
    /"x\.csv", line 2: wanted the columns "document" and "summary", or .*, got "text", "label"/,
  );
  const foreign = await summarizeTask(options({ vocabSize: 5 }));
  assert.throws(() => foreign.request(0), /wanted ids below 5/);
  await assert.rejects(
    summarizeTask(options({ pairs: [] })),
    /Cannot ask summarize: wanted records, got none/,
  );
});

Deno.test("pronunciations are scored by word and by phoneme", async () => {
  const text = '{"cat": "kˈæt", "read": {"DEFAULT": "ɹˈid", "VBD": "ɹˈɛd"}}';
  const task = await g2pTask(
    options({ pairs: readPairs(file("us.json", text)) }),
  );
  assert.deepEqual([task.name, task.count], ["g2p", 2]);
  const { metrics } = task.score(["kˈæt", " ɹˈɛdz "]);
  assert.equal(metrics.exactMatch, 0.5);
  assertAllClose([metrics.phonemeErrorRate], [2 / 8], { rtol: 1e-12 });
  assert.ok(metrics.phonemeErrorRateStdErr > 0);
});
