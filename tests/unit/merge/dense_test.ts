import assert from "node:assert/strict";
import { loqa } from "../../helpers/cli.ts";
import { logitsOf } from "../../helpers/llama.ts";
import { inFolder } from "../../helpers/model.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { mergeDense } from "../../../src/merge/dense.ts";
import { loadCausal } from "../../../src/models/load/load.ts";
import { readAdapterFolder } from "../../../src/models/load/locate.ts";

const EXAMPLE = new URL("../../../examples/model", import.meta.url).pathname;

async function quantized(folder: string): Promise<string> {
  const out = `${folder}/nf2`;
  const { code } = await loqa(
    ...["init", EXAMPLE, "-o", out, "--format", "nf2", "-q"],
    ...["--device", "wasm"],
  );
  assert.equal(code, 0);
  return out;
}

Deno.test("merge: the model says what it said with its adapter; rounding is told", async () => {
  await inFolder(async (folder) => {
    const path = await quantized(folder);
    using device = await openDevice("wasm", { threads: 1 });
    const tokens = { ids: [5, 77, 300, 12, 9, 41], batch: 1, time: 6 };
    const scores = async (from: string) => {
      await using loaded = await loadCausal(device, from);
      return await logitsOf(loaded.model, tokens);
    };
    const before = await scores(path);
    const spread = Math.max(...before) - Math.min(...before);
    const factors = await readAdapterFolder(`${path}/adapter`);
    let last = 0;
    for (
      const [dtype, most] of [["f32", 1e-5], ["f16", 3e-3], [
        "bf16",
        3e-2,
      ]] as const
    ) {
      const out = `${folder}/${dtype}`;
      await using checkpoint = await openCheckpoint(`${path}/backbone`);
      const layers = await mergeDense(checkpoint, {
        device,
        out,
        factors,
        dtype,
      });
      assert.equal(layers.length, 28);
      const error = Math.max(...layers.map((l) => l.error));
      assert.ok(dtype === "f32" ? error === 0 : error > last);
      last = error;
      const after = await scores(out);
      const difference = Math.max(
        ...after.map((x, i) => Math.abs(x - before[i])),
      );
      assert.ok(difference < most * spread, `${dtype}: ${difference}`);
      const config = JSON.parse(await Deno.readTextFile(`${out}/config.json`));
      assert.equal(config.quantization_config, undefined);
      assert.equal(
        config.dtype,
        { f32: "float32", f16: "float16", bf16: "bfloat16" }[dtype],
      );
    }
  });
});

Deno.test("merge: an adapter for another model, every mismatch in one error", async () => {
  using device = await openDevice("wasm", { threads: 1 });
  await using checkpoint = await openCheckpoint(EXAMPLE);
  const part = (module: string, rows: number, cols: number) => ({
    module,
    rank: 2,
    scaling: 1,
    a: new Float32Array(2 * cols),
    b: new Float32Array(2 * rows),
  });
  await assert.rejects(
    mergeDense(checkpoint, {
      device,
      out: "never",
      dtype: "f32",
      factors: [
        part("model.layers.0.self_attn.q_proj", 128, 64),
        part("model.layers.9.self_attn.q_proj", 128, 128),
      ],
    }),
    {
      name: "TypeError",
      message:
        /q_proj is 128 x 128, the adapter's 128 x 64; the model has no layer model.layers.9.self_attn.q_proj$/,
    },
  );
});

Deno.test("loqa merge: the document, and a folder that is there is left alone", async () => {
  await inFolder(async (folder) => {
    const path = await quantized(folder);
    const out = `${folder}/merged`;
    const run = (...more: string[]) =>
      loqa("merge", path, "-o", out, "-q", "--device", "wasm", ...more);
    const { code, stdout } = await run("--json");
    assert.equal(code, 0);
    const report = JSON.parse(stdout);
    assert.deepEqual(
      [report.verb, report.exact, report.dtype],
      ["merge", false, "bf16"],
    );
    assert.ok(report.maxDifference > 0);
    assert.ok(report.forward.agreement > 0.8);
    const again = await run();
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^loqa: Cannot write to .*it is there already/);
    const usage = await loqa("merge", EXAMPLE, "-o", `${folder}/x`);
    assert.equal(usage.code, 2);
    assert.match(
      usage.stderr,
      /has no adapter, and the option adapter names none/,
    );
  });
});
