import assert from "node:assert/strict";
import { circlesOf, floorsOf, roomOf } from "./rooms.ts";
import { stalePaths } from "./paths.ts";

const graph = (edges: Record<string, string[]>) =>
  new Map(Object.entries(edges).map(([room, to]) => [room, new Set(to)]));

Deno.test("rooms: a file's room is its folder, in io the folder of its format", () => {
  const rooms = {
    "mod.ts": "mod",
    "src/errors.ts": "root",
    "src/models/decoder/model.ts": "models",
    "src/io/open.ts": "io",
    "src/io/gguf/file.ts": "io/gguf",
    "wasm/ops/gemm.ts": "wasm",
  };
  for (const [path, room] of Object.entries(rooms)) {
    assert.equal(roomOf(path), room);
  }
});

Deno.test("rooms: circles are told once, floors stand on what they import", () => {
  assert.deepEqual(
    circlesOf(graph({ a: ["b"], b: ["c"], c: ["b", "d"], d: [] })),
    [["b", "c"]],
  );
  const house = graph({ cli: ["io", "nn"], nn: ["io"], io: [], plan: [] });
  assert.deepEqual(circlesOf(house), []);
  assert.deepEqual(floorsOf(house), [["io", "plan"], ["nn"], ["cli"]]);
});

Deno.test("paths: what comments name is there, from the file's folder, the root, or as a pattern", () => {
  const files = new Set(["src/io/open.ts", "src/io/gguf/file.ts", "mod.ts"]);
  const faults = (path: string, text: string) =>
    stalePaths(path, text, files).map((fault) => fault.split('"')[1]);
  const comment = "/** `file.ts`, `../open.ts`, `mod.ts`, `src/io/*.ts`. */\n";
  assert.deepEqual(faults("src/io/gguf/types.ts", comment), []);
  assert.deepEqual(faults("src/io/gguf/types.ts", "// see `gone.ts`\n"), [
    "gone.ts",
  ]);
  assert.deepEqual(faults("a.ts", 'const a = "gone.ts";\n'), []);
  assert.deepEqual(faults("README.md", "`src/io/NAME.ts`, `src/gone.md`"), [
    "src/gone.md",
  ]);
});
