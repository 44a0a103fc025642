/**
 * Paths that comments and Markdown name, held against the files that are there.
 *
 * @module
 */

import { withoutComments } from "./source.ts";

/** A path to a TypeScript file, or to any file below a folder of the project; braces and stars stand for several. */
const PATH =
  /(?<![\w/:.\-"'@])((?:\.{1,2}\/)*(?:[\w\-{},*]+\/)*[\w\-{},.*]+\.ts|(?:src|wasm|gpu|tests|examples|docs)\/[\w\-{},.*/]*\w\.[a-z]+)(?![\w"'/])/g;
/** `NAME.ts`, `src/FAMILY/x.ts`: placeholders for names. */
const PLACEHOLDER = /(^|\/)[A-Z_]+(\/|\.|$)/;

/** The comments of a source, its code blanked out, lines kept. */
function commentsOf(text: string): string {
  const code = withoutComments(text);
  const kept = text.split("");
  for (let i = 0; i < kept.length; i++) {
    if (kept[i] === code[i] && kept[i] !== "\n") kept[i] = " ";
  }
  return kept.join("");
}

/** True if one of `files` matches `name`, a path or a pattern of paths. */
function isThere(name: string, files: ReadonlySet<string>): boolean {
  if (!/[{*]/.test(name)) return files.has(name);
  const pattern = name.replace(/[.+?^$()|[\]\\]/g, "\\$&")
    .replace(/\*/g, "[^/]*")
    .replace(/\{([^}]*)\}/g, (_, list) => `(?:${list.replaceAll(",", "|")})`);
  const whole = new RegExp(`^${pattern}$`);
  return files.values().some((file) => whole.test(file));
}

/**
 * Paths named in a file of the project that are none: neither from its folder nor from the root.
 *
 * @param path The file, from the root.
 * @param files All files of the project, from the root.
 */
export function stalePaths(
  path: string,
  text: string,
  files: ReadonlySet<string>,
): string[] {
  const told = path.endsWith(".md") ? text : commentsOf(text);
  const faults: string[] = [];
  for (const match of told.matchAll(PATH)) {
    const name = match[1];
    if (PLACEHOLDER.test(name)) continue;
    const beside = new URL(name, new URL(path, "file:///"));
    const here = decodeURIComponent(beside.pathname).slice(1);
    if (isThere(name, files) || isThere(here, files)) continue;
    const line = told.slice(0, match.index).split("\n").length;
    faults.push(`${path}:${line}: names "${name}", which is no file`);
  }
  return faults;
}
