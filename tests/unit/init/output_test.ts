import assert from "node:assert/strict";
import { prepareOutput } from "../../../src/init/output.ts";
import { inFolder } from "../../helpers/model.ts";

Deno.test("a result that a crash left beside its place is put back", () =>
  inFolder(async (folder) => {
    const out = `${folder}/out`;
    await Deno.mkdir(`${out}.replaced`);
    await Deno.writeTextFile(`${out}.replaced/loqa.json`, "{}");
    await prepareOutput(out, false);
    assert.equal(await Deno.readTextFile(`${out}/loqa.json`), "{}");
    await assert.rejects(Deno.stat(`${out}.replaced`), Deno.errors.NotFound);
  }));
