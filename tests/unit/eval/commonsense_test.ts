import assert from "node:assert/strict";
import {
  COMMONSENSE,
  type CommonsenseName,
  commonsenseQuestion,
  commonsenseTask,
  parseInstruction,
} from "../../../src/eval/tasks/commonsense.ts";
import { bytesSource } from "../../../src/io/files/sources.ts";
import { readRecords } from "../../../src/data/records/records.ts";
import { exists, sharedData } from "../../helpers/inputs.ts";
import { toyCodec } from "../data/codec.ts";

const encoder = toyCodec();

function record(instruction: unknown, answer: unknown) {
  return {
    fields: { instruction, input: "", output: "", answer },
    file: "test.json",
    row: 2,
    line: 9,
  };
}

const ASK = "Please choose the correct answer to the question: ";
const FORM = "Answer format: answer1/answer2/answer3";

Deno.test("question and choices are taken out of the instruction", () => {
  const parsed = parseInstruction(
    "openbookqa",
    record(
      `${ASK}Say Answer: what?\n\nAnswer1: a  Answer2: b: c\nAnswer3: d?\n\n${FORM}`,
      "answer2",
    ),
  );
  assert.deepEqual(parsed, {
    question: "Say Answer: what?",
    choices: ["a", "b: c", "d?"],
    gold: 1,
  });
});

Deno.test("instructions of another form are refused with file and line", () => {
  const three = "Answer1: a Answer2: b Answer3: c";
  const bad: [string, unknown, RegExp][] = [
    [`${ASK}q ${three}`, "answer1", /wanted an instruction "Please choose/],
    [`Choose: q ${three} ${FORM}`, "answer1", /wanted an instruction/],
    [
      `${ASK}q ${three} ${FORM}`,
      "answer4",
      /wanted an answer of answer1, answer2, answer3, got "answer4"/,
    ],
    [
      `${ASK}q Answer1: a Answer2: b ${FORM}`,
      "answer1",
      /once each and in order, got answer1, answer2$/,
    ],
    [
      `${ASK}q Answer2: a Answer1: b Answer3: c ${FORM}`,
      "answer1",
      /got answer2, answer1, answer3$/,
    ],
    [
      `${ASK}q ${three} Answer1: d ${FORM}`,
      "answer1",
      /got answer1, answer2, answer3, answer1$/,
    ],
    [`${ASK}q ${FORM}`, "answer1", /got none$/],
    [
      `${ASK}q Answer1: a Answer2: Answer3: c ${FORM}`,
      "answer1",
      /got an empty one/,
    ],
    [`${ASK}${three} ${FORM}`, "answer1", /got an empty one/],
    [`${ASK}q Solution1: a ${FORM}`, "answer1", /got none$/],
    [
      `${ASK}q Answer1: a Answer format: a1`,
      "a1",
      /wanted the choices a1 once/,
    ],
  ];
  for (const [instruction, answer, message] of bad) {
    assert.throws(
      () => parseInstruction("ARC-Easy", record(instruction, answer)),
      (error: Error) => {
        assert.ok(error instanceof SyntaxError);
        assert.match(error.message, /^Cannot use "test.json", line 9: /);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  assert.throws(
    () => parseInstruction("piqa", record(7, "solution1")),
    /field "instruction": wanted a text, got 7/,
  );
  const fill =
    "Please choose the correct answer to fill in the blank to complete the given sentence: ";
  assert.throws(
    () =>
      commonsenseQuestion(
        "winogrande",
        record(
          `${fill}no blank Option1: a Option2: b Answer format: option1/option2`,
          "option1",
        ),
      ),
    /wanted one blank \(_\) in the sentence, got 0/,
  );
  assert.throws(
    () =>
      parseInstruction(
        "boolq",
        record(
          "Please answer the following question with true or false, question: q? Answer format: yes/no",
          "no",
        ),
      ),
    /wanted true\/false, got yes\/no/,
  );
});

Deno.test("a task of nothing is refused", async () => {
  await assert.rejects(commonsenseTask("piqa", { records: [], encoder }), {
    name: "RangeError",
    message: "Cannot ask piqa: wanted records, got none",
  });
});

const COUNTS: Partial<Record<CommonsenseName, number>> = {
  boolq: 3270,
  piqa: 1838,
  "social_i_qa": 1954,
  winogrande: 1267,
  "ARC-Easy": 2376,
  "ARC-Challenge": 1172,
  openbookqa: 500,
};

for (const name of COMMONSENSE) {
  const count = COUNTS[name];
  if (count === undefined) continue;
  const path = `${sharedData()}/commonsense/${name}/test.json`;
  Deno.test({
    name:
      `every record of ${name} can be asked, and says what it is made of (wants ../shared/data)`,
    ignore: !exists(path),
    async fn() {
      const source = bytesSource(Deno.readFileSync(path), "test.json");
      const records = await Array.fromAsync(readRecords(source));
      assert.equal(records.length, count);
      for (const record of records) {
        const { question, choices, gold } = parseInstruction(name, record);
        const text = record.fields.instruction as string;
        for (const part of [question, ...choices]) {
          assert.ok(text.includes(part));
        }
        assert.ok(gold >= 0 && gold < choices.length);
      }
      const task = await commonsenseTask(name, {
        records: records.slice(0, 50),
        encoder,
      });
      const right = Array.from({ length: 50 }, (_, i) => {
        const { gold } = commonsenseQuestion(name, records[i]);
        return task.request(i).rows.map((_, j) => j === gold ? -1 : -500);
      });
      assert.equal(task.score(right).metrics.accuracy, 1);
    },
  });
}
