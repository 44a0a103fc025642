import assert from "node:assert/strict";
import { importsOf, resolve, withoutComments } from "./source.ts";

Deno.test("importsOf finds every form, and none in comments", () => {
  const text = `/**
 * import { no } from "./comment.ts";
 */
import { a } from "./a.ts";
import type {
  B,
} from "./b.ts";
export * from "./c.ts";
export { d } from './d.ts'; // import "./no.ts";
import "./e.ts";
const f = await import("./f.ts");
const text = "https://example.org"; // a comment
const g = () => import("npm:g@1.2.3");
`;
  const seen = importsOf(text).map(({ specifier, dynamic, line }) =>
    `${line} ${specifier}${dynamic ? " dynamic" : ""}`
  ).sort();
  assert.deepEqual(seen.map((s) => s.replace(/^\d+ /, "")).sort(), [
    "./a.ts",
    "./b.ts",
    "./c.ts",
    "./d.ts",
    "./e.ts",
    "./f.ts dynamic",
    "npm:g@1.2.3 dynamic",
  ]);
  assert.ok(seen.includes("11 ./f.ts dynamic"), `${seen}`);
});

Deno.test("withoutComments keeps strings and lines", () => {
  const text = 'const a = "// no"; /* yes\n yes */ const b = `/* no */`;';
  assert.equal(
    withoutComments(text),
    'const a = "// no";       \n        const b = `/* no */`;',
  );
});

Deno.test("resolve follows relative paths", () => {
  assert.equal(resolve("../io/a.ts", "src/cli/main.ts"), "src/io/a.ts");
  assert.equal(resolve("./src/b.ts", "mod.ts"), "src/b.ts");
});
