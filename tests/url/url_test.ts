import assert from "node:assert/strict";
import { type Ran, runUrl, serve } from "./serve.ts";

const ROOT = new URL("../../", import.meta.url);

/** The page's TypeScript block that imports the package, that import made to point at mod.ts beside it. */
function pageExample(page: string): string {
  const imports = /(from\s*)"@loqa\/loqa"/g;
  const block = page.matchAll(/^```ts\n([^]*?)^```/gm)
    .map(([, block]) => block).find((block) => block.match(imports));
  assert.ok(block, "the page has no ```ts block that imports @loqa/loqa");
  return block.replace(imports, '$1"./mod.ts"');
}

const without = {
  "nothing taken away": "",
  "no WebGPU": `
    delete Object.getPrototypeOf(navigator).gpu;
    if ("gpu" in navigator) throw new Error("navigator.gpu is still there");`,
  "no Worker": "delete globalThis.Worker;",
  "no WebGPU and no Worker": `
    delete Object.getPrototypeOf(navigator).gpu;
    delete globalThis.Worker;`,
  "no SharedArrayBuffer": "delete globalThis.SharedArrayBuffer;",
};

const examples = new Map<string, string>([
  [
    "docs/library.md",
    pageExample(
      await Deno.readTextFile(new URL("docs/library.md", ROOT)),
    ),
  ],
]);
for await (const { name } of Deno.readDir(new URL("examples/", ROOT))) {
  if (/^\d+_from_url\.ts$/.test(name)) {
    const text = await Deno.readTextFile(new URL(`examples/${name}`, ROOT));
    examples.set(
      `examples/${name}`,
      text.replaceAll('"../mod.ts"', '"./mod.ts"'),
    );
  }
}

function assertRan(ran: Ran): void {
  assert.equal(ran.code, 0, ran.stderr);
  assert.notEqual(ran.stdout.trim(), "", "the example prints nothing");
  assert.doesNotMatch(ran.stderr, /error|Requires/i);
}

for (const [file, example] of examples) {
  for (const [what, taken] of Object.entries(without)) {
    Deno.test(`${file} from a URL without permissions: ${what}`, async () => {
      await using server = serve({
        "/example.ts": example,
        // A file of its own, so that it runs before mod.ts is loaded.
        "/taken.js": taken,
        "/main.ts": `import "./taken.js"; import "./example.ts";`,
      });
      assertRan(await runUrl(`${server.url}main.ts`));
      assert.ok(server.asked.includes("/mod.ts"), "mod.ts was not asked for");
    });
  }
}

Deno.test("importing mod.ts from a URL does nothing but export", async () => {
  const watch = `
    const seen = [];
    const watched = (name) => { seen.push(name); throw new Error(name); };
    globalThis.Worker = class { constructor() { watched("Worker"); } };
    Object.defineProperty(navigator, "gpu", { get: () => watched("gpu") });
    globalThis.fetch = () => watched("fetch");
    globalThis.setTimeout = () => watched("setTimeout");
    globalThis.seen = seen;`;
  await using server = serve({
    "/watch.js": watch,
    "/main.ts": `import "./watch.js"; import * as loqa from "./mod.ts";
      console.log(JSON.stringify({ seen: globalThis.seen, names: Object.keys(loqa) }));`,
  });
  const ran = await runUrl(`${server.url}main.ts`);
  assert.equal(ran.code, 0, ran.stderr);
  const { seen, names } = JSON.parse(ran.stdout);
  assert.deepEqual(seen, []);
  assert.ok(names.includes("openDevice") && names.includes("loftq"), names);
  const edges = server.asked.filter((path) =>
    /^\/src\/(cli|init)\/|^\/src\/io\/deno\.ts/.test(path)
  );
  assert.deepEqual(edges, [], "mod.ts loads the edges");
});
