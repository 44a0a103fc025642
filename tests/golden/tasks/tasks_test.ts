import assert from "node:assert/strict";
import { pickAnswer } from "../../../src/eval/tasks/squad.ts";
import type { ByteSource } from "../../../src/io/files/bytes.ts";
import { folderFiles } from "../../../src/io/open.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import { openTokenizer } from "../../../src/io/open_tokenizer.ts";
import type { Tokenizer } from "../../../src/io/tokenizer/tokenizer.ts";
import { DocumentEncoder } from "../../../src/data/tasks/document.ts";
import { Framer } from "../../../src/data/frame.ts";
import {
  LABELLED_SETS,
  readLabelledSet,
} from "../../../src/data/tasks/glue.ts";
import { labelReader } from "../../../src/data/tasks/labels.ts";
import { readPairs } from "../../../src/data/tasks/pairs.ts";
import { readSpanExamples } from "../../../src/data/tasks/qa.ts";
import { type QaRecord, readSquad } from "../../../src/data/tasks/squad.ts";
import { WindowCutter } from "../../../src/data/tasks/windows.ts";
import { golden } from "../../helpers/golden.ts";

type Name = "wordpiece" | "bart" | "unigram-json";

interface Tasks {
  cuts: {
    tokenizer: Name;
    first: string;
    second: string | null;
    context: number;
    length: number;
    ids: number[];
    typeIds: number[];
  }[];
  offsets: {
    tokenizer: Name;
    text: string;
    ids: number[];
    offsets: [from: number, to: number][];
  }[];
  questions: {
    question: string;
    context: string;
    answer: string;
    start: number;
    most: number;
    stride: number;
    maxQuestion: number;
    windows: {
      ids: number[];
      typeIds: number[];
      start: number;
      end: number;
      scores: [start: number[], end: number[]];
    }[];
    best: number;
    maxAnswer: number;
    cut: string;
    official: string;
  }[];
}

const data = golden<Tasks>(import.meta, "tasks.json");

async function open(name: Name): Promise<Tokenizer> {
  const path = new URL(`../tokenizer/${name}`, import.meta.url).pathname;
  return await openTokenizer(await folderFiles(path));
}

const NAMES: readonly Name[] = ["wordpiece", "bart", "unigram-json"];

for (const name of NAMES) {
  Deno.test(`${name}: texts and pairs are cut as by longest_first`, async () => {
    const framer = new Framer(await open(name));
    for (const item of data.cuts.filter((c) => c.tokenizer === name)) {
      const { first, context } = item;
      const second = item.second ?? undefined;
      const made = framer.fit({ first, second }, context);
      assert.deepEqual([...made.tokens], item.ids, `${first} | ${second}`);
      assert.equal(made.length, item.length);
      if (second !== undefined) {
        assert.deepEqual([...made.typeIds!], item.typeIds);
      }
    }
  });

  Deno.test(`${name}: word by word, tokens and their characters are those of the whole`, async () => {
    const encoder = new DocumentEncoder(new Framer(await open(name)));
    for (const item of data.offsets.filter((o) => o.tokenizer === name)) {
      const { text } = item;
      const { ids, starts, ends } = encoder.encode(text);
      assert.deepEqual([...ids], item.ids, text);
      const chars = Array.from(text);
      const cut = item.offsets.map(([from, to]) =>
        chars.slice(from, to).join("")
      );
      const found = Array.from(
        ids,
        (_, i) => text.slice(starts[i], ends[i]),
      );
      // The library counts the space before a word to its first token, or a token that is but that to its first letter;
      // an accent that is left out it counts to no token, where here its letter has it.
      const plain = (part: string) => part.replace(/^ +|\p{Mn}/gu, "");
      assert.deepEqual(
        found.map(plain),
        cut.map((part, i) => found[i] === "" ? "" : plain(part)),
        text,
      );
    }
  });
}

function recordOf(item: Tasks["questions"][number]): QaRecord {
  const { question, context, answer: text, start } = item;
  const record = { fields: {}, file: "dev.json", row: 1 };
  return { id: "", question, context, answers: [{ text, start }], record };
}

Deno.test("questions become the windows of run_squad.py, with the answers where it has them", async () => {
  const framer = new Framer(await open("wordpiece"));
  let windows = 0;
  for (const item of data.questions) {
    const { stride, maxQuestion } = item;
    const set = await readSpanExamples([recordOf(item)], {
      framer,
      context: item.most,
      stride,
      maxQuestion,
    });
    assert.equal(set.size, item.windows.length, item.context);
    for (const [i, wanted] of item.windows.entries()) {
      const { tokens, typeIds, start, end } = set.example(i);
      assert.deepEqual([...tokens], wanted.ids);
      assert.deepEqual([...typeIds!], wanted.typeIds);
      assert.deepEqual([start, end], [wanted.start, wanted.end], item.answer);
      windows++;
    }
  }
  assert.ok(windows > 100);
});

Deno.test("of scores the answer of run_squad.py is picked", async () => {
  const framer = new Framer(await open("wordpiece"));
  let same = 0;
  for (const item of data.questions) {
    const { most: context, stride, maxQuestion, best, maxAnswer } = item;
    const cut = new WindowCutter(framer, { context, stride, maxQuestion })
      .cut(recordOf(item));
    const answers = item.windows.map(({ scores: [start, end] }) => ({
      start: [...start, 50, 50],
      end: [...end, 50, 50],
    }));
    const found = pickAnswer(item.context, { cut, answers }, {
      best,
      maxAnswer,
    });
    assert.equal(found, item.cut);
    // The script writes one space between words, and whole words where the answer begins or ends within one.
    const words = found.trim().replace(/\s+/g, " ");
    assert.ok(item.official.includes(words), `${found}: ${item.official}`);
    if (words === item.official) same++;
  }
  assert.ok(same > 40 && same < data.questions.length, `${same} the same`);
});

async function records<T>(
  name: string,
  read: (source: ByteSource) => AsyncIterable<T>,
): Promise<T[]> {
  const path = new URL(name, import.meta.url);
  return await Array.fromAsync(
    read(bytesSource(await Deno.readFile(path), name)),
  );
}

Deno.test("Parquet files with the columns of Hugging Face's data sets", async () => {
  const questions = await records("squad.parquet", readSquad);
  assert.deepEqual(questions.map(({ id, answers }) => [id, answers]), [
    ["a1", [{ text: "Ann", start: 0 }]],
    ["a2", [{ text: "two boats", start: 10 }, { text: "boats", start: 14 }]],
  ]);
  const { read } = labelReader(LABELLED_SETS.mnli.labels, { what: "mnli" });
  const texts = await records(
    "mnli.parquet",
    (source) => readLabelledSet("mnli", source),
  );
  assert.deepEqual(
    texts.map(({ first, second, label, record }) => [
      first,
      second,
      read(record, label),
    ]),
    [["One.", "Three.", 2], ["Two.", "Four.", 0]],
  );
  const [pair] = await records("xsum.parquet", readPairs);
  assert.deepEqual(
    [pair.source, pair.target, pair.record.row],
    ["A long\ntext.", "A text.", 1],
  );
});
