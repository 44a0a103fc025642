import assert from "node:assert/strict";
import {
  choice,
  flag,
  integer,
  list,
  number,
  numbers,
  type Option,
  optionHelp,
  optionText,
  path,
  text,
} from "../../../src/cli/options.ts";
import { VERBS } from "../../../src/cli/main.ts";

const usage = (message: string) => ({ name: "UsageError", message });

/** Value of the words after `--rank`. */
const read = <T>(option: Option<T>, ...words: string[]): T =>
  option.read(words, "rank");

Deno.test("numbers: whole or not, within their range", () => {
  const any = integer({ help: "" });
  assert.equal(read(any, "12"), 12);
  assert.equal(read(any, "-3"), -3);
  assert.equal(read(number({ help: "" }), "0.5"), 0.5);
  assert.equal(read(integer({ least: 3, most: 3, help: "" }), "3"), 3);
  for (const bad of ["", " ", "x", "1.5", "1e99", "Infinity", "NaN", "12a"]) {
    assert.throws(
      () => read(any, bad),
      usage(`--rank must be a whole number, got "${bad}"`),
    );
  }
  for (const bad of ["Infinity", "-Infinity", "NaN", ""]) {
    assert.throws(
      () => read(number({ help: "" }), bad),
      usage(`--rank must be a number, got "${bad}"`),
    );
  }
  assert.throws(
    () => read(integer({ least: 1, help: "" }), "0"),
    usage('--rank must be a whole number >= 1, got "0"'),
  );
  assert.throws(
    () => read(integer({ least: 1, most: 256, help: "" }), "300"),
    usage('--rank must be a whole number from 1 to 256, got "300"'),
  );
});

Deno.test("numbers: beyond a bound that is not in the range", () => {
  assert.equal(read(integer({ above: 0, help: "" }), "1"), 1);
  const fraction = number({ above: 0, help: "" });
  assert.equal(read(fraction, "1e-9"), 1e-9);
  for (const bad of ["0", "-1", "-.5"]) {
    assert.throws(
      () => read(fraction, bad),
      usage(`--rank must be a number > 0, got "${bad}"`),
    );
  }
  assert.throws(
    () => read(integer({ above: 0, most: 8, help: "" }), "9"),
    usage('--rank must be a whole number > 0 and <= 8, got "9"'),
  );
});

Deno.test("numbers by name", () => {
  const pattern = numbers({ value: "NAME=R", help: "" });
  assert.deepEqual(read(pattern, "q=1,v=2.5", "a=b=3"), {
    q: 1,
    v: 2.5,
    "a=b": 3,
  });
  for (const bad of ["q", "=1", "q=0", "q=x"]) {
    assert.throws(
      () => read(pattern, bad),
      usage(`--rank must be NAME=NUMBER, got "${bad}"`),
    );
  }
});

Deno.test("choice() lists what is allowed", () => {
  const level = choice(["low", "high"], { help: "" });
  const found: "low" | "high" | undefined = read(level, "low");
  assert.equal(found, "low");
  assert.throws(
    () => read(level, "Low"),
    usage('--rank must be one of low, high, got "Low"; did you mean low?'),
  );
  // @ts-expect-error: a default is one of the choices.
  choice(["low", "high"], { default: "middle", help: "" });
});

Deno.test("the help of an option has its choices, range, default, effect and aliases", () => {
  for (
    const [option, line] of [
      [
        text({ value: "NAME", also: ["old-set"], help: "which" }),
        "which (alias: --old-set)",
      ],
      [
        integer({ default: 64, also: ["block", "ctx"], help: "most" }),
        "most (default: 64; alias: --block, --ctx)",
      ],
      [number({ default: 2e-4, help: "rate" }), "rate (default: 2e-4)"],
      [
        integer({ least: 2, most: 4, otherwise: "all", help: "bits" }),
        "bits (from 2 to 4; default: all)",
      ],
      [
        choice(["a", "b"], { default: "b", help: "which" }),
        "which: a, b (default: b)",
      ],
      [
        choice(["a", "b"], { needed: true, notes: { b: "both" }, help: "w" }),
        "w: a, b (both) (needed)",
      ],
      [
        flag({ when: { task: ["lm", "qa"], eval: true }, help: "on" }),
        "on (with --task lm, qa; with --eval)",
      ],
    ] as const
  ) assert.equal(optionText(option), line);
});

Deno.test("optionHelp() has an aligned line for each option", () => {
  assert.equal(
    optionHelp({
      out: path({ short: "o", value: "DIR", help: "where to" }),
      rank: integer({ value: "R", default: 16, help: "how much" }),
      target: list({ value: "NAME,…", help: "which" }),
      json: flag({ help: "as JSON" }),
    }),
    [
      "  -o, --out DIR        where to",
      "      --rank R         how much (default: 16)",
      "      --target NAME,…  which",
      "      --json           as JSON",
    ].join("\n"),
  );
});

Deno.test("every verb's table: defaults that it would take, and effects that its options can have", async () => {
  for (const [name, { load }] of Object.entries(VERBS)) {
    const { verb } = await load();
    assert.equal(verb.name, name);
    for (const [option, row] of Object.entries(verb.options)) {
      const what = `${name} --${option}`;
      const { default: fallback, choices, when = {} } = row;
      if (fallback !== undefined) {
        assert.deepEqual(row.read([String(fallback)], option), fallback, what);
        assert.equal(row.otherwise, undefined, what);
      }
      for (const note of Object.keys(row.notes ?? {})) {
        assert.ok(choices?.includes(note), `${what}: ${note}`);
      }
      for (const [other, values] of Object.entries(when)) {
        const known = verb.options[other];
        assert.ok(known, `${what}: ${other}`);
        for (const value of values === true ? [] : values) {
          assert.equal(known.read([value], other), value, what);
        }
      }
    }
    // An example is a command line that is understood.
    for (const line of verb.examples) {
      assert.ok(line.startsWith(`loqa ${name}`), line);
    }
  }
});
