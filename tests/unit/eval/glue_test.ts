import assert from "node:assert/strict";
import { anliFiles, anliTask } from "../../../src/eval/tasks/anli.ts";
import {
  GLUE,
  GLUE_FILES,
  type GlueName,
  glueTask,
} from "../../../src/eval/tasks/glue.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import { exists, sharedData } from "../../helpers/inputs.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { BOS, EOS, file, idOf, pairCodec } from "../data/codec.ts";

const encoder = pairCodec();

function task(
  name: GlueName,
  text: string,
  options: Partial<Parameters<typeof glueTask>[1]> = {},
) {
  return glueTask(name, {
    sources: [file("dev.jsonl", text)],
    encoder,
    contextLength: 100,
    ...options,
  });
}

const lines = (...records: object[]) =>
  records.map((record) => JSON.stringify(record)).join("\n");

/** Scores that say class `c` of `n`. */
const says = (c: number, n: number) =>
  Float32Array.from({ length: n }, (_, i) => i === c ? 2 : -i);

Deno.test("requests are texts and pairs of texts", async () => {
  const one = await task("sst2", lines({ sentence: "fine", label: 1 }));
  assert.deepEqual([one.kind, one.count, one.labels], ["classify", 1, 2]);
  assert.deepEqual(one.request(0), {
    tokens: Int32Array.of(BOS, idOf("fine"), EOS),
  });
  const two = await task(
    "rte",
    lines({ sentence1: "a", sentence2: "b", label: "not_entailment" }),
  );
  assert.deepEqual(two.request(0), {
    tokens: Int32Array.of(BOS, idOf("a"), EOS, idOf("b"), EOS),
    typeIds: Int32Array.of(0, 0, 0, 1, 1),
  });
  assert.throws(() => two.request(1), /Cannot take request 1/);
});

Deno.test("each data set has its own figures", async () => {
  const pair = (label: unknown) => ({ sentence1: "a", sentence2: "b", label });
  const mrpc = await task("mrpc", lines(...[1, 1, 0, 1].map(pair)));
  const { metrics, count } = mrpc.score([1, 0, 0, 1].map((c) => says(c, 2)));
  assert.equal(count, 4);
  assert.deepEqual(Object.keys(metrics), [
    "accuracy",
    "accuracyStdErr",
    "f1",
    "f1StdErr",
  ]);
  assertAllClose([metrics.accuracy, metrics.f1], [0.75, 0.8], { rtol: 1e-12 });
  const cola = await task(
    "cola",
    lines(...[1, 1, 0, 0].map((label) => ({ sentence: "a", label }))),
  );
  const found = cola.score([1, 1, 1, 0].map((c) => says(c, 2))).metrics;
  assertAllClose([found.matthews, found.accuracy], [1 / Math.sqrt(3), 0.75], {
    rtol: 1e-12,
  });
  assert.ok(found.matthewsStdErr > 0);
  const stsb = await task("stsb", lines(...[0, 2.5, 5, 1].map(pair)));
  assert.equal(stsb.labels, 1);
  const alike = stsb.score([0.1, 2, 3, 0.5].map((v) => Float32Array.of(v)));
  assert.equal(alike.metrics.spearman, 1);
  assert.ok(alike.metrics.pearson > 0.9 && alike.metrics.pearson < 1);
  const rte = await task("rte", lines(...["entailment", 1].map(pair)));
  assert.deepEqual(rte.score([says(0, 2)]).metrics, { accuracy: 1 });
});

Deno.test("a model's own order of classes changes the answers, not the figures", async () => {
  const pair = (label: unknown) => ({ sentence1: "a", sentence2: "b", label });
  const text = lines(...[1, 1, 0, 1].map(pair));
  const labels = ["EQUIVALENT", "NOT_EQUIVALENT"];
  const mrpc = await task("mrpc", text, { labels });
  const { metrics } = mrpc.score([0, 1, 1, 0].map((c) => says(c, 2)));
  assertAllClose([metrics.accuracy, metrics.f1], [0.75, 0.8], { rtol: 1e-12 });
});

Deno.test("MNLI's two sets are tasks of their own", async () => {
  const text = lines({ premise: "a", hypothesis: "b", label: 2 });
  const labels = ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"];
  const matched = await task("mnli", text, { labels });
  const other = await task("mnli-mm", text);
  assert.deepEqual([matched.name, other.name], ["mnli", "mnli-mm"]);
  assert.equal(matched.score([says(0, 3)]).metrics.accuracy, 1);
  assert.equal(other.score([says(2, 3)]).metrics.accuracy, 1);
  assert.deepEqual(GLUE_FILES.mnli[0], "dev_matched.tsv");
  assert.deepEqual(GLUE_FILES["mnli-mm"][0], "dev_mismatched.tsv");
  assert.equal(GLUE.length, 9);
});

Deno.test("one clear error each: labels, columns, tokenizer, length", async () => {
  const text = lines(
    { premise: "one two three", hypothesis: "four", label: 2 },
    { premise: "a", hypothesis: "b", label: -1 },
  );
  await assert.rejects(
    task("mnli", text),
    {
      name: "SyntaxError",
      message:
        'Cannot use "dev.jsonl", line 2: label -1: wanted one of 0..2 or entailment, neutral, contradiction',
    },
  );
  const [first] = text.split("\n");
  await assert.rejects(
    task("mnli", first, { labels: ["LABEL_0", "LABEL_1"] }),
    /^RangeError: Cannot use mnli with this model: wanted 3 labels \(entailment, neutral, contradiction\), the model has 2 \(LABEL_0, LABEL_1\)$/,
  );
  await assert.rejects(
    task("qnli", lines({ text: "a", label: 1 })),
    /"dev\.jsonl", line 1: wanted the columns .*"question" and "sentence", .*, got "text", "label"$/,
  );
  await assert.rejects(
    task("mnli", ""),
    /Cannot use "dev\.jsonl": it is empty; wanted a record/,
  );
  const foreign = await task("mnli", first, { vocabSize: 9 });
  assert.throws(
    () => foreign.request(0),
    /wanted ids below 9, the size of the model's vocabulary/,
  );
  const long = await task("mnli", first, {
    contextLength: 6,
    overflow: "error",
  });
  assert.throws(() => long.request(0), {
    name: "SyntaxError",
    message: 'Cannot use "dev.jsonl", line 1: wanted at most 6 tokens, got 7',
  });
  const cut = await task("mnli", first, { contextLength: 6 });
  assert.equal(cut.request(0).tokens.length, 6);
  assert.equal(cut.truncated, 1);
  assert.throws(
    () => cut.score([says(0, 2)]),
    /Cannot score mnli: wanted 3 scores of an answer, got 2/,
  );
  assert.throws(() => cut.score([]), /wanted 1 to 1 answers, got 0/);
  assert.throws(
    () => cut.score([Float32Array.of(NaN, 0, 0)]),
    /no likelihood \(NaN\)/,
  );
});

Deno.test("QQP's unfinished records are counted", async () => {
  const text = "id\tquestion1\tquestion2\tis_duplicate\n1\ta\tb\t1\n2\tc\n";
  const qqp = await glueTask("qqp", {
    sources: [file("dev.tsv", text)],
    encoder,
    contextLength: 9,
  });
  assert.deepEqual([qqp.count, qqp.skipped], [1, 1]);
});

Deno.test("ANLI's rounds in both layouts", async () => {
  for (
    const text of [
      lines({ uid: "u", context: "a", hypothesis: "b", label: "c" }),
      lines({ uid: "u", premise: "a", hypothesis: "b", label: 2, reason: "" }),
    ]
  ) {
    const anli = await anliTask(3, {
      sources: [file("dev.jsonl", text)],
      encoder,
      contextLength: 9,
    });
    assert.equal(anli.name, "anli-r3");
    assert.equal(anli.score([says(2, 3)]).metrics.accuracy, 1);
  }
  assert.deepEqual(anliFiles(1)[0], "R1/dev.jsonl");
  assert.deepEqual(anliFiles(2, "test").at(-1), "test_r2.json");
});

for (const [name, count] of [["sst2", 872], ["cola", 516]] as const) {
  const path = `${sharedData()}/glue/${name}/dev.tsv`;
  Deno.test({
    name: `every record of ${name} can be asked (wants ../shared/data)`,
    ignore: !exists(path),
    async fn() {
      const data = Deno.readFileSync(path);
      const made = await glueTask(name, {
        sources: [bytesSource(data, "dev.tsv")],
        encoder,
        contextLength: 128,
      });
      assert.equal(made.count, count);
      const rows = new TextDecoder().decode(data).trimEnd().split(/\r?\n/);
      const right = rows.map((row) => says(Number(row.at(-1)), 2));
      assert.equal(made.score(right).metrics.accuracy, 1);
    },
  });
}
