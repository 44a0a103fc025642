/** The commands that README.md and docs/ show: options are those of the verbs, console blocks run and print what stands there. */

import assert from "node:assert/strict";
import { optionsPage } from "./tools/options_page.ts";
import { listFiles, ROOT } from "./tools/source.ts";

const MAIN = new URL("src/cli/main.ts", ROOT).pathname;
const PAGES = ["README.md", ...await listFiles("docs", [".md"])];

/** Runs `loqa ARGS` in a folder. */
async function run(args: readonly string[], cwd = ROOT.pathname) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", MAIN, ...args],
    cwd,
    env: { NO_COLOR: "1", COLUMNS: "200" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Options of a verb as its help lists them: whether each takes a value. */
const options = new Map<string, Promise<Map<string, boolean>>>();

function optionsOf(verb: string): Promise<Map<string, boolean>> {
  const found = options.get(verb) ?? run([verb, "--help"]).then(
    ({ code, stdout, stderr }) => {
      assert.equal(code, 0, stderr);
      const list = stdout.slice(stdout.indexOf("\nOptions:"));
      const entries = new Map<string, boolean>();
      const pattern = /^ +(?:(-\w), +)?(--[\w-]+)( \S+)?/gm;
      for (const [, short, long, value] of list.matchAll(pattern)) {
        for (const name of [short, long]) {
          if (name !== undefined) entries.set(name, value !== undefined);
        }
      }
      return entries;
    },
  );
  options.set(verb, found);
  return found;
}

/** Words of a command line, quotes taken off, comment left out. */
function wordsOf(line: string): string[] {
  const words = line.matchAll(/"([^"]*)"|#.*$|([^\s"]+)/g);
  return Array.from(
    words,
    ([all, quoted, bare]) => all.startsWith("#") ? "" : quoted ?? bare,
  ).filter((word) => word !== "");
}

/** Commands of a page: lines of code that begin with `loqa`, and such code in the text. */
function commandsOf(page: string): string[] {
  return [
    ...page.matchAll(/^(?:\$ | {4})?(loqa [a-z]+(?: .*)?)$/gm),
    ...page.matchAll(/`(loqa [a-z]+(?: [^`]*)?)`/g),
  ].map(([, command]) => command);
}

Deno.test("docs/options.md is what the verbs' help says (deno task docs:options)", async () => {
  const page = await Deno.readTextFile(new URL("docs/options.md", ROOT));
  assert.equal(page, await optionsPage());
});

for (const path of PAGES) {
  const page = await Deno.readTextFile(new URL(path, ROOT));

  Deno.test(`${path}: options of its commands are those of the verbs`, async () => {
    for (const command of commandsOf(page)) {
      const [, verb, ...words] = wordsOf(command);
      const known = await optionsOf(verb);
      for (const [i, word] of words.entries()) {
        if (!/^--?[a-z]/.test(word)) continue;
        const takes = known.get(word);
        assert.notEqual(takes, undefined, `${command}: no ${word}`);
        if (takes) {
          assert.doesNotMatch(words[i + 1] ?? "--", /^--?[a-z]/, command);
        }
      }
    }
    // And those that the text names.
    const all = new Set<string>();
    const verbs = (await run(["--help"])).stdout.matchAll(
      /^ {2}(\w+) {2,}\w/gm,
    );
    for (const [, verb] of verbs) {
      for (const name of (await optionsOf(verb)).keys()) all.add(name);
    }
    for (const [, name] of page.matchAll(/`(--[a-z][\w-]*)[^`]*`/g)) {
      // Those of `deno run` are told beside the verbs'.
      assert.ok(
        name.startsWith("--allow-") || all.has(name),
        `${path} names ${name}, an option of no verb`,
      );
    }
  });

  const blocks = page.matchAll(/^```console\n([^]*?)^```/gm).toArray();
  if (blocks.length === 0) continue;

  Deno.test(`${path}: what stands in console blocks is what the commands print`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "loqa-docs-" });
    try {
      await Deno.symlink(
        new URL("examples", ROOT).pathname,
        `${folder}/examples`,
      );
      for (
        const [, name, text] of page.matchAll(
          /^```\w+ (\S+)\n([^]*?)^```/gm,
        )
      ) await Deno.writeTextFile(`${folder}/${name}`, text);
      for (const [, block] of blocks) {
        for (const part of block.split(/^\$ loqa /m).slice(1)) {
          const [command, ...wanted] = part.trimEnd().split("\n");
          const words = wordsOf(command);
          const on = (await optionsOf(words[0])).has("--device") &&
              !words.includes("--help")
            ? ["--device", "wasm", "--quiet"]
            : [];
          const ran = await run([...words, ...on], folder);
          assert.equal(ran.code, 0, `${command}: ${ran.stderr}`);
          assertShown(wanted, ran.stdout.trimEnd().split("\n"), command);
        }
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

/** Lines as they are shown: `…` alone stands for any lines, at the end of one for its rest. */
function assertShown(
  wanted: readonly string[],
  printed: readonly string[],
  command: string,
): void {
  let at = 0;
  let any = false;
  for (const line of wanted) {
    if (line === "…") {
      any = true;
      continue;
    }
    const rest = printed.slice(at, any ? undefined : at + 1);
    const found = rest.findIndex((got) => isShown(line, got));
    assert.notEqual(
      found,
      -1,
      `$ loqa ${command}\nprints no line like\n${line}\nbut\n${
        rest.join("\n")
      }`,
    );
    at += found + 1;
    any = false;
  }
  assert.ok(
    any || at === printed.length,
    `${command} prints more:\n${printed.slice(at).join("\n")}`,
  );
}

const NUMBER = /\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?/;
/** Units of figures that are other ones on each machine and in each run. */
const MEASURED = /^ (s|MB|tokens\/s)\b/;

/** True if a line equals the printed one: the same text, numbers but for a few percent (platforms round otherwise). */
function isShown(line: string, got: string): boolean {
  const open = line.endsWith("…");
  const texts = (open ? line.slice(0, -1) : line).split(NUMBER);
  const gotTexts = got.split(NUMBER);
  const [numbers, gotNumbers] = [line, got].map((text) =>
    text.match(new RegExp(NUMBER, "g")) ?? []
  );
  const squeezed = (text = "") => text.replaceAll(/ +/g, " ");
  return (open || texts.length === gotTexts.length) &&
    texts.every((text, i) =>
      open && i === texts.length - 1
        ? squeezed(gotTexts[i]).startsWith(squeezed(text).trimEnd())
        : squeezed(gotTexts[i]) === squeezed(text)
    ) &&
    numbers.every((number, i) => {
      if (MEASURED.test(gotTexts[i + 1])) return true;
      const [a, b] = [number, gotNumbers[i]].map((text) =>
        Number(text.replaceAll(",", ""))
      );
      return Math.abs(a - b) <= 0.05 * Math.abs(a);
    });
}
