import assert from "node:assert/strict";
import { badOpenings } from "./openings.ts";

Deno.test("badOpenings() finds What, How and Whether at the start of a doc comment, and there only", () => {
  const text = [
    "# What a row is. */",
    "const a = 1; # Rows; what they are. */",
    "// What a line comment says is its own affair.",
    "#",
    " * Whether it is there.",
    " */",
    "#",
    " * A title.",
    " *",
    " * What follows is text.",
    " */",
    "  # How many rows. */",
    "# Whatever, However: other words. */",
  ].join("\n").replaceAll("#", "/*" + "*");
  assert.deepEqual(badOpenings(text), [
    { line: 1, word: "What" },
    { line: 5, word: "Whether" },
    { line: 12, word: "How" },
  ]);
});
