import assert from "node:assert/strict";
import { Problems, quoted } from "../../../../src/io/files/errors.ts";
import {
  parseJsonObject,
  stringifyLike,
} from "../../../../src/io/files/json.ts";

Deno.test("parseJsonObject() gives objects, from text and from bytes", () => {
  const text =
    ` {"a": {"b": [1, "x: \\" {", {"b": 2}], "c\\u0062": null}, "b": 0} `;
  const wanted = JSON.parse(text);
  assert.deepEqual(parseJsonObject(text, "x"), wanted);
  assert.deepEqual(
    parseJsonObject(new TextEncoder().encode(text), "x"),
    wanted,
  );
});

Deno.test("parseJsonObject() refuses what is no object, naming the file", () => {
  for (
    const text of [
      "",
      "[]",
      "1",
      "null",
      `"x"`,
      "{",
      `{"a":}`,
      `{"a":1,}`,
      `{"a":NaN}`,
      `{"a":Infinity}`,
      `{"a":1} {}`,
    ]
  ) {
    assert.throws(
      () => parseJsonObject(text, "conf.json"),
      (e) => e instanceof SyntaxError && e.message.includes("conf.json"),
      text,
    );
  }
});

Deno.test("parseJsonObject() refuses a key twice at any depth, however it is written", () => {
  for (
    const text of [
      `{"a":1,"a":2}`,
      `{"a":1,"\\u0061":2}`,
      `{"x":[{"a":1 , "b": 2,\n"a" :3}]}`,
      `{"__proto__":1,"__proto__":2}`,
    ]
  ) {
    assert.throws(
      () => parseJsonObject(text, "conf.json"),
      (e) => e instanceof SyntaxError && /twice/.test(e.message),
      text,
    );
  }
});

Deno.test("parseJsonObject() is linear in long and deep texts", () => {
  const long = JSON.stringify({ a: `${"\\".repeat(1e5)}"${" ".repeat(1e5)}` });
  assert.equal((parseJsonObject(long, "x").a as string).length, 200001);
  const deep = `{"a":${"[".repeat(499)}${"]".repeat(499)}}`;
  assert.ok(Array.isArray(parseJsonObject(deep, "x").a));
  const many = `{"a":[${"[],".repeat(1e5)}0]}`;
  assert.equal((parseJsonObject(many, "x").a as unknown[]).length, 100_001);
});

Deno.test("quoted() and Problems keep messages short", () => {
  assert.equal(quoted('a"b\n'), '"a\\"b\\n"');
  assert.ok(quoted("x".repeat(1e6)).length < 200);
  const problems = new Problems("read x");
  assert.ok(problems.none);
  for (let i = 0; i < 1000; i++) problems.add(`p${i}`);
  assert.ok(problems.error().message.endsWith("; and 980 more"));
});

Deno.test("stringifyLike() writes floats in lists as the original does", () => {
  const like = '{"limit": [0.0, 1, 2.0], "in": {"rates": [1e0]}, "n": [3, 4]}';
  assert.equal(
    stringifyLike(JSON.parse(like), like).replaceAll(/\s+/g, ""),
    '{"limit":[0.0,1,2.0],"in":{"rates":[1.0]},"n":[3,4]}',
  );
  assert.equal(stringifyLike({ a: 1 }, "").replaceAll(/\s+/g, ""), '{"a":1}');
});
