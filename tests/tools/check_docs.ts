/**
 * Runs `deno doc --lint` on the package's exports, and checks that every source file has a module doc and every
 * declaration that it exports a doc comment, and that these begin with their noun.
 *
 * @module
 */

import { badOpenings } from "./openings.ts";
import { GENERATED, listFiles, report, ROOT } from "./source.ts";

const faults: string[] = [];
const files = [
  "mod.ts",
  ...await listFiles("src"),
  ...await listFiles("gpu"),
  ...(await listFiles("wasm")).filter((path) =>
    !path.startsWith("wasm/assembly/")
  ),
].filter((path) => !GENERATED.has(path));

const DECLARATION =
  /^export (?:declare )?(?:async )?(?:abstract )?(?:function\*?|const|class|interface|type|enum) +([\w$]+)/;

for (const path of files) {
  const text = await Deno.readTextFile(new URL(path, ROOT));
  const doc = /^(#!.*\n)?\s*\/\*\*[^]*?\*\//.exec(text)?.[0];
  if (!doc?.includes("@module")) {
    faults.push(`${path}: wants a module doc (/** … @module */) at its top`);
  }
  const lines = text.split("\n");
  const seen = new Set<string>();
  for (const [i, line] of lines.entries()) {
    const name = DECLARATION.exec(line)?.[1];
    if (name === undefined) continue;
    const documented = lines[i - 1]?.trimEnd().endsWith("*/");
    if (!documented && !seen.has(name)) {
      faults.push(`${path}:${i + 1}: ${name} wants a doc comment`);
    }
    seen.add(name);
  }
}

const folders = ["src", "gpu", "wasm", "tests", "examples"];
for (
  const path of [
    "mod.ts",
    ...(await Promise.all(folders.map((folder) => listFiles(folder)))).flat(),
  ]
) {
  if (GENERATED.has(path)) continue;
  const text = await Deno.readTextFile(new URL(path, ROOT));
  for (const { line, word } of badOpenings(text)) {
    faults.push(
      `${path}:${line}: the comment begins with "${word}"; wanted its noun first ("Rows of …", "True if …")`,
    );
  }
}

const { exports } = JSON.parse(
  await Deno.readTextFile(new URL("deno.json", ROOT)),
);

/** Doors without an example of their own, and why. */
const NO_EXAMPLE: Readonly<Record<string, string>> = {
  write: "wants a BART, which tests/golden/bart makes from a seed",
};

/** A symbol of `deno doc --json`, as far as it is looked at. */
interface DocSymbol {
  readonly name: string;
  readonly declarations: readonly {
    readonly kind: string;
    readonly jsDoc?: unknown;
    readonly def?: { readonly elements?: readonly DocSymbol[] };
  }[];
}

/** Functions that a program reaches by the package's entry points, whose doc comments hold no code. */
function withoutExample(symbols: readonly DocSymbol[]): string[] {
  return symbols.flatMap(({ name, declarations }) =>
    declarations.flatMap(({ kind, jsDoc, def }) =>
      kind === "namespace"
        ? withoutExample(def?.elements ?? [])
        : kind === "function" && !(name in NO_EXAMPLE) &&
            !JSON.stringify(jsDoc ?? "").includes("```ts")
        ? [name]
        : []
    )
  );
}

const doc = await new Deno.Command(Deno.execPath(), {
  args: ["doc", "--json", "--quiet", ...Object.values<string>(exports)],
  cwd: ROOT,
}).output();
const { nodes }: { nodes: Record<string, { symbols: DocSymbol[] }> } = JSON
  .parse(new TextDecoder().decode(doc.stdout));
for (const [file, { symbols }] of Object.entries(nodes)) {
  for (const name of withoutExample(symbols)) {
    faults.push(
      `${
        file.slice(ROOT.href.length)
      }: ${name} wants an @example, which deno task test:docs runs`,
    );
  }
}

const lint = await new Deno.Command(Deno.execPath(), {
  args: ["doc", "--lint", "--quiet", ...Object.values<string>(exports)],
  cwd: ROOT,
  stdout: "null",
  stderr: "piped",
  env: { NO_COLOR: "1" },
}).output();
if (!lint.success) faults.push(new TextDecoder().decode(lint.stderr).trim());

report(faults, `ok: ${files.length} files documented`);
