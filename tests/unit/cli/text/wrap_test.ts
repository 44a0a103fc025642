import assert from "node:assert/strict";
import { inFolder } from "../../../helpers/model.ts";
import { integer, numbers, optionHelp } from "../../../../src/cli/options.ts";
import { columnsWithin, counted } from "../../../../src/cli/text/tables.ts";
import { fitted, wrapped } from "../../../../src/cli/text/wrap.ts";

const PAGE = `loqa train DIR: a line that is longer than the page is wide
and goes on here.

  loqa train smol-nf4 --data wiki.txt --steps 120

Options:
${
  optionHelp({
    rank: integer({
      short: "r",
      value: "R",
      help: "rank of a new adapter, of low-rank factors",
    }),
    "rank-pattern-of-modules": numbers({
      value: "NAME=R",
      help: "its rank in some layers",
    }),
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

Deno.test("fitted(): every line for itself, cut at spaces, and goes on further in", () => {
  const table = "name   a\none    1";
  const text = `a line that is too long\n  another such line\n${table}\nlast`;
  assert.equal(fitted(text, undefined), text);
  assert.equal(
    fitted(text, 14),
    `a line that is\n  too long\n  another such\n    line\n${table}\nlast`,
  );
  assert.equal(fitted("x".repeat(30), 20), "x".repeat(30));
});

/** Lines of the command line's output in a terminal of so many columns. */
async function inTerminal(
  columns: number,
  ...argv: string[]
): Promise<string[]> {
  const loqa = [Deno.execPath(), "run", "-A", "--quiet", MAIN, ...argv];
  const { stdout } = await new Deno.Command("script", {
    args: [
      "-qec",
      `stty cols ${columns} && ${loqa.map((arg) => `'${arg}'`).join(" ")}`,
      "/dev/null",
    ],
    stdin: "null",
    stderr: "null",
    env: { NO_COLOR: "1" },
  }).output();
  // deno-lint-ignore no-control-regex -- what deno itself writes while it loads
  const noise = /\x1b\[[0-9;]*[A-Za-z]/g;
  return new TextDecoder().decode(stdout).replaceAll(noise, "")
    .trimEnd().split("\n").map((line) => line.trimEnd());
}

const MAIN = new URL("../../../../src/cli/main.ts", import.meta.url).pathname;
const EXAMPLE = new URL("../../../../examples/model", import.meta.url).pathname;

const hasScript = await new Deno.Command("script", {
  args: ["-qec", "true", "/dev/null"],
  ...{ stdin: "null", stdout: "null", stderr: "null" },
}).output().then(({ success }) => success, () => false);

Deno.test({
  name: `results keep to a terminal of 60 columns, words and tables whole${
    hasScript ? "" : " (ignored without util-linux' script)"
  }`,
  ignore: !hasScript,
  fn: () =>
    inFolder(async (folder) => {
      const out = `${folder}/o`;
      const init = [
        ...["init", EXAMPLE, "-o", out, "--rank", "2", "--format", "nf4"],
        ...["--method", "qlora", "--device", "wasm", "--quiet"],
      ];
      const eval_ = [
        ...["eval", out, "--task", "ppl", "--data", `${EXAMPLE}/heldout.txt`],
        ...["--seq-len", "32", "--limit", "2", "--device", "wasm", "--quiet"],
      ];
      const lines = new Map<string, string[]>();
      for (
        const argv of [init, eval_, ["inspect", out], ["plan", "llama-7b"]]
      ) lines.set(argv[0], await inTerminal(60, ...argv));
      for (const [verb, all] of lines) {
        for (const line of all) {
          assert.ok(line.length <= 60 || !line.trim().includes(" "), line);
        }
        // A row of a table is one line, which begins where the table does.
        const row = {
          init: /^q_proj +nf4 +4 +0\.\d+ +0\.\d+$/,
          eval: /^perplexity +\S+ +± \S+$/,
          inspect: /^nf4 +28 +688,128 +\d/,
          plan: /^qalora +89,309,184 +\d.* GB$/,
        }[verb]!;
        assert.ok(all.some((line) => row.test(line)), all.join("\n"));
      }
      const said = lines.get("init")!.join("\n");
      assert.match(
        said.replaceAll(/\s+/g, " "),
        /Loads in: Python, AutoModelForCausalLM\.from_pretrained on backbone\/ \(transformers with bitsandbytes, bfloat16\), then peft for adapter\/\./,
      );
    }),
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
