import assert from "node:assert/strict";
import { openMoments } from "../../../src/calibrate/moments.ts";
import { inFolder, safetensorsBytes } from "../../helpers/model.ts";

const values = (n: number) => Float32Array.from({ length: n }, (_, i) => i + 1);

Deno.test("openMoments() gives the metric of a layer, the diagonal of full ones too", () =>
  inFolder(async (folder) => {
    const path = `${folder}/m.safetensors`;
    await Deno.writeFile(
      path,
      await safetensorsBytes({
        "a.moments": { shape: [3], values: values(3), dtype: "f16" },
        "b.moments": { shape: [3, 3], values: values(9) },
        "c.moments": { shape: [2, 4], values: values(8) },
        "d.moments": { shape: [4], dtype: "i64", values: values(4) },
      }),
    );
    await using diag = await openMoments(path, "diag");
    await using full = await openMoments(path, "full");
    assert.deepEqual(await diag.metricOf("a"), {
      kind: "diag",
      moments: values(3),
    });
    assert.deepEqual(await diag.metricOf("b"), {
      kind: "diag",
      moments: Float32Array.of(1, 5, 9),
    });
    assert.deepEqual(await full.metricOf("b"), {
      kind: "full",
      moments: values(9),
    });
    for (
      const [file, module, name, part] of [
        [full, "a", "RangeError", "a.moments is [3], wanted [in, in]"],
        [full, "c", "RangeError", "c.moments is [2, 4], wanted [in, in]"],
        [diag, "c", "RangeError", "c.moments is [2, 4], wanted [in, in]"],
        [diag, "x", "RangeError", "x.moments is not there"],
        [diag, "d", "TypeError", "d.moments is i64, wanted floating-point"],
      ] as const
    ) {
      await assert.rejects(file.metricOf(module), (error: Error) => {
        assert.equal(error.name, name);
        assert.ok(error.message.includes(part), error.message);
        return true;
      });
    }
  }));

Deno.test("openMoments() of no such file, or of a malformed one, leaves nothing open", () =>
  inFolder(async (folder) => {
    const path = `${folder}/m.safetensors`;
    await assert.rejects(openMoments(path, "diag"), { name: "IoError" });
    await Deno.writeTextFile(path, "nonsense");
    await assert.rejects(openMoments(path, "diag"), { name: "SyntaxError" });
  }));
