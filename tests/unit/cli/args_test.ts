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

Deno.test("choice() lists what is allowed", () => {
  const choice = (text: string) =>
    parse([`--rank=${text}`], OPTIONS).choice("rank", ["low", "high"]);
  assert.equal(choice("low"), "low");
  assert.equal(parse([], OPTIONS).choice("rank", ["low"]), undefined);
  assert.throws(
    () => choice("Low"),
    usage('--rank must be one of low, high, got "Low"'),
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
