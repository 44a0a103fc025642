import assert from "node:assert/strict";
import { DocumentEncoder } from "../../../../src/data/tasks/document.ts";
import { Framer } from "../../../../src/data/frame.ts";
import {
  type QaOptions,
  readSpanExamples,
} from "../../../../src/data/tasks/qa.ts";
import { placeOfAnswer, readSquad } from "../../../../src/data/tasks/squad.ts";
import { hasMostContext } from "../../../../src/data/tasks/windows.ts";
import { file, pairCodec } from "../codec.ts";

const codec = pairCodec();
const framer = new Framer(codec);

function article(qas: unknown[], context: string) {
  return JSON.stringify(
    {
      version: "1.1",
      data: [{ title: "t", paragraphs: [{ context, qas }] }],
    },
    null,
    1,
  );
}

const CONTEXT = "Ann 🙂 saw two red boats, and Bob none.";
const QUESTION = {
  id: "q1",
  question: "What did Ann see?",
  answers: [{ text: "two red boats", answer_start: 10 }, {
    text: "boats",
    answer_start: 18,
  }],
};

Deno.test("SQuAD's own layout and flattened records read alike", async () => {
  const flat = {
    id: "q1",
    title: "t",
    context: CONTEXT,
    question: QUESTION.question,
    answers: { text: ["two red boats", "boats"], answer_start: [10, 18] },
  };
  const files = [
    file("dev-v1.1.json", article([QUESTION], CONTEXT)),
    file(
      "one-line.json",
      JSON.stringify(JSON.parse(article([QUESTION], CONTEXT))),
    ),
    file("flat.json", JSON.stringify([flat])),
    file("flat.jsonl", JSON.stringify(flat)),
    file("lines.json", `${JSON.stringify(flat)}\n${JSON.stringify(flat)}`),
  ];
  for (const source of files) {
    const [{ record, ...question }] = await Array.fromAsync(readSquad(source));
    assert.deepEqual(question, {
      id: "q1",
      question: "What did Ann see?",
      context: CONTEXT,
      answers: [{ text: "two red boats", start: 10 }, {
        text: "boats",
        start: 18,
      }],
    }, source.name);
    assert.equal(record.file, source.name);
    assert.equal(record.row, 1);
  }
});

Deno.test("answers begin at code points", () => {
  assert.deepEqual(
    placeOfAnswer(CONTEXT, { text: "two red boats", start: 10 }),
    [11, 24],
  );
  assert.equal(
    placeOfAnswer(CONTEXT, { text: "two red", start: 11 }),
    undefined,
  );
  assert.equal(placeOfAnswer("abc", { text: "c", start: -1 }), undefined);
  assert.equal(placeOfAnswer("abc", { text: "", start: 1 }), undefined);
});

Deno.test("questions that cannot be used are refused with their place", async () => {
  const bad: [unknown, RegExp][] = [
    [{ ...QUESTION, answers: [] }, /row 2: field "answers": .* got none$/],
    [
      { ...QUESTION, answers: undefined },
      /row 2: field "answers": .* got none$/,
    ],
    [
      { ...QUESTION, answers: [{ text: "x" }] },
      /row 2: .* got \{"text":"x"\}$/,
    ],
    [{ ...QUESTION, question: 7 }, /row 2: field "question": wanted a text/],
    [{ id: 1, answers: QUESTION.answers }, /row 2: wanted a field "question"/],
  ];
  for (const [question, message] of bad) {
    await assert.rejects(
      Array.fromAsync(
        readSquad(file("d.json", article([QUESTION, question], CONTEXT))),
      ),
      (error: Error) => {
        assert.ok(error instanceof SyntaxError);
        assert.match(error.message, /^Cannot use "d\.json", /);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  await assert.rejects(
    Array.fromAsync(readSquad(file("d.json", '{"data": [{"title": "t"}]}'))),
    /paragraphs: wanted a list, got none/,
  );
  await assert.rejects(
    Array.fromAsync(readSquad(file("d.jsonl", '{"question":"a","text":"b"}'))),
    /line 1: wanted a field "context", got "question", "text"/,
  );
});

function decoded(tokens: Int32Array): string {
  return codec.decode(tokens);
}

async function spans(options: Partial<QaOptions> = {}, question = QUESTION) {
  return await readSpanExamples(
    await Array.fromAsync(
      readSquad(file("d.json", article([question], CONTEXT))),
    ),
    { framer, ...options },
  );
}

Deno.test("an answer's tokens are found in the window", async () => {
  const set = await spans();
  assert.equal(set.size, 1);
  const { tokens, typeIds, start, end } = set.example(0);
  assert.equal(decoded(tokens.slice(start, end + 1)), " two red boats");
  assert.equal(typeIds![start], 1);
  assert.equal(typeIds![1], 0);
});

Deno.test("windows overlap, and those without the whole answer point to the first token", async () => {
  const set = await spans({ context: 14, stride: 3, maxQuestion: 4 });
  assert.ok(set.size > 2);
  let found = 0;
  for (let i = 0; i < set.size; i++) {
    const { tokens, start, end } = set.example(i);
    assert.ok(tokens.length <= 14);
    if (start === 0) assert.equal(end, 0);
    else {
      found++;
      assert.equal(decoded(tokens.slice(start, end + 1)), " two red boats");
    }
  }
  assert.ok(found > 0 && found < set.size);
});

Deno.test("a text of several windows can be left out or refused", async () => {
  await assert.rejects(
    spans({ context: 14, overflow: "error" }),
    /^SyntaxError: Cannot use "d\.json", row 1: wanted at most 14 tokens, got \d+$/,
  );
  await assert.rejects(
    spans({ context: 14, overflow: "drop" }),
    /got none: 1 were too long/,
  );
  assert.equal((await spans({ context: 60, overflow: "error" })).size, 1);
});

Deno.test("an answer that stands elsewhere is refused", async () => {
  const answers = [{ text: "two red boats", answer_start: 4 }];
  await assert.rejects(spans({}, { ...QUESTION, answers }), {
    name: "SyntaxError",
    message:
      'Cannot use "d.json", row 1: wanted the answer "two red boats" at character 4 of the context, got "🙂 saw two red"',
  });
});

Deno.test("a question that leaves no room, and lengths of nothing, are refused", async () => {
  await assert.rejects(
    spans({ context: 8, maxQuestion: 5 }),
    /row 1: wanted room for the text beside the question in 8 tokens, got a question of 5 and 3 special ones/,
  );
  await assert.rejects(
    spans({ stride: 0 }),
    /wanted lengths of 1 token or more, got 0/,
  );
});

Deno.test("a tokenizer of another model is refused", async () => {
  await assert.rejects(
    spans({ framer: new Framer(codec, { vocabSize: 100 }) }),
    /wanted ids below 100, the size of the model's vocabulary/,
  );
});

Deno.test("a token that says nothing of its characters stands for its word", () => {
  const silent = new Framer(pairCodec({ tokenOf: undefined }));
  const { starts, ends } = new DocumentEncoder(silent).encode("a 3.5 b");
  assert.deepEqual([...starts], [0, 2, 2, 2, 6]);
  assert.deepEqual([...ends], [1, 5, 5, 5, 7]);
});

Deno.test("what is unknown stands between what is known", () => {
  const dash = codec.encode("–", { addSpecialTokens: false })[0];
  const framer = new Framer(pairCodec({ unkId: dash }));
  const { starts, ends } = new DocumentEncoder(framer).encode("x 19–20");
  const text = "x 19–20";
  assert.deepEqual(
    Array.from(starts, (from, i) => text.slice(from, ends[i])),
    ["x", "1", "9", "–", "2", "0"],
  );
});

Deno.test("a token is judged where most is around it", () => {
  const windows = [{ from: 0, count: 10 }, { from: 5, count: 10 }, {
    from: 10,
    count: 4,
  }];
  const most = (position: number) =>
    windows.findIndex((window) => hasMostContext(windows, window, position));
  assert.deepEqual([0, 4, 5, 7, 8, 9, 12, 14].map(most), [
    0,
    0,
    0,
    0,
    1,
    1,
    1,
    1,
  ]);
});
