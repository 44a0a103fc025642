import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { init } from "../../../src/init/run.ts";
import type { Checkpoint } from "../../../src/io/checkpoint/checkpoint.ts";
import { openCheckpoint } from "../../../src/io/open.ts";
import { mergeDense } from "../../../src/merge/dense.ts";
import { mergeExact, mergesExactly } from "../../../src/merge/exact.ts";
import type { AdapterModuleFactors } from "../../../src/nn/adapter.ts";
import type { FormatName } from "../../../src/quant/formats.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { inFolder, openModel, tinyLlama } from "../../helpers/model.ts";

const device = await openDevice("wasm", { threads: 1 });
const MODEL = tinyLlama();
const Q = "model.layers.0.self_attn.q_proj";

/** The tiny model in affine groups, in `folder/base/backbone`: 21 and 35 inputs in groups of 8. */
async function base(folder: string, format: FormatName = "int3") {
  await using checkpoint = await openModel(MODEL);
  await init(checkpoint, {
    method: "qlora",
    format,
    ...(format === "int3" && { block: 8 }),
    rank: 1,
    alpha: 1,
    iterations: 0,
    seed: 0,
  }, { device, out: `${folder}/base` });
  return await openCheckpoint(`${folder}/base/backbone`);
}

function pooled(
  checkpoint: Checkpoint,
  { group, modules }: { group: number; modules: readonly string[] },
): AdapterModuleFactors[] {
  return modules.map((module) => {
    const [rows, cols] = checkpoint.tensors.get(`${module}.weight`)!.shape;
    const random = new Random(3, module);
    return {
      module,
      rank: 3,
      scaling: 0.5,
      group,
      a: random.normals(3 * Math.ceil(cols / group)),
      b: random.normals(rows * 3),
    };
  });
}

for (const group of [8, 16]) {
  Deno.test(`mergeExact(), groups of ${group} on groups of 8: new biases, the same codes and scales, the weights of a dense merge`, () =>
    inFolder(async (folder) => {
      await using checkpoint = await base(folder);
      const modules = [Q, "model.layers.1.mlp.down_proj"];
      const factors = pooled(checkpoint, { group, modules });
      assert.ok(await mergesExactly(checkpoint, factors));
      const { layers, base: mark } = await mergeExact(checkpoint, {
        out: `${folder}/merged`,
        factors,
      });
      assert.deepEqual(
        layers.map(({ name, group }) => [name, group]).sort(),
        modules.map((name) => [name, 8]).sort(),
      );
      assert.match(mark, /^[0-9a-f]{64}$/);
      await mergeDense(checkpoint, {
        device,
        out: `${folder}/dense`,
        factors,
        dtype: "f32",
      });
      await using merged = await openCheckpoint(`${folder}/merged`);
      await using dense = await openCheckpoint(`${folder}/dense`);
      assert.equal(merged.format, "packed");
      assert.deepEqual([...merged.tensors.keys()], [
        ...checkpoint.tensors.keys(),
      ]);
      for (const name of checkpoint.tensors.keys()) {
        const before = await checkpoint.readQuantized!(name);
        if (!before) {
          assert.deepEqual(
            await merged.readRaw(name),
            await checkpoint.readRaw(name),
          );
          continue;
        }
        const after = (await merged.readQuantized!(name))!;
        const changed = modules.some((m) => name === `${m}.weight`);
        assert.deepEqual(
          { ...after, biases: null },
          { ...before, biases: null },
        );
        assert.equal(
          after.biases!.every((x, i) => x === before.biases![i]),
          !changed,
        );
        if (!changed) continue;
        const layer = layers.find((l) => `${l.name}.weight` === name)!;
        const changes = Array.from(
          after.biases!,
          (x, i) => Math.abs(x - before.biases![i]),
        );
        assert.equal(layer.maxChange, Math.max(...changes));
        assertAllClose(
          await merged.readF32(name),
          await dense.readF32(name),
          { atol: 2e-6, rtol: 1e-6, what: name },
        );
      }
    }));
}

Deno.test("mergeExact(): every layer that the adapter does not fit, in one error, and nothing is written", () =>
  inFolder(async (folder) => {
    await using checkpoint = await base(folder);
    const [good] = pooled(checkpoint, { group: 8, modules: [Q] });
    const { group: _, ...plain } = good;
    const wrong: AdapterModuleFactors[] = [
      { ...good, module: "model.layers.9.x" },
      { ...plain, module: "model.layers.0.self_attn.k_proj" },
      { ...good, module: "model.layers.0.mlp.down_proj" },
      { ...good, a: new Float32Array(6), group: 12 },
    ];
    const merging = (factors: AdapterModuleFactors[]) =>
      mergeExact(checkpoint, { out: `${folder}/merged`, factors });
    await assert.rejects(merging(wrong), (error: Error) => {
      assert.equal(error.name, "TypeError");
      for (
        const part of [
          "the model has no layer model.layers.9.x",
          "the factors of model.layers.0.self_attn.k_proj are of every input, wanted sums over groups",
          "model.layers.0.mlp.down_proj is 21 x 35, the adapter's 21 x 3 groups of 8",
          `${Q} is quantised in groups of 8, the adapter's of 12`,
        ]
      ) assert.ok(error.message.includes(part), `${part}: ${error.message}`);
      return true;
    });
    const b = good.b.slice();
    b[4] = NaN;
    await assert.rejects(merging([{ ...good, b }]), {
      name: "RangeError",
      message: new RegExp(`${Q} has NaN in its factors$`),
    });
    assert.deepEqual(
      (await Array.fromAsync(Deno.readDir(folder))).map((e) => e.name),
      [
        "base",
      ],
    );
  }));

Deno.test("mergesExactly(): not for LoRA's factors, nor for a base without groups", () =>
  inFolder(async (folder) => {
    await using groups = await base(`${folder}/a`);
    const [factors] = pooled(groups, { group: 8, modules: [Q] });
    const { group: _, ...plain } = factors;
    assert.equal(await mergesExactly(groups, [plain]), false);
    await using nf4 = await base(`${folder}/b`, "nf4");
    assert.equal(await mergesExactly(nf4, [factors]), false);
    await assert.rejects(
      mergeExact(nf4, { out: `${folder}/c`, factors: [factors] }),
      { name: "TypeError", message: /q_proj is nf4, wanted affine groups$/ },
    );
  }));
