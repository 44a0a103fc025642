import assert from "node:assert/strict";
import {
  gsm8kProblem,
  gsm8kTask,
  loftqAnswer,
  strictAnswer,
} from "../../../src/eval/tasks/gsm8k.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import { readRecords } from "../../../src/data/records/records.ts";
import { applyTemplate } from "../../../src/data/tasks/templates.ts";
import { exists, sharedData } from "../../helpers/inputs.ts";
import { toyCodec } from "../data/codec.ts";

const encoder = toyCodec();

function record(question: unknown, answer: unknown) {
  return { fields: { question, answer }, file: "test.jsonl", row: 1, line: 3 };
}

Deno.test("gsm8kTask() asks with LoftQ's prompt and scores by both rules", () => {
  const problems = [
    record("How many?", "2+2=<<2+2=4>>4\n#### 4"),
    record("How much?", "#### 1,200"),
  ].map(gsm8kProblem);
  assert.deepEqual(problems[1], {
    question: "How much?",
    answer: 1200,
    text: "1200",
  });
  const task = gsm8kTask(problems, { encoder });
  const { prompt, maxNewTokens } = task.request(0);
  assert.equal(maxNewTokens, 256);
  assert.equal(
    encoder.decode(prompt.slice(1)),
    "How many?\nAnswer the above question. First think step by step and then answer the final number.\n",
  );
  const { metrics, count } = task.score([
    "2 and 2\nThe final answer is:  4",
    "so #### 1,200",
  ]);
  assert.equal(count, 2);
  assert.deepEqual(metrics, {
    accuracy: 1,
    accuracyStdErr: 1 / 3,
    strictAccuracy: 0.5,
    strictAccuracyStdErr: 0.5,
  });
});

Deno.test("problems without a number are refused with file and line", () => {
  assert.throws(() => gsm8kProblem(record("x", "no mark 4")), {
    name: "SyntaxError",
    message:
      'Cannot use "test.jsonl", line 3: wanted an answer that ends in "#### " and a number',
  });
  assert.throws(() => gsm8kProblem(record("x", "#### -.,")), SyntaxError);
  assert.throws(
    () => gsm8kProblem(record(undefined, "#### 1")),
    /field "question": wanted a text, got none/,
  );
});

const files = ["test.jsonl", "train.jsonl"].map((name) =>
  `${sharedData()}/gsm8k/${name}`
);

Deno.test({
  name:
    "the real answers of GSM8K, and as LoftQ teaches them, are read back (wants ../shared/data)",
  ignore: !files.every(exists),
  async fn() {
    for (const [i, path] of files.entries()) {
      const source = bytesSource(Deno.readFileSync(path), "x.jsonl");
      let count = 0;
      for await (const record of readRecords(source)) {
        const problem = gsm8kProblem(record);
        const answer = record.fields.answer as string;
        // What test_gsm8k.py takes for the truth.
        assert.equal(
          problem.answer,
          Number(answer.split("####").at(-1)!.replaceAll(",", "")),
        );
        assert.equal(strictAnswer(answer), problem.text);
        const [, taught] = applyTemplate(record, {
          template: "gsm8k",
        }).segments;
        assert.equal(loftqAnswer(taught.text), problem.answer);
        count++;
      }
      assert.equal(count, [1319, 7473][i]);
    }
  },
});
