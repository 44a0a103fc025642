import assert from "node:assert/strict";
import { SourcePool } from "../../../../src/io/files/pool.ts";
import { folderFiles } from "../../../../src/io/open.ts";
import { openFileSet } from "../../../../src/io/recognise.ts";
import type { FileSet } from "../../../../src/io/files/files.ts";
import { IoError } from "../../../../src/io/files/errors.ts";
import { files, inFolder, rawSafetensors, rejects } from "../helpers.ts";

const NAMES = Array.from({ length: 9 }, (_, i) => `p${i}`);

/** A set that counts what is open. */
function counted(set: FileSet): { set: FileSet; now: () => number } {
  let open = 0;
  return {
    now: () => open,
    set: {
      ...set,
      async open(name) {
        const source = await set.open(name);
        open++;
        return {
          name: source.name,
          size: source.size,
          read: (at, length) => {
            assert.ok(length > 0);
            return source.read(at, length);
          },
          [Symbol.asyncDispose]: () => {
            open--;
            return Promise.resolve();
          },
        };
      },
    },
  };
}

Deno.test("SourcePool keeps few files open and reads them all", async () => {
  const { set, now } = counted(
    files(Object.fromEntries(NAMES.map((name) => [name, `<${name}>`]))),
  );
  const pool = new SourcePool(set, 3);
  const sources = [];
  for (const name of NAMES) {
    sources.push(await pool.open(name));
    assert.ok(now() <= 3);
  }
  for (const i of [8, 0, 4, 0, 7, 1, 8]) {
    const text = new TextDecoder().decode(await sources[i].read(0, 4));
    assert.equal(text, `<p${i}>`);
    assert.ok(now() <= 3);
  }
  const all = await Promise.all(sources.map((source) => source.read(1, 2)));
  assert.deepEqual(all.map((b) => new TextDecoder().decode(b)), NAMES);
  await new Promise((done) => setTimeout(done));
  assert.ok(now() <= 3, `${now()} open`);
  await pool[Symbol.asyncDispose]();
  assert.equal(now(), 0);
});

Deno.test("SourcePool refuses a file that changed while it was closed", async () => {
  await inFolder(async (path) => {
    for (const name of NAMES) await Deno.writeTextFile(`${path}/${name}`, name);
    await using pool = new SourcePool(await folderFiles(path), 1);
    const first = await pool.open("p0");
    await pool.open("p1");
    await Deno.writeTextFile(`${path}/p0`, "longer");
    await rejects(() => first.read(0, 2), IoError, "p0", "it held 2");
  });
});

Deno.test("a model in three hundred parts opens with thirty-two handles", async () => {
  await inFolder(async (path) => {
    const map: Record<string, string> = {};
    for (let i = 0; i < 300; i++) {
      const file = `model-${i}.safetensors`;
      map[`w${i}`] = file;
      await Deno.writeFile(
        `${path}/${file}`,
        rawSafetensors({
          [`w${i}`]: { dtype: "U8", shape: [1], data_offsets: [0, 1] },
        }, Uint8Array.of(i & 255)),
      );
    }
    await Deno.writeTextFile(
      `${path}/model.safetensors.index.json`,
      JSON.stringify({ weight_map: map }),
    );
    const { set, now } = counted(await folderFiles(path));
    await using model = await openFileSet(set);
    assert.equal(model.tensors.size, 300);
    assert.ok(now() <= 32, `${now()} open`);
  });
});
