import assert from "node:assert/strict";
import { openDevice } from "../../../../src/backend/open.ts";
import { exportGptq } from "../../../../src/export/affine/gptq.ts";
import { exportHqq } from "../../../../src/export/affine/hqq.ts";
import { exportMlx } from "../../../../src/export/affine/mlx.ts";
import { exportGguf } from "../../../../src/export/gguf/export.ts";
import { exportOnnx } from "../../../../src/export/onnx/export.ts";
import { exportModel } from "../../../../src/export/run.ts";
import { init } from "../../../../src/init/run.ts";
import type { InitOptions } from "../../../../src/init/options.ts";
import type { Checkpoint } from "../../../../src/io/checkpoint/checkpoint.ts";
import { fingerprint } from "../../../../src/io/checkpoint/fingerprint.ts";
import { openGguf } from "../../../../src/io/gguf/file.ts";
import { modelFiles, openCheckpoint } from "../../../../src/io/open.ts";
import { openFileSet } from "../../../../src/io/recognise.ts";
import { openSafetensors } from "../../../../src/io/safetensors/read.ts";
import { mergeDense } from "../../../../src/merge/dense.ts";
import { mergeExact, mergesExactly } from "../../../../src/merge/exact.ts";
import type { AdapterModuleFactors } from "../../../../src/nn/adapter.ts";
import { inFolder } from "../../../helpers/model.ts";
import { inHalves, writeSmallPacked } from "../../export/helpers.ts";

const device = await openDevice("wasm", { threads: 1 });
const QALORA: InitOptions = {
  method: "qalora",
  rank: 2,
  alpha: 2,
  iterations: 1,
  seed: 0,
};

/** A model whose file counts what is read of each of its tensors once it is open. */
interface Counted extends AsyncDisposable {
  readonly checkpoint: Checkpoint;
  /** Bytes read of each tensor of the file, by its name there, and its size. */
  reads(): Map<string, { read: number; bytes: number }>;
}

async function counted(path: string): Promise<Counted> {
  const files = await modelFiles(path);
  const weights = files.names.find((n) => /\.(gguf|safetensors)$/.test(n))!;
  await using table = await files.open(weights);
  const { tensors } =
    await (weights.endsWith(".gguf")
      ? openGguf(table)
      : openSafetensors(table));
  const ranges: [number, number][] = [];
  const checkpoint = await openFileSet({
    ...files,
    async open(name) {
      const source = await files.open(name);
      const { size, modified } = source;
      return {
        ...{ name: source.name, size, modified },
        read(offset, length) {
          if (name === weights) ranges.push([offset, offset + length]);
          return source.read(offset, length);
        },
        [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
      };
    },
  });
  ranges.length = 0;
  return {
    checkpoint,
    reads: () =>
      new Map(
        [...tensors.values()].map(({ name, offset, bytes }) => {
          const end = offset + bytes;
          const read = ranges.reduce((sum, [from, to]) =>
            sum + Math.max(0, Math.min(to, end) - Math.max(from, offset)), 0);
          return [name, { read, bytes }];
        }),
      ),
    [Symbol.asyncDispose]: () => checkpoint[Symbol.asyncDispose](),
  };
}

/** Rows that the key of a run reads, by tensor. */
async function sampled(path: string): Promise<Map<string, number>> {
  await using model = await counted(path);
  await fingerprint(model.checkpoint);
  return new Map([...model.reads()].map(([name, { read }]) => [name, read]));
}

/** Times that each tensor was read, but for a sample of it; those that were once are left out. */
function notOnce(
  { reads }: Counted,
  sample: ReadonlyMap<string, number> = new Map(),
): Record<string, number> {
  return Object.fromEntries(
    [...reads()].map(([name, { read, bytes }]): [string, number] => [
      name,
      (read - (sample.get(name) ?? 0)) / bytes,
    ]).filter(([, times]) => times !== 1),
  );
}

/** A small model of int4 in groups of 32, scales and biases in f16: packed, or in the layout of a target of export. */
async function model(
  folder: string,
  to: "packed" | "gguf" | "mlx" | "hqq" | "gptq",
): Promise<string> {
  const [wide, gguf] = [`${folder}/wide`, `${folder}/model.gguf`];
  await writeSmallPacked(wide, { format: "int4", block: 32, change: inHalves });
  const out = to === "gguf" ? gguf : `${folder}/${to}`;
  if (to !== "packed") await exportModel(wide, { to, out });
  else {
    await exportModel(wide, { to: "gguf", out: gguf });
    await using blocks = await openCheckpoint(gguf);
    await mergeExact(blocks, { out, factors: [] });
  }
  return out;
}

/** Factors of groups for every quantised layer. */
function factorsOf({ tensors }: Checkpoint): AdapterModuleFactors[] {
  return [...tensors.values()]
    .filter(({ name }) => name.endsWith("_proj.weight"))
    .map(({ name, shape: [rows, cols] }) => ({
      module: name.replace(/\.weight$/, ""),
      ...{ rank: 1, scaling: 1, group: 32 },
      a: new Float32Array(cols / 32).fill(0.01),
      b: new Float32Array(rows).fill(0.01),
    }));
}

/** Ways through all weights of a model, and what each wants for its result. */
const WAYS: Record<
  string,
  (checkpoint: Checkpoint, out: string) => Promise<unknown>
> = {
  "init with itself as the base": (checkpoint, out) =>
    init(checkpoint, QALORA, { device, out }),
  "export to MLX": (checkpoint, out) => exportMlx(checkpoint, { out }),
  "export to HQQ": (checkpoint, out) => exportHqq(checkpoint, { out }),
  "export to GPTQ": (checkpoint, out) => exportGptq(checkpoint, { out }),
  "export to GGUF": (checkpoint, out) => exportGguf(checkpoint, { out }),
  "export to ONNX": (checkpoint, out) => exportOnnx(checkpoint, { out }),
  "an exact merge": async (checkpoint, out) => {
    const factors = factorsOf(checkpoint);
    assert.ok(await mergesExactly(checkpoint, factors));
    await mergeExact(checkpoint, { out, factors });
  },
  "a dense merge": (checkpoint, out) =>
    mergeDense(checkpoint, {
      ...{ device, out, dtype: "bf16" },
      factors: factorsOf(checkpoint),
    }),
};

/** Parts of weights, and plain tensors; others say how a layer is stored, and are read when the file is opened. */
const VALUES = /\.(weight|codes|qweight|W_q|scales?|biases|zero|qzeros)$/;

/** Why a part is read once more: biases that are computed from zero points are looked at for the type that holds them. */
const ZERO_POINTS = /\.(scales?|zero|qzeros)$/;

for (const to of ["gguf", "packed", "mlx", "hqq", "gptq"] as const) {
  Deno.test(`every tensor of a model in ${to} is read once`, (test) =>
    inFolder(async (folder) => {
      const path = await model(folder, to);
      for (const [way, go] of Object.entries(WAYS)) {
        await test.step(way, async () => {
          await using file = await counted(path);
          await go(file.checkpoint, `${folder}/${way}`);
          const sample = way.startsWith("init")
            ? await sampled(path)
            : undefined;
          const others = notOnce(file, sample);
          for (const [name, times] of Object.entries(others)) {
            if (!VALUES.test(name) && times === 0) delete others[name];
            if (
              way.startsWith("init") && (to === "hqq" || to === "gptq") &&
              ZERO_POINTS.test(name) && times === 2
            ) delete others[name];
          }
          assert.deepEqual(others, {});
        });
      }
    }));
}

Deno.test("init with a base of Q4_1: its weights and the model's are read once", () =>
  inFolder(async (folder) => {
    const path = await model(folder, "gguf");
    await using base = await counted(path);
    await using dense = await counted(`${folder}/wide-dense`);
    await init(dense.checkpoint, QALORA, {
      ...{ device, out: `${folder}/out` },
      base: base.checkpoint,
    });
    assert.deepEqual(notOnce(dense, await sampled(`${folder}/wide-dense`)), {});
    const others = notOnce(base, await sampled(path));
    for (const [name, times] of Object.entries(others)) {
      assert.ok(/norm|token_embd|^output/.test(name) && times === 0, name);
    }
  }));

Deno.test("headers tell the format and shape that a quantised weight then has", () =>
  inFolder(async (folder) => {
    for (const to of ["gguf", "packed", "mlx", "hqq", "gptq"] as const) {
      const path = await model(`${folder}/${to}`, to);
      await using checkpoint = await openCheckpoint(path);
      for (const { name, quantized } of checkpoint.tensors.values()) {
        const q = await checkpoint.readQuantized!(name);
        assert.equal(q !== undefined, name.endsWith("_proj.weight"), name);
        if (!q) {
          assert.equal(quantized, undefined);
          continue;
        }
        const { codes: _, scales, biases, ...shape } = q;
        const { scaleDType, biasDType, ...told } = quantized!;
        assert.deepEqual(told, shape);
        const computed = to === "hqq" || to === "gptq";
        assert.deepEqual(
          [scaleDType, biasDType],
          ["f16", computed ? "f32" : "f16"],
        );
        assert.deepEqual(await checkpoint.readScales!(name), {
          ...{ scales, biases },
        });
      }
    }
  }));

Deno.test("codes of a GPTQ weight are read once where its rows are read in parts", () =>
  inFolder(async (folder) => {
    await using file = await counted(await model(folder, "gptq"));
    const { checkpoint } = file;
    const name = "model.layers.0.mlp.up_proj";
    const whole = await checkpoint.readF32(`${name}.weight`);
    const codes = () => {
      const { read, bytes } = file.reads().get(`${name}.qweight`)!;
      return read / bytes;
    };
    assert.equal(codes(), 1);
    const parts = [[0, 32], [32, 64], [64, 96]].map(([from, to]) =>
      checkpoint.readF32(`${name}.weight`, from, to)
    );
    assert.deepEqual(
      (await Promise.all(parts)).flatMap((part) => [...part]),
      [...whole],
    );
    assert.equal(codes(), 2);
    // Those of another weight take their place.
    await checkpoint.readF32(`${name}.weight`, 0, 32);
    await checkpoint.readF32("model.layers.1.mlp.up_proj.weight", 0, 32);
    await checkpoint.readF32(`${name}.weight`, 32, 64);
    assert.equal(codes(), 4);
  }));
