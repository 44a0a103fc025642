/** Each verb with the flags that `--help` and README tell, and no more; what is said where one is missing. */

import assert from "node:assert/strict";
import {
  ALL_PERMISSIONS,
  flagsOf,
  HUB_PERMISSIONS,
} from "../../src/cli/permissions.ts";
import { VERBS } from "../../src/cli/main.ts";
import { outcome } from "../helpers/cli.ts";
import { inFolder } from "../helpers/model.ts";

const ROOT = new URL("../../", import.meta.url);
const MAIN = new URL("src/cli/main.ts", ROOT).pathname;
const EXAMPLE = new URL("examples/model", ROOT).pathname;

function start(flags: readonly string[], args: readonly string[]) {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--quiet", ...flags, MAIN, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
}

const run = (flags: readonly string[], args: readonly string[]) =>
  outcome(start(flags, args));

/** Runs a verb with its own flags; it must do its work without a word on stderr. */
async function works(verb: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(VERBS[verb].permissions, [
    verb,
    ...args,
  ]);
  // A training of two steps learns nothing, and says so.
  const said = stderr.replace(/^warning: the loss, .*\n/gm, "");
  assert.deepEqual([code, said], [0, ""], `${verb}: ${stderr}`);
  return stdout;
}

Deno.test("every verb runs with its least flags", () =>
  inFolder(async (folder) => {
    const [dir, merged] = [`${folder}/dir`, `${folder}/merged`];
    const data = `${folder}/data.jsonl`;
    await Deno.writeTextFile(
      data,
      `${JSON.stringify({ prompt: "a b", completion: " c d" })}\n`.repeat(8),
    );
    await Deno.writeTextFile(`${folder}/data.txt`, "a b c d e. ".repeat(99));
    await Deno.writeTextFile(
      `${folder}/data.csv`,
      `text\n${"a b c d\n".repeat(99)}`,
    );
    await works("init", EXAMPLE, "-o", dir, "--format", "nf2", "-q");
    await works(
      ...["train", dir, "--task", "sft", "--data", data] as const,
      ...["--steps", "2", "-q"],
    );
    await works(
      ...[
        "train",
        EXAMPLE,
        "-o",
        `${folder}/lora`,
        "--method",
        "lora",
      ] as const,
      ...["--data", `${folder}/data.csv`, "--steps", "1", "--block", "8", "-q"],
    );
    await works("merge", dir, "-o", merged, "-q");
    await works(
      ...[
        "eval",
        dir,
        "--task",
        "ppl",
        "--data",
        `${folder}/data.txt`,
      ] as const,
      ...["--block", "16", "--limit", "2", "-q"],
    );
    await works(
      ...["generate", dir, "--prompt", "a", "--max-new-tokens", "2"] as const,
      "-q",
    );
    await works(
      "export",
      merged,
      "--to",
      "gguf",
      "-o",
      `${folder}/m.gguf`,
      "-q",
    );
    await works("inspect", dir);
    await works("plan", EXAMPLE);
    await works("plan", "llama-7b");
    const help = await works("bench", "--help");
    assert.ok(
      help.includes(
        `Permissions: deno run ${flagsOf(VERBS.bench.permissions)}\n`,
      ),
    );
  }));

Deno.test("a missing permission is told in one line, with the flags of the verb", async () => {
  for (
    const [flags, args, line] of [
      [
        [],
        ["inspect", EXAMPLE],
        `Requires read access to "${EXAMPLE}"; inspect needs deno run --allow-read\n`,
      ],
      [
        ["--allow-read"],
        [
          "init",
          EXAMPLE,
          "-o",
          "/tmp/loqa-not-there",
          "-q",
          "--device",
          "wasm",
        ],
        `init needs deno run ${flagsOf(VERBS.init.permissions)}\n`,
      ],
      [
        ["--allow-read", "--allow-env"],
        ["inspect", "hf:o/n"],
        `inspect needs deno run --allow-read ${HUB_PERMISSIONS.join(" ")}\n`,
      ],
    ] as const
  ) {
    const { code, stderr } = await run(flags, args);
    assert.equal(code, 1);
    assert.match(stderr, /^loqa: Cannot [^\n]*\n$/);
    assert.ok(stderr.endsWith(line), stderr);
  }
});

Deno.test("README and the tasks use these flags", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", ROOT));
  const rows = new Map<string, string>();
  for (
    const [, verbs, flags] of readme.matchAll(
      /^\| (`\w+`(?:, `\w+`)*) +\| `(--allow.*)` +\|$/gm,
    )
  ) {
    for (const [, verb] of verbs.matchAll(/`(\w+)`/g)) rows.set(verb, flags);
  }
  assert.deepEqual(
    Object.fromEntries(rows),
    Object.fromEntries(
      Object.entries(VERBS).map((
        [verb, { permissions }],
      ) => [verb, permissions.join(" ")]),
    ),
  );
  const all = ALL_PERMISSIONS.join(" ");
  assert.ok(readme.includes(`also \`${HUB_PERMISSIONS.join(" ")}\``));
  assert.ok(
    readme.includes(`deno install -g -n loqa ${all} src/cli/main.ts`),
  );
  const { tasks } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", ROOT)),
  );
  assert.equal(tasks.loqa.command, `deno run ${all} --quiet src/cli/main.ts`);
});

const GENERATE = [
  ...["generate", EXAMPLE, "--prompt", "a", "--device", "wasm", "-q"],
];

Deno.test("a reader that has enough ends generate without a word", async () => {
  const child = start(VERBS.generate.permissions, GENERATE);
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  const text = await new Response(child.stderr).text();
  assert.equal(text, "");
  assert.equal((await child.status).code, 141);
});

Deno.test({
  name: "a result that does not fit where stdout leads is no success",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const { success, code, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        `"$0" run --no-prompt --quiet --allow-read "$1" inspect "$2" > /dev/full`,
        ...[Deno.execPath(), MAIN, EXAMPLE],
      ],
      env: { NO_COLOR: "1" },
    }).output();
    assert.deepEqual([success, code], [false, 1]);
    assert.equal(
      new TextDecoder().decode(stderr),
      "loqa: Cannot write to stdout: the disk is full\n",
    );
  },
});
