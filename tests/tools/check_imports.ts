/**
 * Enforces the shape of the house: import directions, specifiers, places of `Deno.*`, sizes of files, paths in comments.
 *
 * @module
 */

import {
  GENERATED,
  importsOf,
  listFiles,
  report,
  resolve,
  ROOT,
  withoutComments,
} from "./source.ts";
import { stalePaths } from "./paths.ts";
import { circlesOf, roomOf, ROOMS } from "./rooms.ts";

/** Rooms at the edge, with those inside them, which may reach third-party code and (`cli`, files of `io`) the system. */
const EDGES: ReadonlySet<string> = new Set(["io", "data", "cli", "eval"]);
const TOUCHES_DENO =
  /^(src\/io\/files\/deno\.ts|src\/io\/output\/deno_lock\.ts|src\/cli\/.*|wasm\/build\.ts)$/;
const PINNED = /^npm:(@[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+(-[\w.]+)?(\/.*)?$/;
const MOST_LINES = 600;

const faults: string[] = [];
const sources = new Map<string, string>();
const written = [
  "mod.ts",
  ...await listFiles("src"),
  ...await listFiles("wasm"),
  ...await listFiles("gpu"),
];
for (const path of written) {
  sources.set(path, await Deno.readTextFile(new URL(path, ROOT)));
}

/** From each file to those that it imports. */
const files = new Map<string, Set<string>>();

function checkImports(path: string, text: string): void {
  const room = roomOf(path);
  const buildTool = path === "wasm/build.ts";
  if (!(room in ROOMS)) {
    faults.push(`${path}: room "${room}" is not in the list of rooms`);
    return;
  }
  const imported = new Set<string>();
  files.set(path, imported);
  for (const { specifier, dynamic, line } of importsOf(text)) {
    const at = `${path}:${line}: "${specifier}"`;
    if (specifier.startsWith("npm:")) {
      if (!EDGES.has(room.split("/")[0]) && !buildTool) {
        faults.push(`${at}: only ${[...EDGES].join(", ")} reach npm:`);
      }
      if (!PINNED.test(specifier)) faults.push(`${at}: wants an exact version`);
    } else if (specifier.startsWith("node:")) {
      if (!EDGES.has(room.split("/")[0])) {
        faults.push(`${at}: only ${[...EDGES].join(", ")} reach node:`);
      }
    } else if (!/^\.{1,2}\//.test(specifier)) {
      if (!buildTool || !dynamic) faults.push(`${at}: wants a relative path`);
    } else {
      const target = resolve(specifier, path);
      imported.add(target);
      if (!/\.(ts|wgsl|json)$/.test(target)) {
        faults.push(`${at}: wants an extension`);
      }
      const to = roomOf(target);
      const open = to === room || to === "root" || ROOMS[room].includes(to);
      if (!open) {
        faults.push(`${at}: ${room} may not import from ${to}`);
      }
    }
  }
}

for (const [path, text] of sources) {
  if (path.startsWith("wasm/assembly/") || GENERATED.has(path)) continue;
  checkImports(path, text);
  if (path !== "src/errors.ts") {
    const lines = withoutComments(text).split("\n");
    for (const [i, line] of lines.entries()) {
      if (/\bnew (Range|Type|Syntax)Error\(/.test(line)) {
        faults.push(
          `${path}:${i + 1}: errors that are meant are those of src/errors.ts`,
        );
      }
    }
  }
  if (!TOUCHES_DENO.test(path)) {
    const lines = withoutComments(text).split("\n");
    for (const [i, line] of lines.entries()) {
      if (/\bDeno\s*\./.test(line)) {
        faults.push(
          `${path}:${
            i + 1
          }: Deno.* is for src/io/files/deno.ts, deno_lock.ts, src/cli`,
        );
      }
    }
  }
}

const allowed = new Map(
  Object.entries(ROOMS).map(([room, list]) => [
    room,
    new Set(list.filter((to) => to !== room)),
  ]),
);
for (const circle of circlesOf(allowed)) {
  faults.push(`the rooms ${circle.join(", ")} reach each other in a circle`);
}

for (const circle of circlesOf(files)) {
  faults.push(`the files ${circle.join(", ")} import each other in a circle`);
}

/** Modules that an entry point loads when it is imported: no third-party code, no system, no verb. */
function reachedFrom(entry: string): ReadonlySet<string> {
  const reached = new Set<string>();
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    const text = sources.get(path);
    if (text === undefined) {
      faults.push(`${path}: reached from ${entry}, but not there`);
      continue;
    }
    if (TOUCHES_DENO.test(path) || roomOf(path) === "eval") {
      faults.push(`${path}: reached statically from ${entry}`);
    }
    for (const { specifier, dynamic, line } of importsOf(text)) {
      if (dynamic) continue;
      if (specifier.startsWith(".")) queue.push(resolve(specifier, path));
      else faults.push(`${path}:${line}: ${entry} reaches "${specifier}"`);
    }
  }
  return reached;
}

const reached = reachedFrom("mod.ts");
reachedFrom("src/lm/lm.ts");

const sized = [
  ...written,
  ...await listFiles("tests", [".ts", ".py"]),
  ...await listFiles("examples", [".ts", ".py"]),
];
for (const path of sized) {
  if (GENERATED.has(path)) continue;
  const text = sources.get(path) ??
    await Deno.readTextFile(new URL(path, ROOT));
  const lines = text.split("\n").length - 1;
  if (lines > MOST_LINES) {
    faults.push(`${path}: ${lines} lines, at most ${MOST_LINES} wanted`);
  }
}

const all = new Set([
  ...sized,
  ...await listFiles("tests", [""]),
  ...await listFiles("examples", [""]),
  ...await listFiles("docs", [".md"]),
  "deno.json",
]);
const told = [
  "README.md",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  ...await listFiles("docs", [".md"]),
];
for (const path of [...sized, ...told]) {
  if (GENERATED.has(path) || path.endsWith(".py")) continue;
  const text = sources.get(path) ??
    await Deno.readTextFile(new URL(path, ROOT));
  faults.push(...stalePaths(path, text, all));
}

report(
  faults,
  `ok: ${sources.size} source files, ${reached.size} reached from mod.ts, ${sized.length} measured`,
);
