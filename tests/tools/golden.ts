/**
 * `tests/golden/index.json`: each golden file with its hash, under the script that makes it and the versions that the script
 * names. `deno task golden:check` compares, with `--write` it writes the index anew.
 *
 * @module
 */

import { listFiles, report, ROOT } from "./source.ts";

const FOLDER = "tests/golden";
const INDEX = new URL(`${FOLDER}/index.json`, ROOT);

/** A script with its goldens, paths from `tests/golden`. */
export interface GoldenScript {
  /** Packages with the versions that it ran with, as its docstring names them. */
  readonly versions: readonly string[];
  /** SHA-256 by file. */
  readonly files: Readonly<Record<string, string>>;
}

/** Scripts by path from `tests/golden`. */
export type GoldenIndex = Readonly<Record<string, GoldenScript>>;

/** The script that makes `file`: `make_parquet.py` for tables, else the `make.py` that lies nearest above. */
export function scriptOf(
  file: string,
  scripts: ReadonlySet<string>,
): string | undefined {
  const name = file.endsWith(".parquet") ? "make_parquet.py" : "make.py";
  for (
    let at = file.lastIndexOf("/");
    at > 0;
    at = file.lastIndexOf("/", at - 1)
  ) {
    const script = `${file.slice(0, at)}/${name}`;
    if (scripts.has(script)) return script;
  }
  return undefined;
}

/** Versions in a script's docstring: `torch 2.13`, `hqq 0.2.8.post1`. */
export function versionsOf(source: string): string[] {
  const docstring = /^"""([^]*?)"""/.exec(source)?.[1] ?? "";
  const pattern = /\b([A-Za-z][\w-]*) (\d+\.\d+(?:\.\w+)*(?:\+\w+)?)/g;
  return Array.from(
    docstring.matchAll(pattern),
    ([, name, version]) => `${name} ${version}`,
  );
}

async function sha256(path: string): Promise<string> {
  const bytes = await Deno.readFile(new URL(`${FOLDER}/${path}`, ROOT));
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return new Uint8Array(digest).toHex();
}

/** The index as the folder is, and what it lacks. */
export async function goldenIndex(): Promise<
  { index: GoldenIndex; faults: string[] }
> {
  const paths = (await listFiles(FOLDER, [""]))
    .map((path) => path.slice(FOLDER.length + 1))
    .filter((path) => path !== "index.json" && !path.includes("__pycache__"));
  const scripts = new Set(paths.filter((path) => path.endsWith(".py")));
  const index: Record<
    string,
    { versions: string[]; files: Record<string, string> }
  > = {};
  const faults: string[] = [];
  for (const path of paths) {
    if (/\.(py|ts|md)$/.test(path)) continue;
    const script = scriptOf(path, scripts);
    if (script === undefined) {
      faults.push(`${FOLDER}/${path}: no script that makes it lies beside it`);
      continue;
    }
    if (!(script in index)) {
      const url = new URL(`${FOLDER}/${script}`, ROOT);
      const versions = versionsOf(await Deno.readTextFile(url));
      if (versions.length === 0) {
        faults.push(`${FOLDER}/${script}: its docstring names no versions`);
      }
      index[script] = { versions, files: {} };
    }
    index[script].files[path] = await sha256(path);
  }
  return { index, faults };
}

/** Differences of the folder from the index that was written. */
export async function goldenFaults(): Promise<string[]> {
  const { index, faults } = await goldenIndex();
  const written: GoldenIndex = JSON.parse(await Deno.readTextFile(INDEX));
  const hashes = (scripts: GoldenIndex) =>
    new Map(
      Object.values(scripts).flatMap(({ files }) => Object.entries(files)),
    );
  const [now, then] = [hashes(index), hashes(written)];
  for (const [path, hash] of now) {
    if (!then.has(path)) faults.push(`${FOLDER}/${path}: not in index.json`);
    else if (then.get(path) !== hash) {
      faults.push(`${FOLDER}/${path}: other bytes than index.json says`);
    }
  }
  for (const path of then.keys()) {
    if (!now.has(path)) faults.push(`${FOLDER}/${path}: gone`);
  }
  for (const [script, { versions }] of Object.entries(index)) {
    if (versions.join() !== written[script]?.versions.join()) {
      faults.push(`${FOLDER}/${script}: other versions than index.json says`);
    }
  }
  return faults;
}

if (import.meta.main) {
  if (Deno.args.includes("--write")) {
    const { index, faults } = await goldenIndex();
    await Deno.writeTextFile(INDEX, `${JSON.stringify(index, null, 1)}\n`);
    report(faults, "ok: index.json written");
  } else report(await goldenFaults(), "ok: goldens are those of index.json");
}
