import assert from "node:assert/strict";
import { loqa } from "../../../helpers/cli.ts";
import { inFolder } from "../../../helpers/model.ts";
import { writeSmallPacked } from "../../export/helpers.ts";

Deno.test("loqa export writes a model and tells what it lost", () =>
  inFolder(async (folder) => {
    await writeSmallPacked(`${folder}/m`, { format: "int3", block: 32 });
    const out = `${folder}/out.gguf`;
    const args = ["export", `${folder}/m`, "--to", "gguf", "-o", out];
    const first = await loqa(...args, "--json", "--quiet");
    assert.equal(first.code, 0, first.stderr);
    const report = JSON.parse(first.stdout);
    assert.equal(report.verb, "export");
    assert.equal(report.to, "gguf");
    assert.equal(report.out, out);
    assert.equal(report.exact, false);
    assert.equal(report.layers.length, 14);
    assert.equal(report.rounding.layers, 14);
    assert.ok(report.rounding.max > 0 && report.rounding.max < 0.1);
    assert.equal(report.bytes, (await Deno.stat(out)).size);
    const again = await loqa(...args);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /there already/);
  }));

for (
  const [args, wanted] of [
    [["export"], /one DIR, got none/],
    [["export", "a", "-o", "b"], /needs --to, one of gguf, onnx/],
    [["export", "a", "--to", "gguf"], /needs -o PATH/],
    [["export", "a", "--to", "pdf", "-o", "b"], /--to must be one of/],
    [["export", "a", "--to", "gguf", "-o", "b", "--dtype", "f8"], /--dtype/],
    [
      ["export", "a", "--to", "mlx", "-o", "b", "--blocks", "q5_1"],
      /--blocks has no effect with --to mlx, only with gguf/,
    ],
  ] as const
) {
  Deno.test(`${args.join(" ")} is wrong usage`, async () => {
    const { code, stderr } = await loqa(...args);
    assert.equal(code, 2);
    assert.match(stderr, wanted);
  });
}
