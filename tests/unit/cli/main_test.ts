import assert from "node:assert/strict";
import { VERSION } from "../../../src/version.ts";
import { loqa } from "../../helpers/cli.ts";

Deno.test("loqa without a verb shows the verbs and is wrong usage", async () => {
  const [none, help] = await Promise.all([loqa(), loqa("--help")]);
  assert.equal(none.code, 2);
  assert.equal(help.code, 0);
  assert.equal(help.stdout, none.stdout);
  assert.match(help.stdout, /^ {2}init +\S/m);
  assert.match(help.stdout, /Exit codes: 0 done, 1 failed, 2 wrong usage/);
});

Deno.test("loqa --version", async () => {
  assert.deepEqual(await loqa("--version"), {
    code: 0,
    stdout: `${VERSION}\n`,
    stderr: "",
  });
});

Deno.test("help, help VERB, version and -v are taken for what they say", async () => {
  const [help, verb, page, version, short] = await Promise.all([
    loqa("help"),
    loqa("help", "plan"),
    loqa("plan", "--help"),
    loqa("version"),
    loqa("-v"),
  ]);
  assert.match(help.stdout, /^ {2}init +\S/m);
  assert.match(verb.stdout, /^loqa plan /);
  assert.equal(verb.stdout, page.stdout);
  assert.deepEqual([version.stdout, short.stdout], [
    `${VERSION}\n`,
    `${VERSION}\n`,
  ]);
});

Deno.test("VERB --help tells every option", async () => {
  const { code, stdout, stderr } = await loqa("init", "x", "--help");
  assert.deepEqual([code, stderr], [0, ""]);
  for (
    const option of [
      "--format NAME",
      "-o, --out DIR",
      "--base MODEL",
      "--resume",
      "--safe-interval SECONDS",
      "--json",
      "-q, --quiet",
    ]
  ) {
    assert.ok(stdout.includes(option), option);
  }
});

for (
  const [args, line] of [
    [["fly"], 'there is no verb "fly"; wanted one of init, '],
    [["constructor"], 'there is no verb "constructor"'],
    [["ini"], 'there is no verb "ini"; did you mean init?'],
    [["quantize"], 'there is no verb "quantize"; did you mean init?'],
    [["init"], "init takes one MODEL, got none"],
    [["init", "a", "b", "-o", "x"], "init takes one MODEL, got 2"],
    [["init", "a"], "init needs -o DIR"],
    [
      ["init", "a", "-o", "x", "--rnak", "3"],
      "there is no option --rnak; did you mean --rank?",
    ],
    [
      ["init", "a", "-o", "x", "--format", "fp4"],
      "--format must be one of nf4, nf3, nf2, int5,",
    ],
    [["init", "a", "-o", "x", "--rank", "0"], "--rank must be a whole number"],
    [["init", "a", "-o", "x", "--alpha", "Infinity"], "--alpha must be a numb"],
    [
      ["init", "a", "-o", "x", "--metric", "diag"],
      "--metric diag needs --calib or --moments FILE",
    ],
    [
      ["init", "a", "-o", "x", "--moments", "f"],
      "--moments needs --metric diag or full",
    ],
    [
      ["init", "a", "-o", "x", "--method", "qlora", "--iters", "2"],
      "--method qlora has no iterations, got --iters",
    ],
    [
      ["init", "a", "-o", "x", "--rank-pattern", "q_proj"],
      '--rank-pattern must be NAME=NUMBER, got "q_proj"',
    ],
    [["init", "a", "-o", "x", "--device", "gpu"], "--device must be one of "],
    [["init", "a", "-o", "x", "--safe-interval=-1"], "--safe-interval must"],
  ] as const
) {
  Deno.test(`wrong usage: loqa ${args.join(" ")}`, async () => {
    const { code, stdout, stderr } = await loqa(...args);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    const [first, second, end] = stderr.split("\n");
    assert.ok(first.startsWith(`loqa: ${line}`), first);
    assert.match(second, /^Try: loqa (init )?--help$/);
    assert.equal(end, "");
  });
}
