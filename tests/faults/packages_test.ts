/** Packages are those that the lock names, with the bytes that it names; nothing rewrites it in silence. */

import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);

/** Packages with versions that the sources in `folder` import. */
async function imported(folder: URL): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) found.push(...await imported(new URL(`${name}/`, folder)));
    else if (name.endsWith(".ts")) {
      const text = await Deno.readTextFile(new URL(name, folder));
      const pattern = /(?:from|import\()\s*"npm:((?:@[^/"]+\/)?[^/"]+)/g;
      for (const [, spec] of text.matchAll(pattern)) found.push(`npm:${spec}`);
    }
  }
  return found;
}

Deno.test("every package that is imported is in the lock, with its digest, and the lock is frozen", async () => {
  const read = async (name: string) =>
    JSON.parse(await Deno.readTextFile(new URL(name, ROOT)));
  assert.equal((await read("deno.json")).lock.frozen, true);
  const { specifiers, npm } = await read("deno.lock");
  const specs = [];
  for (const folder of ["src/", "gpu/", "wasm/", "examples/"]) {
    specs.push(...await imported(new URL(folder, ROOT)));
  }
  assert.ok(specs.length >= 6, specs.join());
  for (const spec of specs) {
    const name = spec.slice("npm:".length);
    assert.equal(specifiers[spec], name.slice(name.lastIndexOf("@") + 1));
    assert.match(npm[name].integrity, /^sha512-/);
  }
});
