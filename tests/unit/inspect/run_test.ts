import assert from "node:assert/strict";
import { inspect } from "../../../src/inspect/run.ts";
import { loqa } from "../../helpers/cli.ts";
import { inFolder } from "../../helpers/model.ts";

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;

Deno.test("inspect(): a model, a folder of init, an adapter", () =>
  inFolder(async (folder) => {
    const { kind, model, adapter } = await inspect(EXAMPLE);
    assert.deepEqual([kind, adapter], ["model", undefined]);
    assert.equal(model!.modelType, "llama");
    assert.equal(
      model!.parameters,
      Object.values(model!.encodings).reduce((n, e) => n + e.parameters, 0),
    );
    const out = `${folder}/out`;
    const { code, stderr } = await loqa(
      ...["init", EXAMPLE, "-o", out, "--rank", "2", "--iters", "1"],
      ...["--device", "wasm", "--quiet"],
    );
    assert.equal(code, 0, stderr);
    const made = await inspect(out);
    assert.equal(made.kind, "loqa");
    assert.equal(made.init!.layers!.length, 28);
    assert.equal(made.trainings, undefined);
    assert.deepEqual(
      [made.adapter!.modules, made.adapter!.ranks, made.adapter!.scalings],
      [28, [2], [1]],
    );
    assert.equal(made.model!.encodings.nf4.tensors, 28);
    const alone = await inspect(`${out}/adapter`);
    assert.equal(alone.kind, "adapter");
    assert.deepEqual(alone.adapter, made.adapter);
    // The verb prints what the function says.
    const { stdout } = await loqa("inspect", out, "--json");
    assert.deepEqual(JSON.parse(stdout), made);
    const text = (await loqa("inspect", out)).stdout;
    assert.match(text, /^Relative error of the weights/);
    assert.match(text, /^LoRA adapter: 28 modules, rank 2, scaling 1, /m);
  }));
