import assert from "node:assert/strict";
import { parse } from "../../../src/cli/args.ts";
import {
  choice,
  flag,
  integer,
  list,
  numbers,
  type Options,
  path,
  text,
  UsageError,
} from "../../../src/cli/options.ts";

const OPTIONS = {
  out: path({ short: "o", value: "DIR", help: "where to" }),
  rank: integer({ value: "R", default: 16, help: "how much" }),
  target: list({ value: "NAME,…", help: "which" }),
  "rank-pattern": numbers({ value: "NAME=R", help: "how much of some" }),
  json: flag({ help: "as JSON" }),
};

const usage = (message: string) => ({ name: "UsageError", message });

/** Parses the arguments of a verb that takes any bare ones. */
function parsed<O extends Options>(args: readonly string[], options: O) {
  return parse(["x", ...args], { name: "fly", takes: "X…", options });
}

Deno.test("parse() reads values, switches, lists and positionals", () => {
  const { positionals, values, given } = parsed(
    ["a", "-o", "x", "--target", "q, v,", "--json", "--target=k", "b"],
    OPTIONS,
  );
  assert.deepEqual(positionals, ["x", "a", "b"]);
  assert.deepEqual(values, {
    out: "x",
    rank: 16,
    target: ["q", "v", "k"],
    rankPattern: undefined,
    json: true,
  });
  assert.deepEqual([given("out"), given("rank")], [true, false]);
  assert.deepEqual(parsed(["--", "-o"], OPTIONS).positionals, ["x", "-o"]);
  assert.equal(parsed([], OPTIONS).values.json, false);
  // The type of a value is that of its row.
  const rank: number = values.rank;
  // @ts-expect-error: without a default, and not needed, there may be none.
  const out: string = parsed([], OPTIONS).values.out;
  assert.deepEqual([rank, out], [16, undefined]);
});

Deno.test("parse() refuses what it does not know, and values that lack", () => {
  for (
    const [args, part] of [
      [["--ouT", "x"], "--ouT"],
      [["-x"], "-x"],
      [["--out"], "--out"],
      [["--out", ""], "--out needs a value: DIR"],
      [["--target", " ,"], "--target needs a value: NAME,…"],
      [["--json=yes"], "--json"],
      [["--out", "--json"], "--out"],
    ] as const
  ) {
    assert.throws(() => parsed(args, OPTIONS), (error: Error) => {
      assert.ok(error instanceof UsageError);
      assert.ok(error.message.includes(part), error.message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  }
});

Deno.test("parse() refuses a value that is given twice, and takes lists and switches", () => {
  assert.throws(
    () => parsed(["--rank", "1", "-o", "x", "--rank", "2"], OPTIONS),
    usage('--rank is given twice, "1" and "2"; it takes one value'),
  );
  const { values } = parsed(
    ["--json", "--json", "--target=a", "--target=b"],
    OPTIONS,
  );
  assert.deepEqual([values.json, values.target], [true, ["a", "b"]]);
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
      () => parsed([given, "1"], OPTIONS),
      usage(
        `there is no option ${given}${
          meant ? `; did you mean --${meant}?` : ""
        }`,
      ),
    );
  }
});

const EFFECTS = {
  task: text({ value: "NAME", default: "lm", help: "" }),
  method: text({ value: "NAME", otherwise: "by the folder", help: "" }),
  eval: list({ value: "FILE", files: true, help: "" }),
  every: text({ value: "N", when: { eval: true }, help: "" }),
  field: text({ value: "NAME", when: { task: ["lm"] }, help: "" }),
  shots: text({ value: "N", when: { task: ["a", "b"] }, help: "" }),
  rank: text({ value: "R", when: { method: ["lora"] }, help: "" }),
  set: text({ value: "NAME", also: ["old-set"], help: "" }),
};

Deno.test("parse() refuses options that have no effect beside the others", () => {
  assert.throws(
    () => parsed(["--every", "3"], EFFECTS),
    usage("--every has no effect without --eval"),
  );
  parsed(["--every", "3", "--eval", "x"], EFFECTS);
  parsed(["--field", "x"], EFFECTS);
  assert.throws(
    () => parsed(["--field", "x", "--task", "a"], EFFECTS),
    usage("--field has no effect with --task a, only with lm"),
  );
  assert.throws(
    () => parsed(["--shots", "2"], EFFECTS),
    usage("--shots has no effect with --task lm, only with a, b"),
  );
});

Deno.test("settle() tells what a default turned out to be", () => {
  const args = parsed(["--rank", "3"], EFFECTS);
  args.settle("method", "lora");
  assert.throws(
    () => args.settle("method", "full"),
    usage("--rank has no effect with --method full, only with lora"),
  );
});

Deno.test("files that a shell made of one pattern belong to their option; before a first argument they do not", () => {
  const sorted = (...args: string[]) => {
    const { positionals, values } = parse(args, {
      ...{ name: "fly", takes: "X…", options: EFFECTS },
    });
    return [positionals, values.eval];
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
  assert.equal(parsed(["--old-set", "x"], EFFECTS).values.set, "x");
  assert.throws(
    () => parsed(["--set", "x", "--old-set", "y"], EFFECTS),
    usage('--old-set is given twice, "x" and "y"; it takes one value'),
  );
  for (const near of ["--old_set", "--odl-set", "--sett"]) {
    assert.throws(
      () => parsed([near, "x"], EFFECTS),
      usage(`there is no option ${near}; did you mean --set?`),
    );
  }
});

Deno.test("bare arguments are as many as the verb takes", () => {
  const bare = (takes: string | undefined, ...args: string[]) =>
    parse(args, { name: "train", takes, options: OPTIONS }).positionals;
  assert.deepEqual(bare("DIR", "a"), ["a"]);
  assert.deepEqual(bare("FILE…", "a", "b"), ["a", "b"]);
  assert.deepEqual(bare(undefined), []);
  for (
    const [args, line] of [
      [["DIR"], "train takes one DIR, got none"],
      [["DIR", "a", "b"], "train takes one DIR, got 2: a, b"],
      [["FILE…"], "train needs a FILE"],
      [[undefined, "a", "b"], "train takes no argument, got a, b"],
    ] as const
  ) {
    const [takes, ...rest] = args;
    assert.throws(() => bare(takes, ...rest), usage(line));
  }
});

Deno.test("an option that is needed is asked for as it is given", () => {
  const options = {
    out: path({ short: "o", value: "DIR", needed: true, help: "" }),
    data: list({ value: "FILE,…", needed: true, help: "" }),
    to: choice(["a", "b"], { needed: true, help: "" }),
  };
  const run = (...args: string[]) =>
    parse(args, { name: "fly", options }).values;
  assert.throws(() => run(), usage("fly needs -o DIR"));
  assert.throws(() => run("-o", "x"), usage("fly needs --data FILE"));
  assert.throws(
    () => run("-o", "x", "--data", "y"),
    usage("fly needs --to, one of a, b"),
  );
  const { out, data, to } = run("-o", "x", "--data", "y", "--to", "a");
  const all: [string, readonly string[], "a" | "b"] = [out, data, to];
  assert.deepEqual(all, ["x", ["y"], "a"]);
});
