import assert from "node:assert/strict";
import {
  optionHelp,
  type Options,
  parse,
  UsageError,
} from "../../../src/cli/args.ts";

const OPTIONS: Options = {
  out: { short: "o", value: "DIR", help: "where to" },
  rank: { value: "R", default: "16", help: "how much" },
  target: { value: "NAME,…", multiple: true, help: "which" },
  json: { help: "as JSON" },
};

const usage = (message: string) => ({ name: "UsageError", message });

Deno.test("parse() reads values, switches, lists and positionals", () => {
  const args = parse(
    ["a", "-o", "x", "--target", "q, v,", "--json", "--target=k", "b"],
    OPTIONS,
  );
  assert.deepEqual(args.positionals, ["a", "b"]);
  assert.equal(args.text("out"), "x");
  assert.equal(args.text("rank"), undefined);
  assert.deepEqual(args.list("target"), ["q", "v", "k"]);
  assert.equal(args.list("rank"), undefined);
  assert.equal(args.on("json"), true);
  assert.deepEqual(parse(["--", "-o"], OPTIONS).positionals, ["-o"]);
  assert.equal(parse([], OPTIONS).on("json"), false);
});

Deno.test("parse() refuses what it does not know, and values that lack", () => {
  for (
    const [args, part] of [
      [["--ouT", "x"], "--ouT"],
      [["-x"], "-x"],
      [["--out"], "--out"],
      [["--json=yes"], "--json"],
      [["--out", "--json"], "--out"],
    ] as const
  ) {
    assert.throws(() => parse(args, OPTIONS), (error: Error) => {
      assert.ok(error instanceof UsageError);
      assert.ok(error.message.includes(part), error.message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  }
});

Deno.test("numbers: whole unless a fraction is allowed, within their range", () => {
  const number = (text: string, range = {}) =>
    parse([`--rank=${text}`], OPTIONS).number("rank", range);
  assert.equal(parse([], OPTIONS).number("rank"), undefined);
  assert.equal(number("12"), 12);
  assert.equal(number("-3"), -3);
  assert.equal(number("0.5", { fraction: true }), 0.5);
  assert.equal(number("3", { least: 3, most: 3 }), 3);
  for (const bad of ["", " ", "x", "1.5", "1e99", "Infinity", "NaN", "12a"]) {
    assert.throws(
      () => number(bad),
      usage(`--rank must be a whole number, got "${bad}"`),
    );
  }
  for (const bad of ["Infinity", "-Infinity", "NaN", ""]) {
    assert.throws(
      () => number(bad, { fraction: true }),
      usage(`--rank must be a number, got "${bad}"`),
    );
  }
  assert.throws(
    () => number("0", { least: 1 }),
    usage('--rank must be a whole number >= 1, got "0"'),
  );
  assert.throws(
    () => number("300", { least: 1, most: 256 }),
    usage('--rank must be a whole number from 1 to 256, got "300"'),
  );
});

Deno.test("numbers: beyond a bound that is not in the range", () => {
  const number = (text: string, range = {}) =>
    parse(["--rank", text], OPTIONS).number("rank", { above: 0, ...range });
  assert.equal(number("1"), 1);
  assert.equal(number("1e-9", { fraction: true }), 1e-9);
  for (const bad of ["0", "-1", "-.5"]) {
    assert.throws(
      () => number(bad, { fraction: true }),
      usage(`--rank must be a number > 0, got "${bad}"`),
    );
  }
  assert.throws(
    () => number("9", { most: 8 }),
    usage('--rank must be a whole number > 0 and <= 8, got "9"'),
  );
});

Deno.test("parse() refuses a value that is given twice, and takes lists and switches", () => {
  assert.throws(
    () => parse(["--rank", "1", "-o", "x", "--rank", "2"], OPTIONS),
    usage('--rank is given twice, "1" and "2"; it takes one value'),
  );
  const args = parse(["--json", "--json", "--target=a", "--target=b"], OPTIONS);
  assert.deepEqual([args.on("json"), args.list("target")], [true, ["a", "b"]]);
});

Deno.test("parse() says what was meant by an option of another name", () => {
  for (
    const [given, meant] of [
      ["--ranks", "rank"],
      ["--tagret", "target"],
      ["--output-dir", "out"],
      ["--lora_alpha", undefined],
      ["--r", "rank"],
      ["--zzz", undefined],
    ] as const
  ) {
    assert.throws(
      () => parse([given, "1"], OPTIONS),
      usage(
        `there is no option ${given}${
          meant ? `; did you mean --${meant}?` : ""
        }`,
      ),
    );
  }
});

const EFFECTS: Options = {
  task: { value: "NAME", default: "lm", help: "" },
  method: { value: "NAME", default: "by the folder", help: "" },
  eval: { value: "FILE", multiple: true, files: true, help: "" },
  every: { value: "N", when: { eval: true }, help: "" },
  field: { value: "NAME", when: { task: ["lm"] }, help: "" },
  shots: { value: "N", when: { task: ["a", "b"] }, help: "" },
  rank: { value: "R", when: { method: ["lora"] }, help: "" },
  set: { value: "NAME", also: ["old-set"], help: "" },
};

Deno.test("parse() refuses options that have no effect beside the others", () => {
  assert.throws(
    () => parse(["--every", "3"], EFFECTS),
    usage("--every has no effect without --eval"),
  );
  parse(["--every", "3", "--eval", "x"], EFFECTS);
  parse(["--field", "x"], EFFECTS);
  assert.throws(
    () => parse(["--field", "x", "--task", "a"], EFFECTS),
    usage("--field has no effect with --task a, only with lm"),
  );
  assert.throws(
    () => parse(["--shots", "2"], EFFECTS),
    usage("--shots has no effect with --task lm, only with a, b"),
  );
});

Deno.test("settle() tells what a default turned out to be", () => {
  const args = parse(["--rank", "3"], EFFECTS);
  args.settle("method", "lora");
  assert.throws(
    () => args.settle("method", "full"),
    usage("--rank has no effect with --method full, only with lora"),
  );
});

Deno.test("files that a shell made of one pattern belong to their option; before a first argument they do not", () => {
  const sorted = (...args: string[]) => {
    const { positionals, list } = parse(args, EFFECTS);
    return [positionals, list("eval")];
  };
  assert.deepEqual(sorted("dir", "--eval", "a", "b", "c", "--task", "lm"), [
    ["dir"],
    ["a", "b", "c"],
  ]);
  assert.deepEqual(sorted("--eval", "a", "dir"), [["dir"], ["a"]]);
  assert.deepEqual(sorted("dir", "--task", "lm", "x"), [
    ["dir", "x"],
    undefined,
  ]);
});

Deno.test("an option is taken by its aliases, as one option", () => {
  assert.equal(parse(["--old-set", "x"], EFFECTS).text("set"), "x");
  assert.throws(
    () => parse(["--set", "x", "--old-set", "y"], EFFECTS),
    usage('--old-set is given twice, "x" and "y"; it takes one value'),
  );
  for (const near of ["--old_set", "--odl-set", "--sett"]) {
    assert.throws(
      () => parse([near, "x"], EFFECTS),
      usage(`there is no option ${near}; did you mean --set?`),
    );
  }
});

Deno.test("one() is the bare argument, or tells which there are", () => {
  assert.equal(parse(["a"], OPTIONS).one("train", "DIR"), "a");
  assert.throws(
    () => parse([], OPTIONS).one("train", "DIR"),
    usage("train takes one DIR, got none"),
  );
  assert.throws(
    () => parse(["a", "b"], OPTIONS).one("train", "DIR"),
    usage("train takes one DIR, got 2: a, b"),
  );
});

Deno.test("choice() lists what is allowed", () => {
  const choice = (text: string) =>
    parse([`--rank=${text}`], OPTIONS).choice("rank", ["low", "high"]);
  assert.equal(choice("low"), "low");
  assert.equal(parse([], OPTIONS).choice("rank", ["low"]), undefined);
  assert.throws(
    () => choice("Low"),
    usage('--rank must be one of low, high, got "Low"; did you mean low?'),
  );
});

Deno.test("optionHelp() tells an option's default and its aliases", () => {
  const { set } = EFFECTS;
  const block = { ...set, default: "64", also: ["block", "ctx"], help: "most" };
  assert.equal(
    optionHelp({ set: { ...set, help: "which" }, block }),
    [
      "      --set NAME    which (alias: --old-set)",
      "      --block NAME  most (default: 64; alias: --block, --ctx)",
    ].join("\n"),
  );
});

Deno.test("optionHelp() has an aligned line for each option", () => {
  assert.equal(
    optionHelp(OPTIONS),
    [
      "  -o, --out DIR        where to",
      "      --rank R         how much (default: 16)",
      "      --target NAME,…  which",
      "      --json           as JSON",
    ].join("\n"),
  );
});
