import assert from "node:assert/strict";
import {
  JsonNumber,
  parseJsonExact,
} from "../../../../src/io/files/json_exact.ts";

Deno.test("parseJsonExact() reads what JSON.parse reads", () => {
  for (
    const text of [
      "null",
      '{"a": [1, -2, 0.5, true, false, null, "x\\n\\"{[,\\u00e9"], "b": {}}',
      '[[], {}, "1e5", "\\\\"]',
      '{"a": "12345678901234567890", "b": "10", "c": 1.5}',
    ]
  ) assert.deepEqual(parseJsonExact(text), JSON.parse(text));
});

Deno.test("parseJsonExact() keeps numbers as they are written", () => {
  const text = "[2.0, 1e3, 12345678901234567890, -0, 0.25, 7, 1e999]";
  const read = parseJsonExact(text) as unknown[];
  assert.deepEqual(
    read.map((item) => item instanceof JsonNumber ? item.text : item),
    ["2.0", "1e3", "12345678901234567890", "-0", 0.25, 7, "1e999"],
  );
  assert.deepEqual(
    read.map((item) => item instanceof JsonNumber && item.isFloat),
    [true, true, false, false, false, false, true],
  );
  assert.equal(
    JSON.stringify(read),
    "[2.0,1e3,12345678901234567890,-0,0.25,7,1e999]",
  );
});

Deno.test("parseJsonExact() keeps the order of keys", () => {
  const read = parseJsonExact('{"b": {"10": 1, "2": {"x": 1}, "a": 2}}');
  const { b } = read as { b: Map<string, unknown> };
  assert.deepEqual([...b], [["10", 1], ["2", { x: 1 }], ["a", 2]]);
});

Deno.test("parseJsonExact() refuses what is no JSON, and what lies too deep", () => {
  for (const text of ["{", "[1.0,]", "01.0", "", '{"a" 1.0}']) {
    assert.throws(() => parseJsonExact(text), SyntaxError);
  }
  assert.throws(
    () => parseJsonExact("[".repeat(600) + "1.0" + "]".repeat(600)),
    SyntaxError,
  );
});
