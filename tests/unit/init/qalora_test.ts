import assert from "node:assert/strict";
import { openDevice } from "../../../src/backend/open.ts";
import { exportModel } from "../../../src/export/run.ts";
import type { InitOptions, RunOptions } from "../../../src/init/options.ts";
import type { InitReport } from "../../../src/init/report.ts";
import { init } from "../../../src/init/run.ts";
import { openAdapter, openCheckpoint } from "../../../src/io/open.ts";
import { spread } from "../../../src/qalora/merge.ts";
import { matrix, relativeError } from "../../../src/tensor/matrix.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import {
  comparable,
  inFolder,
  openModel,
  tinyLlama,
} from "../../helpers/model.ts";
import { inHalves, writeSmallPacked } from "../export/helpers.ts";

const GGUF = new URL("../../golden/io/llama.gguf", import.meta.url).pathname;
const device = await openDevice("wasm", { threads: 1 });
/** Widths of 64 and 96: groups of 32 divide them. */
const EVEN = tinyLlama({ hidden: 64, inner: 96 });
/** Widths of 21 and 35: the last group is short, or the only one. */
const RAGGED = tinyLlama();
const PLAIN = {
  method: "qalora",
  format: "int3",
  rank: 4,
  alpha: 8,
  iterations: 0,
  seed: 0,
} as const;

/** Moments of inputs of which some are larger than others, and neighbours alike. */
const metricOf: NonNullable<RunOptions["metricOf"]> = (module) => {
  const cols = module.endsWith("down_proj") ? 96 : 64;
  return Promise.resolve({
    kind: "full",
    moments: Float32Array.from({ length: cols * cols }, (_, e) => {
      const [i, j] = [Math.floor(e / cols), e % cols];
      return (i === j ? 1 + i % 7 : 0) + 0.6 ** Math.abs(i - j);
    }),
  });
};

async function run(
  out: string,
  options: Partial<InitOptions> = {},
  { model = EVEN, ...more }: Partial<RunOptions> & { model?: typeof EVEN } = {},
): Promise<InitReport> {
  await using checkpoint = await openModel(model);
  return await init(checkpoint, { ...PLAIN, ...options }, {
    device,
    out,
    force: true,
    ...more,
  });
}

const bytesOf = (out: string) =>
  Deno.readFile(`${out}/backbone/model.safetensors`);
const json = async (path: string) => JSON.parse(await Deno.readTextFile(path));

const VARIANTS: Record<
  string,
  { options?: Partial<InitOptions>; model?: typeof EVEN; metric?: boolean }
> = {
  "a plain start": {},
  "short last groups": { model: RAGGED },
  "a start of two iterations": { options: { iterations: 2, rslora: true } },
  "mse, groups of 64": { options: { scale: "mse", block: 64, format: "int2" } },
  "hqq": { options: { scale: "hqq" } },
  "gptq and an adapter that starts in the metric": {
    options: { scale: "gptq", metric: "full", iterations: 1 },
    metric: true,
  },
  "calibrated biases": {
    options: { biases: true, metric: "full", format: "int2" },
    metric: true,
  },
  "two widths of codes": { options: { mixed: "first=1:int4,rest=int2" } },
};

for (
  const [name, { options, model = EVEN, metric }] of Object.entries(VARIANTS)
) {
  Deno.test(`init, QA-LoRA, ${name}: what lies on the disk has the errors that are told`, () =>
    inFolder(async (folder) => {
      const out = `${folder}/out`;
      const report = await run(out, options, {
        model,
        ...(metric && { metricOf }),
      });
      const group = options?.block ?? 32;
      assert.deepEqual(
        [report.group, report.kept, report.options.backbone],
        [group, undefined, "packed"],
      );
      await using original = await openModel(model);
      await using backbone = await openCheckpoint(`${out}/backbone`);
      await using adapter = await openAdapter(`${out}/adapter`);
      assert.equal(adapter.settings.base, report.base);
      const peft = model === EVEN && group === 32;
      assert.deepEqual(adapter.settings.qalora, {
        group,
        pooling: peft ? "peft" : "sum",
      });
      assert.equal(adapter.modules.size, 14);
      for (const layer of report.layers) {
        const { rows, cols } = layer;
        const tensor = `${layer.name}.weight`;
        const factors = adapter.modules.get(layer.name)!;
        assert.equal(factors.group, group);
        const part = spread({
          a: matrix(4, Math.ceil(cols / group), await factors.readA()),
          b: matrix(rows, 4, await factors.readB()),
          scaling: factors.scaling,
        }, { cols, block: group });
        const q = await backbone.readF32(tensor);
        const error = relativeError(
          matrix(rows, cols, await original.readF32(tensor)),
          matrix(rows, cols, q.map((x, i) => x + part.data[i])),
        );
        assertAllClose([error], [layer.error], { rtol: 1e-4, what: tensor });
        if (metric) {
          assert.ok(layer.outputError! < layer.plainOutputError!, tensor);
        }
      }
    }));
}

Deno.test("init, QA-LoRA: A in the file is what PEFT multiplies its pooled inputs with", () =>
  inFolder(async (folder) => {
    // 64 inputs: in / group² = 1 / 16; the same seed gives the same A whatever the file's form.
    await run(`${folder}/peft`);
    await using adapter = await openAdapter(`${folder}/peft/adapter`);
    const name = "model.layers.0.self_attn.q_proj";
    const ours = await adapter.modules.get(name)!.readA();
    await using file = await openCheckpoint(
      `${folder}/peft/adapter/adapter_model.safetensors`,
    );
    const stored = await file.readF32(
      `base_model.model.${name}.lora_A.weight`,
    );
    assertAllClose(stored, ours.map((x) => x * 16));
    const config = await json(`${folder}/peft/adapter/adapter_config.json`);
    assert.deepEqual(
      [config.use_qalora, config.qalora_group_size],
      [true, 32],
    );
  }));

Deno.test("init, QA-LoRA: a model in affine groups is the base as it is, unless a format is asked for", () =>
  inFolder(async (folder) => {
    const first = await run(`${folder}/first`, { scale: "mse" });
    const again = async (out: string, options: Partial<InitOptions>) => {
      await using packed = await openCheckpoint(`${folder}/first/backbone`);
      const { format: _, ...plain } = PLAIN;
      return await init(packed, { ...plain, ...options }, {
        device,
        out: `${folder}/${out}`,
        force: true,
      });
    };
    const kept = await again("kept", {});
    assert.equal(kept.kept, `${folder}/first/backbone`);
    assert.equal(kept.base, first.base);
    assert.equal(kept.options.format, "int3");
    assert.deepEqual(
      await bytesOf(`${folder}/kept`),
      await bytesOf(`${folder}/first`),
    );
    assert.deepEqual(kept.layers.map((l) => l.error), Array(14).fill(0));
    for (
      const options of [
        { format: "int4" },
        { block: 64 },
        { scale: "minmax" },
      ] as const
    ) {
      const made = await again("made", options);
      assert.equal(made.kept, undefined);
      assert.notEqual(made.base, first.base);
    }
  }));

Deno.test("init, QA-LoRA: Q4_1 layers of a GGUF file keep their codes; where one is no affine group, all are quantised", () =>
  inFolder(async (folder) => {
    const { format: _, ...plain } = PLAIN;
    const initialise = async (out: string, targets?: string[]) => {
      await using checkpoint = await openCheckpoint(GGUF);
      return await init(checkpoint, { ...plain, targets }, {
        device,
        out: `${folder}/${out}`,
      });
    };
    const names = ["layers.0.self_attn.k_proj", "layers.1.self_attn.v_proj"];
    assert.equal((await initialise("kept", names)).kept, GGUF);
    await using file = await openCheckpoint(GGUF);
    await using backbone = await openCheckpoint(`${folder}/kept/backbone`);
    for (const name of names) {
      const tensor = `model.${name}.weight`;
      assert.deepEqual(
        await backbone.readQuantized!(tensor),
        await file.readQuantized!(tensor),
      );
    }
    const all = await initialise("all");
    assert.deepEqual([all.kept, all.options.format], [undefined, "int4"]);
  }));

for (
  const [to, format, blocks] of [
    ["gguf", "int4", "Q4_1"],
    ["gguf", "int4", "Q5_1"],
    ["gguf", "int5", "Q5_1"],
    ["mlx", "int4"],
    ["mlx", "int5"],
    ["hqq", "int4"],
    ["hqq", "int5"],
    ["gptq", "int4"],
  ] as const
) {
  Deno.test(
    `init, QA-LoRA: a checkpoint in ${
      blocks ?? to
    }, ${format}, is the base as it is`,
    () =>
      inFolder(async (folder) => {
        await writeSmallPacked(`${folder}/packed`, {
          format,
          block: 32,
          change: inHalves,
        });
        const model = `${folder}/model${to === "gguf" ? ".gguf" : ""}`;
        await exportModel(`${folder}/packed`, { to, out: model, blocks });
        const { format: _, ...plain } = PLAIN;
        await using file = await openCheckpoint(model);
        const report = await init(file, plain, {
          device,
          out: `${folder}/out`,
        });
        assert.deepEqual([report.kept, report.options.format], [model, format]);
        assert.equal(report.layers.length, 14);
        await using backbone = await openCheckpoint(`${folder}/out/backbone`);
        for (const { name } of report.layers) {
          const tensor = `${name}.weight`;
          assert.deepEqual(
            await backbone.readQuantized!(tensor),
            await file.readQuantized!(tensor),
          );
        }
      }),
  );
}

Deno.test("init, QA-LoRA: the same run twice gives the same bytes; other biases are another base", () =>
  inFolder(async (folder) => {
    const options = { metric: "full", iterations: 1 } as const;
    await run(`${folder}/a`, options, { metricOf });
    await run(`${folder}/b`, options, { metricOf });
    assert.deepEqual(
      await comparable(`${folder}/a`),
      await comparable(`${folder}/b`),
    );
    const biased = { metric: "full", biases: true } as const;
    assert.notEqual(
      (await run(`${folder}/c`, biased, { metricOf })).base,
      (await run(`${folder}/a`, options, { metricOf })).base,
    );
  }));

Deno.test("init, QA-LoRA: what does not go together is refused, and nothing written", () =>
  inFolder(async (folder) => {
    const refused: [Partial<InitOptions>, RegExp][] = [
      [
        { format: "nf4" },
        /wanted affine groups \(int5, int4, int3, int2\), .* is nf4, and 13 more have none either$/,
      ],
      [{ format: "clip4" }, /wanted affine groups/],
      [{ mixed: "first=1:int4,rest=nf4" }, /layers\.1\..* is nf4, and 6 more/],
      [
        { scale: "absmax" },
        /wanted the scale minmax, mse, hqq, gptq, got absmax$/,
      ],
      [
        { scale: "gptq" },
        /the scale gptq needs the full metric, got identity$/,
      ],
      [
        { biases: true },
        /calibrated biases need the diag or full metric, got identity$/,
      ],
      [
        { biases: true, metric: "full", iterations: 2 },
        /calibrated biases leave nothing to find, got 2 iterations$/,
      ],
      [{ svd: "exact" }, /it has one kind of svd, got exact$/],
      [{ backbone: "dense" }, /its backbone is packed, got dense$/],
      [{ block: 0 }, /groups of one size, got 64 \(.*\), 96 \(.*\)$/],
    ];
    for (const [options, message] of refused) {
      await assert.rejects(run(`${folder}/out`, options), {
        name: "RangeError",
        message,
      });
    }
    assert.deepEqual(await Array.fromAsync(Deno.readDir(folder)), []);
  }));
