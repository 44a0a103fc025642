import assert from "node:assert/strict";
import type { ExporterOptions } from "../../../../src/export/exporter.ts";
import { exportGptq } from "../../../../src/export/affine/gptq.ts";
import { exportHqq } from "../../../../src/export/affine/hqq.ts";
import { exportMlx } from "../../../../src/export/affine/mlx.ts";
import { affineReader } from "../../../../src/io/affine/affine.ts";
import type { Checkpoint } from "../../../../src/io/checkpoint/checkpoint.ts";
import { openCheckpoint } from "../../../../src/io/open.ts";
import {
  makeCheckpoint,
  plainReader,
} from "../../../../src/io/checkpoint/tensor_reader.ts";
import { format, type FormatName } from "../../../../src/quant/formats.ts";
import { codesOf, packMatrix } from "../../../../src/quant/pack.ts";
import type { QuantizedMatrix } from "../../../../src/quant/quantized.ts";
import { Random } from "../../../../src/tensor/random.ts";
import { assertBytes } from "../../../helpers/assert.ts";
import { integer } from "../../../helpers/inputs.ts";
import { inFolder } from "../../../helpers/model.ts";
import { rejects } from "../../io/helpers.ts";

const EXPORTERS = { mlx: exportMlx, hqq: exportHqq, gptq: exportGptq };
type Target = keyof typeof EXPORTERS;

interface Layer {
  readonly name: FormatName;
  readonly rows?: number;
  readonly cols?: number;
  readonly block?: number;
}

/** Weights about 0 in affine groups, scales of either sign; the first group of each row has no step. */
function matrix(
  { name, rows = 32, cols = 128, block = 32 }: Layer,
  whole = false,
): QuantizedMatrix {
  const random = new Random(rows + cols + block, name);
  const spec = format(name);
  const top = (1 << spec.bits) - 1;
  const each = Math.ceil(cols / block);
  const codes = Uint8Array.from(
    { length: rows * cols },
    (_, i) => i % cols < block ? 0 : integer(random, 0, top),
  );
  const scales = Float32Array.from(
    random.normals(rows * each),
    (x, i) => i % each === 0 ? 0 : Math.fround((0.5 + Math.abs(x)) / 64),
  );
  const biases = scales.map((s, i) => {
    if (s === 0) return (i % 3 - 1) / 4;
    const zero = top * (0.2 + 0.6 * random.uniform());
    return -s * (whole ? Math.round(zero) : zero);
  });
  return {
    format: name,
    rows,
    cols,
    block,
    codes: packMatrix(spec, { rows, cols, codes }),
    scales: whole ? scales.map((s) => Math.f16round(s)) : scales,
    biases: whole
      ? biases.map((b, i) => {
        const s = Math.f16round(scales[i]);
        return s === 0 ? b : s * Math.round(b / scales[i]);
      })
      : biases,
  };
}

function model(layers: Readonly<Record<string, QuantizedMatrix>>): Checkpoint {
  const norm = Float32Array.of(1, 2, 3);
  return makeCheckpoint({
    name: "tiny",
    format: "packed",
    readers: [
      ...Object.entries(layers).map(([module, q]) =>
        affineReader({
          ...q,
          name: `${module}.weight`,
          bits: format(q.format).bits,
          scaleDType: "f32",
          biasDType: "f32",
          parts: [],
        }, {
          codes: () => Promise.resolve(q.codes),
          scales: () =>
            Promise.resolve({ scales: q.scales, biases: q.biases! }),
        })
      ),
      plainReader(
        { name: "norm.weight", dtype: "f32", shape: [3], bytes: 12 },
        (from, to) =>
          Promise.resolve(new Uint8Array(norm.slice(from, to).buffer)),
      ),
    ],
    config: {
      model_type: "llama",
      quantization_config: { quant_method: "loqa" },
    },
    sideFiles: () =>
      Promise.resolve([{
        name: "tokenizer.json",
        bytes: new TextEncoder().encode("{}"),
      }]),
    dispose: () => Promise.resolve(),
  });
}

/** Exports layers and gives what comes back beside the report. */
async function roundTrip(
  target: Target,
  layers: Readonly<Record<string, QuantizedMatrix>>,
  work: (
    back: Checkpoint,
    report: Awaited<ReturnType<typeof exportMlx>>,
  ) => Promise<void>,
  options: Partial<ExporterOptions> = {},
): Promise<void> {
  await inFolder(async (folder) => {
    const out = `${folder}/out`;
    await using source = model(layers);
    const report = await EXPORTERS[target](source, { ...options, out });
    await using back = await openCheckpoint(out);
    assert.equal(back.format, target);
    await work(back, report);
  });
}

for (const name of ["int5", "int4", "int3", "int2"] as const) {
  Deno.test(`MLX in f32: ${name} comes back to the bit`, async () => {
    const q = matrix({ name });
    await roundTrip("mlx", { "a.b": q }, async (back, { layers }) => {
      assert.deepEqual(await back.readQuantized!("a.b.weight"), q);
      assert.deepEqual(layers, [{
        name: "a.b",
        format: name,
        block: 32,
        exact: true,
        maxError: 0,
        meanError: 0,
      }]);
      assert.deepEqual(
        await back.readF32("norm.weight"),
        Float32Array.of(1, 2, 3),
      );
    }, { dtype: "f32" });
  });

  for (const target of ["mlx", "hqq", "gptq"] as const) {
    if (name === "int5" && target === "gptq") continue;
    Deno.test(`${target}: ${name} keeps its codes, and the report tells what rounding did`, async () => {
      const q = matrix({ name });
      await roundTrip(target, { "a.b": q }, async (back, { layers }) => {
        const found = (await back.readQuantized!("a.b.weight"))!;
        assertBytes(found.codes, q.codes, "codes");
        const [{ exact, maxError, meanError }] = layers;
        assert.equal(exact, false);
        const codes = codesOf(q);
        let [most, sum] = [0, 0];
        codes.forEach((code, i) => {
          const g = Math.floor(i / q.block);
          const one = q.scales[g] * code + q.biases![g];
          const other = found.scales[g] * code + found.biases![g];
          const step = q.scales[g] || Math.abs(q.biases![g]) || 1;
          const error = Math.abs(other - one) / step;
          most = Math.max(most, error);
          sum += error;
        });
        assert.ok(most > 0 && most < (target === "gptq" ? 0.52 : 0.02));
        assert.ok(Math.abs(maxError - most) < 1e-5, `${maxError} ${most}`);
        assert.ok(Math.abs(meanError - sum / codes.length) < 1e-5);
      });
    });
  }

  if (name === "int5") continue;
  Deno.test(`GPTQ: ${name} with whole zeros is exact`, async () => {
    const q = matrix({ name }, true);
    await roundTrip("gptq", { "a.b": q }, async (back, { layers, notes }) => {
      assert.equal(layers[0].exact, true);
      assert.deepEqual(notes, []);
      const found = (await back.readQuantized!("a.b.weight"))!;
      const kept = q.scales.findIndex((s) => s !== 0);
      assert.equal(found.scales[kept], q.scales[kept]);
      assert.deepEqual(
        await back.readF32("a.b.weight"),
        await model({ "a.b": q }).readF32("a.b.weight"),
      );
    });
  });
}

Deno.test("groups without a step keep their values in every format", async () => {
  const q = matrix({ name: "int4" });
  for (const target of ["mlx", "hqq", "gptq"] as const) {
    await roundTrip(target, { "a.b": q }, async (back) => {
      const values = await back.readF32("a.b.weight");
      for (let row = 0; row < q.rows; row++) {
        const at = row * q.cols;
        assert.equal(values[at], q.biases![row * 4], `${target} row ${row}`);
        assert.equal(values[at + 31], values[at]);
      }
    });
  }
});

Deno.test("the config that each program looks for replaces loqa's", async () => {
  const q = matrix({ name: "int3", block: 64 });
  const configs: Record<string, Record<string, unknown>> = {};
  for (const target of ["mlx", "hqq", "gptq"] as const) {
    await roundTrip(target, { "a.b": q }, async (back) => {
      configs[target] = back.config as Record<string, unknown>;
      assert.equal(back.config.dtype, "float16");
      const [side] = await back.sideFiles();
      assert.equal(side.name, "config.json");
      assert.equal((await back.sideFiles()).length, 2);
    });
  }
  assert.deepEqual(configs.mlx.quantization, {
    group_size: 64,
    bits: 3,
    mode: "affine",
  });
  assert.deepEqual(configs.mlx.quantization_config, configs.mlx.quantization);
  assert.equal(configs.hqq.quantization, undefined);
  const hqq = configs.hqq.quantization_config as Record<string, unknown>;
  assert.equal(hqq.quant_method, "hqq");
  const gptq = configs.gptq.quantization_config as Record<string, unknown>;
  assert.equal(gptq.checkpoint_format, "gptq_v2");
  assert.equal(gptq.bits, 3);
});

Deno.test("MLX: layers of other widths and groups are overrides; HQQ and GPTQ want one for all", async () => {
  const layers = {
    a: matrix({ name: "int4" }),
    b: matrix({ name: "int2", block: 64 }),
    c: matrix({ name: "int4", rows: 64 }),
  };
  await roundTrip("mlx", layers, async (back) => {
    assert.deepEqual(back.config.quantization, {
      group_size: 32,
      bits: 4,
      mode: "affine",
      b: { group_size: 64, bits: 2 },
    });
    for (const [module, q] of Object.entries(layers)) {
      assert.deepEqual(await back.readQuantized!(`${module}.weight`), q);
    }
  }, { dtype: "f32" });
  for (const target of ["hqq", "gptq"] as const) {
    await rejects(
      () => roundTrip(target, layers, () => Promise.resolve()),
      TypeError,
      "one format for all layers",
      "int2 in groups of 64",
    );
  }
});

Deno.test("what a format cannot hold is refused, all of it in one error", async () => {
  const refuse = (
    target: Target,
    layers: Readonly<Record<string, Layer>>,
    ...parts: string[]
  ) =>
    rejects(
      () =>
        roundTrip(
          target,
          Object.fromEntries(
            Object.entries(layers).map(([key, l]) => [key, matrix(l)]),
          ),
          () => Promise.resolve(),
        ),
      TypeError,
      ...parts,
    );
  await refuse(
    "mlx",
    {
      a: { name: "int4", block: 16 },
      b: { name: "int4", cols: 120, block: 32 },
    },
    "a.weight: groups of 16, wanted 32, 64, 128",
    "b.weight: groups of 32 do not divide 120",
  );
  await refuse("hqq", { a: { name: "int2", rows: 3, block: 64 } }, "6 groups");
  await refuse("gptq", { a: { name: "int5" } }, "codes of 5 bits");
  await refuse("gptq", { a: { name: "int4", rows: 20 } }, "20 x 128", "words");
  await refuse("mlx", {}, "no quantised layers");
});

Deno.test("a bias beyond f16 is refused with the type that holds it", async () => {
  const q = matrix({ name: "int4" });
  q.biases![5] = 1e6;
  await rejects(
    () => roundTrip("mlx", { a: q }, () => Promise.resolve()),
    RangeError,
    "a.biases",
    "1000000",
    "f32",
  );
  await roundTrip("mlx", { a: q }, async (back) => {
    assert.deepEqual(await back.readQuantized!("a.weight"), q);
  }, { dtype: "f32" });
});
