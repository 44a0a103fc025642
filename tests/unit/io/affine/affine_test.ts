import assert from "node:assert/strict";
import type { Checkpoint } from "../../../../src/io/checkpoint/checkpoint.ts";
import type { QuantizedShape } from "../../../../src/quant/quantized.ts";
import { dequantizeRows } from "../../../../src/io/checkpoint/dequantize.ts";
import { openFileSet } from "../../../../src/io/recognise.ts";
import { hqqEntries, hqqTensors } from "../../../../src/io/affine/hqq_write.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../../../../src/io/safetensors/write.ts";
import { memorySink } from "../../../../src/io/files/sources.ts";
import { format } from "../../../../src/quant/formats.ts";
import type { DType } from "../../../../src/tensor/dtype.ts";
import { assertAllClose, assertBytes } from "../../../helpers/assert.ts";
import { files, rawSafetensors, rejects } from "../helpers.ts";

const GOLDEN = new URL("../../../golden/affine/", import.meta.url);

interface Golden {
  readonly model: Checkpoint;
  readonly values: Checkpoint;
}

/** A golden checkpoint and the values that its maker says it stands for. */
async function open(name: string): Promise<Golden> {
  const read = (file: string) => Deno.readFile(new URL(file, GOLDEN));
  const config = await read(`${name}.json`).catch(() => "{}");
  return {
    model: await openFileSet(files({
      "model.safetensors": await read(`${name}.safetensors`),
      "config.json": config,
    }, name)),
    values: await openFileSet(files({
      "model.safetensors": await read(`${name}-values.safetensors`),
    })),
  };
}

const LAYOUTS = {
  mlx: ["mlx"],
  hqq: ["hqq"],
  gptq: ["gptq-v1-4", "gptq-v2-4", "gptq-v1-3", "gptq-v2-3", "gptq-v1-2"],
} as const;

for (const [layout, names] of Object.entries(LAYOUTS)) {
  for (const name of names) {
    Deno.test(`${name}: the values that its own program decodes, whole and by rows`, async () => {
      await using model = (await open(name)).model;
      await using values = (await open(name)).values;
      assert.equal(model.format, layout);
      for (const [key, { shape }] of values.tensors) {
        const wanted = await values.readF32(key);
        assert.deepEqual(model.tensors.get(key)?.shape, shape, key);
        const got = await model.readF32(key);
        // HQQ takes (code - zero) * scale, whose roundings are others than ours.
        if (layout === "hqq") assertAllClose(got, wanted, { atol: 4e-8 });
        else {assertBytes(
            new Uint8Array(got.buffer),
            new Uint8Array(wanted.buffer),
            key,
          );}
        const cols = shape[1];
        assert.deepEqual(
          await model.readF32(key, 1, 5),
          got.slice(cols, 5 * cols),
        );
      }
    });

    Deno.test(`${name}: readQuantized gives the matrix behind the values`, async () => {
      const { model, values } = await open(name);
      let found = 0;
      for (const key of values.tensors.keys()) {
        const q = await model.readQuantized!(key);
        if (q === undefined) continue;
        found++;
        const decoded = dequantizeRows(
          format(q.format),
          q,
          [0, q.rows],
          { codes: q.codes, scales: q.scales, biases: q.biases },
        );
        assert.deepEqual(decoded, await model.readF32(key));
        assert.equal(model.tensors.get(key)!.encoding, q.format);
      }
      assert.ok(found > 0);
    });
  }
}

Deno.test("MLX: overrides, types, embeddings of 8 bits, plain tensors", async () => {
  const { model } = await open("mlx");
  const layer = (name: string) => `model.layers.0.${name}.weight`;
  const shapes: Record<string, unknown> = {};
  for (const name of ["q_proj", "k_proj", "v_proj"]) {
    const { format, block } = (await model.readQuantized!(layer(name)))!;
    shapes[name] = [format, block, model.tensors.get(layer(name))!.dtype];
  }
  assert.deepEqual(shapes, {
    q_proj: ["int4", 32, "f16"],
    k_proj: ["int3", 64, "f32"],
    v_proj: ["int2", 128, "bf16"],
  });
  const embedding = "model.embed_tokens.weight";
  assert.equal(await model.readQuantized!(embedding), undefined);
  assert.equal(model.tensors.get(embedding)!.encoding, "int8");
  const q = (await model.readQuantized!(layer("o_proj")))!;
  assert.ok(q.scales.some((s) => s < 0), "MLX's scales may be negative");
  assert.deepEqual(
    [...model.tensors.keys()].filter((key) => !key.endsWith(".weight")),
    ["model.layers.0.q_proj.bias"],
  );
  assert.equal(model.tensors.get("model.norm.weight")!.encoding, "F32");
});

Deno.test("HQQ with axis=0 and GPTQ with reordered columns are refused with the reason", async () => {
  await rejects(
    () => open("hqq-axis0"),
    TypeError,
    "model.layers.4.fc",
    "axis 0",
    "along the input",
  );
  await rejects(
    () => open("gptq-act-order"),
    TypeError,
    "model.layers.0.fc",
    "act-order",
    "g_idx",
  );
});

/** A golden file under another config. */
async function reopen(
  name: string,
  change: (config: Record<string, unknown>) => unknown,
): Promise<Checkpoint> {
  const config = JSON.parse(
    await Deno.readTextFile(new URL(`${name}.json`, GOLDEN)),
  );
  return await openFileSet(files({
    "model.safetensors": await Deno.readFile(
      new URL(`${name}.safetensors`, GOLDEN),
    ),
    "config.json": JSON.stringify(change(config)),
  }, name));
}

Deno.test("MLX: a config that does not fit names every layer that it does not fit", async () => {
  const wrong = (quantization: unknown) => () =>
    reopen("mlx", (config) => ({ ...config, quantization }));
  await rejects(wrong(undefined), SyntaxError, 'no object "quantization"');
  await rejects(
    wrong({ group_size: 32, bits: 4 }),
    SyntaxError,
    "model.layers.0.k_proj",
    "model.layers.0.v_proj",
    "scales: wanted f16 or bf16 or f32 [6, 6], got f32 [6, 4]",
  );
  await rejects(wrong({ group_size: 48, bits: 4 }), SyntaxError, '"48"');
  await rejects(
    wrong({ group_size: 32, bits: 4, mode: "mxfp4" }),
    TypeError,
    '"mxfp4", wanted affine',
  );
});

Deno.test("GPTQ: other methods, widths and layouts are refused, sizes that do not fit listed", async () => {
  const wrong = (change: Record<string, unknown>) => () =>
    reopen("gptq-v2-4", (config) => ({
      ...config,
      quantization_config: {
        ...config.quantization_config as Record<string, unknown>,
        ...change,
      },
    }));
  await rejects(wrong({ quant_method: "awq" }), TypeError, "awq", "gptq");
  await rejects(wrong({ bits: 8 }), TypeError, "2, 3 or 4 bits");
  await rejects(wrong({ group_size: 0 }), TypeError, "group_size");
  await rejects(
    wrong({ checkpoint_format: "gptq_p" }),
    TypeError,
    "gptq_p",
    "gptq_v2",
  );
  await rejects(
    wrong({ bits: 2 }),
    SyntaxError,
    "model.layers.0.fc",
    "qzeros: wanted i32 [8, 2], got i32 [4, 4]",
  );
});

Deno.test("GPTQ: layers of other widths by dynamic, and settings in another file, are named", async () => {
  const open = (change: (block: Record<string, unknown>) => unknown) => () =>
    reopen("gptq-v2-4", (config) => ({
      ...config,
      quantization_config: change(
        config.quantization_config as Record<string, unknown>,
      ),
    }));
  const dynamic = (dynamic: unknown) =>
    open((block) => ({ ...block, dynamic }));
  await rejects(
    dynamic({ "-:.*lm_head": {}, "+:.*fc": { bits: 8 } }),
    TypeError,
    "4 bits in groups of",
    'for all layers, got "{\\"dynamic\\":{\\"+:.*fc\\":{\\"bits\\":8}}}"',
  );
  await rejects(dynamic({ fc: { group_size: 16 } }), TypeError, "dynamic");
  await dynamic({ "-:.*lm_head": {}, "+:.*fc": { bits: 4 } })();
  await dynamic(null)();
  await rejects(
    open(() => undefined),
    TypeError,
    "quantize_config.json; copy them there",
  );
});

Deno.test("GPTQ: a version that puts all symmetric zeros beside the middle is refused", async () => {
  const layer = (stored: number) => {
    const [rows, cols, groups] = [16, 64, 8];
    const words = new Uint32Array(groups * rows / 8).fill(stored * 0x11111111);
    const sizes = {
      qweight: [cols / 8, rows],
      qzeros: [groups, rows / 8],
      scales: [groups, rows],
    };
    const data = [
      new Uint8Array(cols / 8 * rows * 4),
      new Uint8Array(words.buffer),
      new Uint8Array(groups * rows * 4),
    ];
    let at = 0;
    const header = Object.fromEntries(
      Object.entries(sizes).map(([key, shape], i) => [`layers.0.fc.${key}`, {
        dtype: key === "scales" ? "F32" : "I32",
        shape,
        data_offsets: [at, at += data[i].length],
      }]),
    );
    return rawSafetensors(
      header,
      new Uint8Array(data.flatMap((part) => [...part])),
    );
  };
  const open = (version: string, stored: number, sym?: boolean) =>
    openFileSet(files({
      "model.safetensors": layer(stored),
      "config.json": JSON.stringify({
        quantization_config: {
          quant_method: "gptq",
          bits: 4,
          group_size: 8,
          checkpoint_format: version,
          ...(sym !== undefined && { sym }),
        },
      }),
    }));
  for (const sym of [true, undefined]) {
    await open("gptq", 7, sym);
    await open("gptq_v2", 8, sym);
    await rejects(
      () => open("gptq", 8, sym),
      TypeError,
      "by its checkpoint_format gptq every zero is 9, by gptq_v2 it is 8",
      'correct checkpoint_format in config.json to "gptq_v2"',
    );
    await rejects(
      () => open("gptq_v2", 7, sym),
      TypeError,
      "every zero is 7, by gptq it is 8",
    );
  }
  await open("gptq", 3);
});

/** An HQQ layer of zeros; `change` alters its tensors. */
async function hqqLayer(
  change: (tensors: Map<string, HqqPart>) => void,
  shape: QuantizedShape = { format: "int4", rows: 4, cols: 64, block: 32 },
): Promise<Checkpoint> {
  const bits = format(shape.format).bits;
  const groups = shape.rows * Math.ceil(shape.cols / shape.block);
  const encoded = hqqTensors("a", {
    ...shape,
    codes: new Uint8Array(shape.rows * Math.ceil(shape.cols * bits / 8)),
    scales: new Float32Array(groups).fill(1),
    biases: new Float32Array(groups),
  }, "f32");
  const tensors = new Map<string, HqqPart>(
    hqqEntries("a", shape, "f32").map(({ name, dtype, shape }, i) => [
      name,
      { dtype, shape, bytes: encoded.tensors[i].bytes },
    ]),
  );
  change(tensors);
  const sink = memorySink("hqq");
  const layout = safetensorsHeader(
    [...tensors].map(([name, part]) => ({ name, ...part })),
  );
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const { name } of layout.entries) {
    await writer.write(name, tensors.get(name)!.bytes);
  }
  await writer.close();
  return await openFileSet(files({ "model.safetensors": sink.bytes() }));
}

interface HqqPart {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const whole = (value: number): HqqPart => ({
  dtype: "i32",
  shape: [],
  bytes: new Uint8Array(Int32Array.of(value).buffer),
});

Deno.test("HQQ: parts that are missing, of another size or of another kind are refused by layer and key", async () => {
  await using fine = await hqqLayer(() => {});
  assert.deepEqual(await fine.readF32("a.weight"), new Float32Array(256));
  const wrong = (
    change: (tensors: Map<string, HqqPart>) => void,
    type: typeof SyntaxError | typeof TypeError,
    ...parts: string[]
  ) => rejects(() => hqqLayer(change), type, '"folder" as HQQ', ...parts);
  await wrong((t) => t.delete("a.zero"), SyntaxError, '"a": zero: wanted f16');
  await wrong((t) => t.delete("a.axis"), SyntaxError, '"a": axis: wanted i32');
  await wrong(
    (t) => t.set("a.group_size", whole(64)),
    SyntaxError,
    "scale: wanted f16 or bf16 or f32 [4, 1], got f32 [8, 1]",
  );
  await wrong(
    (t) => t.set("a.group_size", whole(0)),
    SyntaxError,
    "groups of 0",
  );
  await wrong((t) => t.set("a.nbits", whole(8)), TypeError, "a: 8 bits");
  await wrong(
    (t) => t.set("a.nbits", whole(2)),
    TypeError,
    '2 bits packed as "4bit_u8"',
  );
  await wrong((t) => t.set("a.group_size", whole(48)), TypeError, "straddle");
  await wrong(
    (t) => t.set("a.scale_q", whole(1)),
    TypeError,
    "scales or zeros are quantised",
  );
});

Deno.test("HQQ: a layer whose shape claims more than the file holds is refused before anything is allocated", async () => {
  const shape: HqqPart = {
    dtype: "i64",
    shape: [2],
    bytes: new Uint8Array(BigInt64Array.of(1n << 20n, 1n << 20n).buffer),
  };
  await rejects(
    () => hqqLayer((t) => t.set("a.shape", shape)),
    SyntaxError,
    "scale: wanted",
  );
});
