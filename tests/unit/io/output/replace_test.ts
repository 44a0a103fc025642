import assert from "node:assert/strict";
import {
  recoverFolder,
  replaceFolder,
  standingFolder,
} from "../../../../src/io/output/replace.ts";
import { inFolder, readTree } from "../../../helpers/model.ts";

async function put(path: string, text: string): Promise<void> {
  await Deno.mkdir(path);
  await Deno.writeTextFile(`${path}/f`, text);
}

const files = async (folder: string) =>
  [...await readTree(folder)].map(([path, bytes]) =>
    `${path}: ${new TextDecoder().decode(bytes)}`
  );

Deno.test("a folder is replaced by a whole one", () =>
  inFolder(async (folder) => {
    const place = `${folder}/adapter`;
    await put(`${place}.partial`, "first");
    await replaceFolder(`${place}.partial`, place);
    await put(`${place}.partial`, "second");
    await replaceFolder(`${place}.partial`, place);
    assert.deepEqual(await files(folder), ["adapter/f: second"]);
  }));

Deno.test("between two renames the old one is found where it is; who reads changes nothing, who writes puts it back", () =>
  inFolder(async (folder) => {
    const place = `${folder}/adapter`;
    assert.equal(await standingFolder(place), undefined);
    await put(`${place}.replaced`, "old");
    assert.equal(await standingFolder(place), `${place}.replaced`);
    assert.deepEqual(await files(folder), ["adapter.replaced/f: old"]);
    await recoverFolder(place);
    assert.equal(await standingFolder(place), place);
    assert.deepEqual(await files(folder), ["adapter/f: old"]);
    // What another crash left beside a whole one is of no use.
    await put(`${place}.replaced`, "older");
    await recoverFolder(place);
    assert.equal(await standingFolder(place), place);
    await put(`${place}.partial`, "new");
    await replaceFolder(`${place}.partial`, place);
    assert.deepEqual(await files(folder), ["adapter/f: new"]);
  }));
