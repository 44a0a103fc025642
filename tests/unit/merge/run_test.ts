import assert from "node:assert/strict";
import { OptionError } from "../../../src/errors.ts";
import { merge } from "../../../src/merge/run.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { loqa } from "../../helpers/cli.ts";
import { inFolder } from "../../helpers/model.ts";

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;

Deno.test("merge(): a folder of init becomes a dense model, and the report says what that cost", () =>
  inFolder(async (folder) => {
    const [from, out] = [`${folder}/from`, `${folder}/out`];
    const { code, stderr } = await loqa(
      ...["init", EXAMPLE, "-o", from, "--rank", "2", "--iters", "1"],
      ...["--device", "wasm", "--quiet"],
    );
    assert.equal(code, 0, stderr);
    using device = await openDevice("wasm");
    const steps: number[] = [];
    const report = await merge(from, {
      ...{ device, out: `${out}/` },
      onProgress: (done) => steps.push(done),
    });
    assert.equal(report.out, out);
    assert.ok(!report.exact);
    assert.deepEqual([report.dtype, report.layers.length], ["bf16", 28]);
    assert.ok(report.forward!.maxDifference > 0);
    assert.ok(steps.length > 1);
    await using merged = await openCheckpoint(out);
    const name = `${report.layers[0].name}.weight`;
    assert.equal(merged.tensors.get(name)?.encoding, "BF16");
    // What an option does not go with is said in a program's words.
    await assert.rejects(
      merge(EXAMPLE, { device, out: `${folder}/x` }),
      (error: Error) => {
        assert.ok(error instanceof OptionError);
        assert.match(error.message, /has no adapter/);
        assert.doesNotMatch(error.message, /--/);
        return true;
      },
    );
    await assert.rejects(merge(from, { device, out }), /it is there already/);
  }));
