/**
 * The house in figures: rooms, floors, circles, the longest files and folders.
 *
 * ```sh
 * deno task house            # of this checkout
 * deno task house ../other   # of another one
 * ```
 *
 * @module
 */

import { circlesOf, floorsOf, roomOf } from "./rooms.ts";
import { GENERATED, importsOf, listFiles, resolve, ROOT } from "./source.ts";

const LONG = 400;

/** Figures of a checkout. */
async function house(root: URL): Promise<string[]> {
  const graph = new Map<string, Set<string>>();
  const folders = new Map<string, number>();
  const long: string[] = [];
  const paths = ["mod.ts"];
  for (const top of ["src", "wasm", "gpu"]) {
    paths.push(...await listFiles(top, [".ts"], root));
  }
  for (const path of paths) {
    const folder = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    folders.set(folder, (folders.get(folder) ?? 0) + 1);
    if (GENERATED.has(path)) continue;
    const text = await Deno.readTextFile(new URL(path, root));
    const lines = text.split("\n").length - 1;
    if (lines > LONG) long.push(`${path} (${lines})`);
    if (path.startsWith("wasm/assembly/")) continue;
    const room = roomOf(path);
    if (room === "root") continue;
    const to = graph.get(room) ?? new Set();
    graph.set(room, to);
    for (const { specifier } of importsOf(text)) {
      if (!specifier.startsWith(".")) continue;
      const target = roomOf(resolve(specifier, path));
      if (target !== room && target !== "root") to.add(target);
    }
  }
  const circles = circlesOf(graph);
  const floors = circles.length > 0
    ? ["floors: none, there are circles"]
    : floorsOf(graph).map((rooms, i) => `floor ${i + 1}: ${rooms.join(", ")}`);
  const [longest, most] = [...folders].sort(([, a], [, b]) => b - a)[0];
  const arrows = [...graph.values()].reduce((sum, to) => sum + to.size, 0);
  return [
    `files: ${paths.length}`,
    `rooms: ${graph.size}, with ${arrows} arrows between them`,
    ...floors,
    `circles: ${circles.length}`,
    ...circles.map((circle) => `  ${circle.join(" -> ")}`),
    `files over ${LONG} lines: ${long.length}`,
    ...long.map((line) => `  ${line}`),
    `longest flat folder: ${longest} (${most} files)`,
  ];
}

if (import.meta.main) {
  const [given] = Deno.args;
  const root = given === undefined
    ? ROOT
    : new URL(`file://${await Deno.realPath(given)}/`);
  console.log((await house(root)).join("\n"));
}
