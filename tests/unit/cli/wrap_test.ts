import assert from "node:assert/strict";
import { optionHelp } from "../../../src/cli/args.ts";
import { columnsWithin, counted } from "../../../src/cli/tables.ts";
import { wrapped } from "../../../src/cli/wrap.ts";

const PAGE = `loqa train DIR: a line that is longer than the page is wide
and goes on here.

  loqa train smol-nf4 --data wiki.txt --steps 120

Options:
${
  optionHelp({
    rank: {
      short: "r",
      value: "R",
      help: "rank of a new adapter, of low-rank factors",
    },
    "rank-pattern-of-modules": {
      value: "NAME=R",
      help: "its rank in some layers",
    },
  })
}
`;

Deno.test("wrapped(): paragraphs flow, columns stay, commands go on behind a backslash", () => {
  assert.equal(
    wrapped(PAGE, 40),
    `loqa train DIR: a line that is longer
than the page is wide and goes on here.

  loqa train smol-nf4 --data wiki.txt \\
    --steps 120

Options:
  -r, --rank R
        rank of a new adapter, of
        low-rank factors
      --rank-pattern-of-modules NAME=R
        its rank in some layers
`,
  );
  const explained = "  a   explained in many words, all of them here";
  assert.equal(
    wrapped(explained, 30),
    "  a   explained in many words,\n      all of them here",
  );
});

Deno.test("wrapped(): what fits, or has no width to fit, is as it was", () => {
  assert.equal(wrapped(PAGE, undefined), PAGE);
  assert.equal(wrapped(PAGE, 200), PAGE);
  assert.equal(wrapped("x".repeat(30), 10), "x".repeat(30));
});

Deno.test("columnsWithin(): what does not fit follows below, with the first column", () => {
  const rows = [["name", "a", "b"], ["one", "1000", "2"]];
  assert.equal(columnsWithin(rows, [1, 2]), "name     a  b\none   1000  2");
  assert.equal(
    columnsWithin(rows, [1, 2], 10),
    "name     a\none   1000\n\nname  b\none   2",
  );
});

Deno.test("counted() knows one from many", () => {
  assert.deepEqual(
    [counted(1, "step"), counted(2, "step"), counted(0, "step")],
    ["1 step", "2 steps", "0 steps"],
  );
});
