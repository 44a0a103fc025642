import assert from "node:assert/strict";
import {
  pickAnswer,
  SQUAD_FILES,
  type SquadOptions,
  squadTask,
} from "../../../src/eval/tasks/squad.ts";
import type { SpanAnswer } from "../../../src/eval/tasks/task.ts";
import { file, pairCodec } from "../data/codec.ts";

const encoder = pairCodec();
const CONTEXT = "The tower, built in 1889, stands in Paris (France).";

function squad(options: Partial<SquadOptions> = {}, more: object[] = []) {
  const question = {
    id: "1",
    question: "Where?",
    context: CONTEXT,
    answers: { text: ["Paris", "in Paris"], answer_start: [36, 33] },
  };
  const text = [question, ...more].map((q) => JSON.stringify(q)).join("\n");
  return squadTask({
    sources: [file("validation.jsonl", text)],
    encoder,
    ...options,
  });
}

/** Scores of a window that point to the pieces `first` and `last`. */
function pointing(
  tokens: Int32Array,
  { first, last }: { first: string; last: string },
  height = 5,
): SpanAnswer {
  const at = (piece: string) =>
    Float32Array.from(
      tokens,
      (id) => encoder.tokenOf!(id) === piece ? height : 0,
    );
  return { start: at(first), end: at(last) };
}

Deno.test("answers are cut out of the text and scored", async () => {
  const task = await squad();
  assert.deepEqual([task.kind, task.name, task.count], ["span", "squad", 1]);
  const { tokens, typeIds } = task.request(0);
  assert.equal(typeIds!.length, tokens.length);
  const right = task.score([
    pointing(tokens, { first: "▁in", last: "▁Paris" }),
  ]);
  // The likeliest pair begins at the first "in", too far from nothing: "in 1889, stands in Paris".
  assert.deepEqual(right.count, 1);
  assert.equal(right.metrics.exactMatch, 0);
  assert.ok(right.metrics.f1 > 0.5 && right.metrics.f1 < 1);
  const exact = task.score([
    pointing(tokens, { first: "▁Paris", last: "▁Paris" }),
  ]);
  assert.deepEqual(exact.metrics, { exactMatch: 1, f1: 1 });
});

Deno.test("an answer is no longer than it may be, and within the text", async () => {
  const task = await squad({ maxAnswer: 2 });
  const { tokens } = task.request(0);
  const answer = pointing(tokens, { first: "▁in", last: "▁Paris" });
  assert.deepEqual(task.score([answer]).metrics, { exactMatch: 1, f1: 1 });
  const question = pointing(tokens, { first: "Where", last: "Where" }, 50);
  const none = (await squad({ best: 1 })).score([question]);
  assert.deepEqual(none.metrics, { exactMatch: 0, f1: 0 });
});

Deno.test("of several windows the best answer counts, where most is around it", async () => {
  const task = await squad({ contextLength: 12, stride: 3 });
  assert.ok(task.count > 2);
  const answers = Array.from({ length: task.count }, (_, i) => {
    const { tokens } = task.request(i);
    assert.ok(tokens.length <= 12);
    return pointing(tokens, { first: "▁Paris", last: "▁Paris" }, 1 + i);
  });
  assert.equal(task.score(answers).metrics.exactMatch, 1);
});

Deno.test("questions whose windows are not all answered are not counted", async () => {
  const other = {
    id: "2",
    question: "When?",
    context: CONTEXT,
    answers: { text: ["1889"], answer_start: [20] },
  };
  const task = await squad({ contextLength: 12, stride: 3 }, [other]);
  const half = task.count / 2;
  const answers = Array.from({ length: half + 1 }, (_, i) => {
    const { tokens } = task.request(i);
    return { start: [...tokens].fill(0), end: [...tokens].fill(0) };
  });
  assert.equal(task.score(answers).count, 1);
  assert.throws(
    () => task.score(answers.slice(0, 1)),
    /Cannot score squad: wanted answers to all \d+ windows of the first question, got 1/,
  );
});

Deno.test("scores that cannot be used are refused", async () => {
  const task = await squad();
  const { tokens } = task.request(0);
  assert.throws(
    () => task.score([{ start: [1, 2], end: [1, 2] }]),
    new RegExp(`wanted scores of ${tokens.length} tokens, got 2 and 2`),
  );
  const nan = Array.from(tokens, () => NaN);
  assert.throws(
    () => task.score([{ start: nan, end: nan }]),
    /token 0 of a window has no score \(NaN\)/,
  );
});

Deno.test("one clear error each: columns, answers, tokenizer", async () => {
  await assert.rejects(
    squad({}, [{ question: "a", passage: "b" }]),
    /^SyntaxError: Cannot use "validation\.jsonl", line 2: wanted a field "context", got "question", "passage"$/,
  );
  await assert.rejects(
    squad({}, [{
      question: "a",
      context: "b",
      answers: { text: [], answer_start: [] },
    }]),
    /line 2: field "answers": wanted one or more of text and answer_start, got none/,
  );
  await assert.rejects(squad({ vocabSize: 7 }), /wanted ids below 7/);
  await assert.rejects(
    squadTask({ sources: [file("d.json", '{"data": []}')], encoder }),
    /Cannot use "d\.json": it is empty; wanted a record/,
  );
  assert.equal(SQUAD_FILES[0], "dev-v1.1.json");
});

Deno.test("no pair of tokens, no answer", () => {
  const empty = new Int32Array(0);
  const cut = {
    question: empty,
    document: {
      ids: Int32Array.of(7),
      starts: Int32Array.of(0),
      ends: Int32Array.of(1),
    },
    windows: [{ from: 0, count: 1 }],
    offset: 1,
    after: 1,
  };
  const answers = [{ start: [9, 1, 2], end: [9, 1, 2] }];
  assert.equal(pickAnswer("x", { cut, answers }, { best: 2 }), "");
  assert.equal(pickAnswer("x", { cut, answers }, { best: 3 }), "x");
});
