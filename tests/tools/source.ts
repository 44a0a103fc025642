/**
 * Common parts of the checks of the sources: listing files and reading their imports.
 *
 * @module
 */

/** Repository root, a file URL that ends with a slash. */
export const ROOT: URL = new URL("../../", import.meta.url);

/** Files that a build step writes; exempt from the rules for written code. */
export const GENERATED: ReadonlySet<string> = new Set([
  "wasm/generated/kernels.ts",
  "wasm/generated/plain_kernels.ts",
  "wasm/generated/worker_source.ts",
  "gpu/shaders.ts",
]);

/** Paths, relative to `root`, of files below `folder` that end with one of `endings`. */
export async function listFiles(
  folder: string,
  endings: readonly string[] = [".ts"],
  root: URL = ROOT,
): Promise<string[]> {
  const found: string[] = [];
  const url = new URL(`${folder}/`, root);
  try {
    for await (const entry of Deno.readDir(url)) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory) {
        found.push(...await listFiles(path, endings, root));
      } else if (endings.some((e) => entry.name.endsWith(e))) found.push(path);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found.sort();
}

/** One import or re-export of a file. */
export interface Import {
  readonly specifier: string;
  /** `import("…")`, which loads nothing until it runs. */
  readonly dynamic: boolean;
  readonly line: number;
}

/** `text` with comments blanked out, lines kept; strings and templates stay. */
export function withoutComments(text: string): string {
  const token =
    /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[^]|[^`\\])*`|\/\/[^\n]*|\/\*[^]*?\*\//g;
  return text.replace(
    token,
    (match) => match.startsWith("/") ? match.replace(/[^\n]/g, " ") : match,
  );
}

/** Imports of a TypeScript source, types included. */
export function importsOf(text: string): Import[] {
  const code = withoutComments(text);
  const found: Import[] = [];
  const patterns: [RegExp, boolean][] = [
    [/^[ \t]*(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"']+)["']/gm, false],
    [/^[ \t]*import\s*["']([^"']+)["']/gm, false],
    [/\bimport\(\s*["'`]([^"'`]+)["'`]/g, true],
  ];
  for (const [pattern, dynamic] of patterns) {
    for (const match of code.matchAll(pattern)) {
      const line = code.slice(0, match.index).split("\n").length;
      found.push({ specifier: match[1], dynamic, line });
    }
  }
  return found;
}

/** Resolves a relative `specifier` seen in `file`, both relative to the root. */
export function resolve(specifier: string, file: string): string {
  const at = new URL(specifier, new URL(file, "file:///"));
  return at.pathname.slice(1);
}

/** Prints the faults and exits with 1, or prints `done`. */
export function report(faults: readonly string[], done: string): void {
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) {
    console.error(`${faults.length} faults`);
    Deno.exit(1);
  }
  console.log(done);
}
