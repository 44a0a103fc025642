import assert from "node:assert/strict";
import { classesOf, labelReader } from "../../../../src/data/tasks/labels.ts";

const RECORD = { fields: {}, file: "train.tsv", row: 2, line: 7 };
const NLI = { names: ["entailment", "neutral", "contradiction"] };

Deno.test("labels are read by name and by number", () => {
  const { read, count, names } = labelReader(NLI, { what: "mnli" });
  assert.equal(count, 3);
  assert.deepEqual(names, NLI.names);
  const values = ["neutral", " Contradiction ", "0", 2, "2", 1n];
  assert.deepEqual(values.slice(0, 5).map((v) => read(RECORD, v)), [
    1,
    2,
    0,
    2,
    2,
  ]);
});

Deno.test("classes are put in the model's order by their names", () => {
  const model = ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"];
  const { read, order, names } = labelReader(NLI, { what: "mnli", model });
  assert.deepEqual([0, "entailment", 1, "2"].map((v) => read(RECORD, v)), [
    2,
    2,
    1,
    0,
  ]);
  assert.deepEqual(order, [2, 1, 0]);
  assert.deepEqual(names, model);
});

Deno.test("a model whose classes have no names has the data set's order", () => {
  const model = ["LABEL_0", "LABEL_1", "LABEL_2"];
  const { read, names } = labelReader(NLI, { what: "mnli", model });
  assert.equal(read(RECORD, "contradiction"), 2);
  assert.deepEqual(names, NLI.names);
});

Deno.test("a label that is none of them names file and line", () => {
  const binary = labelReader({ names: ["0", "1"] }, { what: "x" });
  for (const value of [3, "3", "-1", -1, 0.5, "x", "1.0.0", null, undefined]) {
    assert.throws(
      () => binary.read(RECORD, value),
      (error: Error) =>
        error instanceof SyntaxError &&
        error.message ===
          `Cannot use "train.tsv", line 7: label ${
            value === undefined ? "none" : JSON.stringify(value)
          }: wanted one of 0..1`,
    );
  }
  assert.equal(binary.read(RECORD, "1"), 1);
  assert.equal(binary.read(RECORD, 1), 1);
  assert.throws(
    () => labelReader(NLI, { what: "mnli" }).read(RECORD, "-"),
    /line 7: label "-": wanted one of 0\.\.2 or entailment, neutral, contradiction$/,
  );
});

Deno.test("a model with another number of labels, or other ones, is refused", () => {
  assert.throws(
    () => labelReader(NLI, { what: "mnli", model: ["no", "yes"] }),
    {
      name: "RangeError",
      message:
        "Cannot use mnli with this model: wanted 3 labels (entailment, neutral, contradiction), the model has 2 (no, yes)",
    },
  );
  assert.throws(
    () => labelReader(NLI, { what: "mnli", model: ["a", "b", "c"] }),
    {
      name: "TypeError",
      message:
        "Cannot use mnli with this model: wanted the labels entailment, neutral, contradiction, the model calls its own a, b, c",
    },
  );
  assert.throws(
    () => labelReader({ range: [0, 5] }, { what: "stsb", model: ["a", "b"] }),
    /wanted 1 label, a number, the model has 2 \(a, b\)/,
  );
});

Deno.test("numbers are read where numbers are learnt", () => {
  const { read, count, regression } = labelReader({ range: [0, 5] }, {
    what: "stsb",
    model: ["LABEL_0"],
  });
  assert.deepEqual([count, regression], [1, true]);
  assert.deepEqual(["2.800", 5, "0"].map((v) => read(RECORD, v)), [2.8, 5, 0]);
  for (const value of ["5.1", "-1", "good", "", NaN]) {
    assert.throws(
      () => read(RECORD, value),
      /^SyntaxError: Cannot use "train\.tsv", line 7: label .*: wanted a number of 0 to 5$/,
    );
  }
});

Deno.test("names that are numbers are not places", () => {
  const { read } = labelReader({ names: ["1", "2", "3"] }, { what: "stars" });
  assert.deepEqual(["1", 3].map((v) => read(RECORD, v)), [0, 2]);
});

Deno.test("classes are made of what labels there are", () => {
  assert.deepEqual(classesOf(["1", "0", 3]).names, ["0", "1", "2", "3"]);
  assert.deepEqual(classesOf(["spam", "ham", "spam "]).names, ["ham", "spam"]);
  assert.throws(
    () => classesOf(["spam"]),
    /Cannot find the classes of the labels "spam": wanted 2 to 10000, got 1/,
  );
});
