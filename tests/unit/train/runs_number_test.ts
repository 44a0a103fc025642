import assert from "node:assert/strict";
import { nextRun } from "../../../src/train/output.ts";
import { inFolder } from "../../helpers/model.ts";

Deno.test("nextRun(): the number after the last run; a run that was cut off before it held anything is begun again", () =>
  inFolder(async (folder) => {
    assert.equal(await nextRun(folder), 1);
    await Deno.mkdir(`${folder}/runs/1`, { recursive: true });
    assert.equal(await nextRun(folder), 1);
    await Deno.writeTextFile(`${folder}/runs/1/loqa.json.part`, "{");
    assert.equal(await nextRun(folder), 1);
    await Deno.writeTextFile(`${folder}/runs/1/loqa.json`, "{}");
    assert.equal(await nextRun(folder), 2);
    await Deno.mkdir(`${folder}/runs/5`);
    await Deno.writeTextFile(`${folder}/runs/5/notes`, "mine");
    assert.equal(await nextRun(folder), 6);
    await Deno.writeTextFile(`${folder}/runs/7`, "a file");
    assert.equal(await nextRun(folder), 8);
  }));
