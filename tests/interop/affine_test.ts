import assert from "node:assert/strict";
import { own } from "./models.ts";
import { loqaJson, peerTests, scratch } from "./run.ts";

const folder = scratch();

await peerTests(
  { label: "a model of mlx_lm" },
  "make_affine.py",
  () => Promise.resolve([own.path, folder]),
);
await peerTests({ label: "a model of mlx_lm" }, "again_mlx.py", async () => {
  const out = `${folder}/mlx-again`;
  const to = ["--to", "mlx", "--dtype", "f32"];
  const document = await loqaJson("export", `${folder}/mlx`, ...to, "-o", out);
  assert.equal(document.exact, true);
  return [`${folder}/mlx`, out];
});

for (
  const [bits, block] of [["5", "64"], ["4", "32"], ["3", "64"], ["2", "64"]]
) {
  const label = `int${bits} in groups of ${block}`;
  const made = `${folder}/${bits}`;
  const packed = `${made}/backbone`;
  const to = async (target: string, dtype: string) => {
    const out = `${folder}/${target}-${bits}-${dtype}`;
    const args = ["--to", target, "--dtype", dtype, "-o", out];
    const document = await loqaJson("export", packed, ...args);
    assert.equal(document.exact, target === "mlx" && dtype === "f32");
    return out;
  };
  await peerTests({ label }, "read_mlx.py", async () => {
    const plain = ["--method", "qlora", "--iters", "0", "--rank", "2"];
    const form = ["--format", `int${bits}`, "--block", block];
    // Scales in f32, so that f16 has something to round.
    const layout = ["--backbone", "packed", "--dtype", "f32"];
    const scales = ["--scale-dtype", "f32"];
    await loqaJson(
      "init",
      own.path,
      "-o",
      made,
      ...plain,
      ...form,
      ...layout,
      ...scales,
    );
    return [own.path, packed, await to("mlx", "f32"), await to("mlx", "f16")];
  });
  await peerTests(
    { label },
    "read_hqq.py",
    async () => [packed, await to("hqq", "f32")],
  );
  // GPTQ has no codes of 5 bits.
  if (bits === "5") continue;
  await peerTests(
    { label },
    "read_gptq.py",
    async () => [packed, await to("gptq", "f16")],
  );
}
