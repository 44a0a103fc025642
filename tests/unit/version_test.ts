import assert from "node:assert/strict";
import { VERSION } from "../../src/version.ts";

Deno.test("VERSION is that of deno.json and heads the changelog", async () => {
  const read = (path: string) =>
    Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  assert.equal(VERSION, JSON.parse(await read("deno.json")).version);
  // Above it only what is not released yet.
  assert.equal(
    /^## (?!Unreleased$)(\S+)/m.exec(await read("CHANGELOG.md"))?.[1],
    VERSION,
  );
});
