import assert from "node:assert/strict";
import type { LabelledSetName } from "../../../../src/data/tasks/glue.ts";
import { readLabelledSet } from "../../../../src/data/tasks/glue.ts";
import { readLabelled } from "../../../../src/data/tasks/labelled.ts";
import { file } from "../codec.ts";

async function read(set: LabelledSetName, name: string, text: string) {
  const texts = await Array.fromAsync(readLabelledSet(set, file(name, text)));
  return texts.map(({ first, second, label, record }) => [
    first,
    ...(second === undefined ? [] : [second]),
    label,
    record.line,
  ]);
}

Deno.test("the layouts that GLUE's authors publish", async () => {
  const cases: [LabelledSetName, string, string, unknown[]][] = [
    ["sst2", "dev.tsv", 'sentence\tlabel\na "b\t0\n', ['a "b', "0", 2]],
    ["cola", "in_domain_dev.tsv", "gj04\t1\t\tThey left.\n", [
      "They left.",
      "1",
      1,
    ]],
    [
      "mrpc",
      "msr_paraphrase_test.txt",
      "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t10\t20\tOne.\tTwo.\r\n",
      ["One.", "Two.", "1", 2],
    ],
    [
      "stsb",
      "dev.tsv",
      "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n" +
      "0\tnews\tx\t2012\t1\tnone\tnone\tOne.\tTwo.\t4.800\n",
      ["One.", "Two.", "4.800", 2],
    ],
    [
      "qqp",
      "dev.tsv",
      "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n7\t1\t2\tWhy?\tHow?\t0\n",
      ["Why?", "How?", "0", 2],
    ],
    [
      "mnli",
      "dev_matched.tsv",
      "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\t" +
      "sentence1\tsentence2\tlabel1\tlabel2\tgold_label\n" +
      "0\t1\t1e\tfiction\t(a)\t(b)\t(A)\t(B)\tOne.\tTwo.\tneutral\tneutral\tentailment\n",
      ["One.", "Two.", "entailment", 2],
    ],
    [
      "qnli",
      "dev.tsv",
      "index\tquestion\tsentence\tlabel\n0\tWhy?\tSo.\tnot_entailment\n",
      ["Why?", "So.", "not_entailment", 2],
    ],
    [
      "rte",
      "dev.tsv",
      "index\tsentence1\tsentence2\tlabel\n0\tOne.\tTwo.\tentailment\n",
      ["One.", "Two.", "entailment", 2],
    ],
    [
      "anli",
      "dev.jsonl",
      '{"uid":"u","context":"One.","hypothesis":"Two.","label":"c","model_label":"e"}\n',
      ["One.", "Two.", "c", 1],
    ],
  ];
  for (const [set, name, text, wanted] of cases) {
    assert.deepEqual(await read(set, name, text), [wanted], set);
  }
});

Deno.test("other layouts in use", async () => {
  const json = (fields: object) => JSON.stringify(fields);
  assert.deepEqual(
    await read("sst2", "dev.tsv", "long cliches\t0\nno\t1\n"),
    [["long cliches", "0", 1], ["no", "1", 2]],
  );
  assert.deepEqual(
    await read(
      "mnli",
      "x.jsonl",
      json({ premise: "a", hypothesis: "b", label: 2, idx: 0 }),
    ),
    [["a", "b", 2, 1]],
  );
  assert.deepEqual(
    await read(
      "mrpc",
      "x.json",
      `[\n${json({ sentence1: "a", sentence2: "b", label: 1 })}]`,
    ),
    [["a", "b", 1, 2]],
  );
  assert.deepEqual(
    await read("rte", "x.csv", 'sentence1,sentence2,label\n"a, b",c,1\n'),
    [["a, b", "c", "1", 2]],
  );
});

Deno.test("missing columns are named beside those that are there", async () => {
  await assert.rejects(
    read("sst2", "dev.jsonl", '{"phrase":"a","label":1}'),
    {
      name: "SyntaxError",
      message:
        'Cannot use "dev.jsonl", line 1: wanted the columns "sentence", or "text", got "phrase", "label"',
    },
  );
  await assert.rejects(
    read("sst2", "test.tsv", "index\tsentence\n0\ta\n"),
    /"test\.tsv", line 2: wanted a column "gold_label" or "label" or "Quality" or "is_duplicate" or "score", got "index", "sentence"/,
  );
  await assert.rejects(
    read("rte", "dev.tsv", "sentence\tlabel\na\t1\n"),
    /wanted the columns "premise" and "hypothesis", or .*, got "sentence", "label"/,
  );
  await assert.rejects(
    read("rte", "dev.tsv", "a\tb\n"),
    /wanted the columns .*, got "a", "b"/,
  );
  await assert.rejects(
    read(
      "qnli",
      "dev.jsonl",
      '{"question":"a","sentence":"b","label":1}\n{"question":"a","label":1}',
    ),
    /"dev\.jsonl", line 2: wanted a field "sentence", got "question", "label"/,
  );
});

Deno.test("columns that a caller names", async () => {
  const columns = { texts: ["review"], label: "stars" };
  const texts = await Array.fromAsync(
    readLabelled(file("a.tsv", "id\treview\tstars\n1\tfine\t4\n"), { columns }),
  );
  assert.deepEqual([texts[0].first, texts[0].label], ["fine", "4"]);
  await assert.rejects(
    Array.fromAsync(
      readLabelled(file("a.tsv", "id\treview\n1\tfine\n"), { columns }),
    ),
    /wanted a column "stars", got "id", "review"/,
  );
});

Deno.test("records of QQP that end early are told of, those of others refused", async () => {
  const text = "question1\tquestion2\tis_duplicate\na\tb\t1\nbroken\nc\td\t0\n";
  const lines: number[] = [];
  const texts = await Array.fromAsync(
    readLabelledSet("qqp", file("train.tsv", text), {
      onShort: (line) => lines.push(line),
    }),
  );
  assert.deepEqual(texts.map(({ first }) => first), ["a", "c"]);
  assert.deepEqual(lines, [3]);
  await assert.rejects(
    Array.fromAsync(
      readLabelledSet(
        "rte",
        file("t.tsv", "sentence1\tsentence2\tlabel\na\n"),
        {
          onShort: (line) => lines.push(line),
        },
      ),
    ),
    /line 2: wanted 3 fields, got 1/,
  );
});

Deno.test("a name that occurs twice in a header is refused", async () => {
  await assert.rejects(
    read("sst2", "dev.tsv", "sentence\tlabel\tlabel\na\t1\t1\n"),
    /"dev\.tsv", line 1: the field "label" occurs twice/,
  );
});
