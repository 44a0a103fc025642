import assert from "node:assert/strict";
import {
  mmluPrompt,
  mmluQuestions,
  type MmluSubject,
  mmluTask,
} from "../../../src/eval/tasks/mmlu.ts";
import { MMLU_SUBJECTS } from "../../../src/eval/tasks/mmlu_subjects.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import { readRecords } from "../../../src/data/records/records.ts";
import { sharedData } from "../../helpers/inputs.ts";
import { toyCodec } from "../data/codec.ts";

const encoder = toyCodec();

function parse(bytes: string | Uint8Array) {
  const data = typeof bytes === "string"
    ? new TextEncoder().encode(bytes)
    : bytes;
  const source = bytesSource(data, "x_test.csv");
  return mmluQuestions(readRecords(source, { header: false }));
}

const SUBJECT: MmluSubject = {
  name: "high_school_physics",
  dev: await parse("d1,a,b,c,d,C\nd2,a,b,c,d,A\n"),
  test: await parse("t,w,x,y,z,B\n"),
};

Deno.test("mmluPrompt() is the original's to the character", () => {
  assert.equal(
    mmluPrompt(SUBJECT, { question: SUBJECT.test[0], shots: 1 }),
    "The following are multiple choice questions (with answers) about  high school physics.\n\n" +
      "d1\nA. a\nB. b\nC. c\nD. d\nAnswer: C\n\n" +
      "t\nA. w\nB. x\nC. y\nD. z\nAnswer:",
  );
});

Deno.test("shots are dropped, then the question's beginning", () => {
  const lengthOf = (shots: number) =>
    encoder.encode(mmluPrompt(SUBJECT, { question: SUBJECT.test[0], shots }))
      .length;
  const contextOf = (contextLength: number) => {
    const task = mmluTask([SUBJECT], { encoder, contextLength, shots: 2 });
    const { context } = task.request(0).rows[0];
    task.request(0);
    return [context.length, task.shortened];
  };
  assert.deepEqual(contextOf(lengthOf(2)), [lengthOf(2), 0]);
  assert.deepEqual(contextOf(lengthOf(2) - 1), [lengthOf(1), 1]);
  assert.deepEqual(contextOf(lengthOf(1) - 1), [lengthOf(0), 1]);
  assert.deepEqual(contextOf(lengthOf(0) - 1), [lengthOf(0) - 1, 1]);
});

Deno.test("records that are no questions are refused with file and line", async () => {
  await assert.rejects(parse("q,a,b,c,d,A\nq,a,b,c,d,E\n"), {
    name: "SyntaxError",
    message:
      'Cannot use "x_test.csv", line 2: wanted an answer from A to D or 0 to 3, got "E"',
  });
  await assert.rejects(parse("q,a,b,c,A\n"), {
    name: "SyntaxError",
    message: /line 1: wanted a question, four choices and an answer, got 5/,
  });
});

Deno.test("tasks without questions or examples are refused", () => {
  assert.throws(() => mmluTask([SUBJECT], { encoder }), {
    name: "RangeError",
    message:
      "Cannot ask high_school_physics: wanted 5 few-shot examples, got 2",
  });
  assert.throws(
    () => mmluTask([{ ...SUBJECT, test: [] }], { encoder, shots: 0 }),
    /wanted questions, got none/,
  );
  const task = mmluTask([SUBJECT], { encoder, shots: 0 });
  assert.throws(() => task.score([[-1, -2]]), /wanted 4 log-likelihoods/);
  assert.deepEqual(task.score([[-2, -1, -3, -4]]).metrics, {
    accuracy: 1,
    macroAccuracy: 1,
  });
});

Deno.test("the first questions are as many of each subject, and only then is there a mean over subjects", () => {
  const question = (text: string) => ({ ...SUBJECT.test[0], question: text });
  const subject = (name: string, count: number): MmluSubject => ({
    ...{ name, dev: [] },
    test: Array.from({ length: count }, (_, i) => question(`${name} ${i}`)),
  });
  const task = mmluTask(
    [subject("astronomy", 1), subject("anatomy", 3), subject("virology", 2)],
    { encoder, shots: 0 },
  );
  const asked = Array.from({ length: task.count }, (_, i) => {
    const { rows: [{ context }] } = task.request(i);
    return encoder.decode(context).split("\n")[2];
  });
  assert.deepEqual(asked, [
    "astronomy 0",
    "anatomy 0",
    "virology 0",
    "anatomy 1",
    "virology 1",
    "anatomy 2",
  ]);
  const right = [-1, -2, -3, -4].map((_, i) =>
    i === SUBJECT.test[0].answer ? -1 : -2
  );
  const wrong = right.map((p) => -3 - p);
  const two = task.score([right, wrong]).metrics;
  assert.deepEqual(two, { accuracy: 0.5, accuracyStdErr: 0.5 });
  const all = task.score([right, right, right, wrong, wrong, wrong]).metrics;
  assert.equal(all.accuracy, 0.5);
  assert.ok(Math.abs(all.macroAccuracy - (1 + 1 / 3 + 1 / 2) / 3) < 1e-12);
});

const folder = `${sharedData()}/mmlu`;
function names(split: string): string[] {
  try {
    return Array.from(Deno.readDirSync(`${folder}/${split}`), (e) => e.name);
  } catch {
    return [];
  }
}

Deno.test({
  name: "all of MMLU can be asked (wants ../shared/data)",
  ignore: names("test").length === 0,
  async fn() {
    const ends = (split: string) =>
      names(split).map((name) => name.replace(`_${split}.csv`, "")).sort();
    assert.deepEqual(ends("test"), [...MMLU_SUBJECTS.keys()]);
    assert.deepEqual(ends("dev"), [...MMLU_SUBJECTS.keys()]);
    const read = (split: string, name: string) =>
      parse(Deno.readFileSync(`${folder}/${split}/${name}_${split}.csv`));
    const subjects: MmluSubject[] = [];
    for (const name of MMLU_SUBJECTS.keys()) {
      const dev = await read("dev", name);
      assert.equal(dev.length, 5, name);
      subjects.push({ name, dev, test: await read("test", name) });
    }
    const task = mmluTask(subjects, { encoder, contextLength: 2048 });
    assert.equal(task.count, 14042);
    for (let i = 0; i < task.count; i += 500) {
      const { rows } = task.request(i);
      assert.deepEqual(
        rows.map(({ continuation }) => encoder.decode(continuation)),
        [" A", " B", " C", " D"],
      );
    }
    const { groups } = task.score(
      Array.from({ length: task.count }, () => [-1, -2, -3, -4]),
    );
    assert.deepEqual(
      Object.values(groups!.categories).map(({ count }) => count)
        .reduce((a, b) => a + b),
      14042,
    );
    assert.equal(Object.keys(groups!.fields).length, 17);
  },
});
