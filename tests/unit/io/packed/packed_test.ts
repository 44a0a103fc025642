import assert from "node:assert/strict";
import {
  dequantizeRows,
  storedRange,
  storedSizes,
} from "../../../../src/io/checkpoint/dequantize.ts";
import { openFileSet } from "../../../../src/io/recognise.ts";
import {
  packedEntries,
  packedMetadata,
  packedTensors,
} from "../../../../src/io/packed/packed.ts";
import { packedConfig } from "../../../../src/io/packed/config.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../../../../src/io/safetensors/write.ts";
import { memorySink } from "../../../../src/io/files/sources.ts";
import { quantSizes } from "../../../../src/device/quant_mat.ts";
import { format, FORMAT_NAMES } from "../../../../src/quant/formats.ts";
import type { FormatName } from "../../../../src/quant/formats.ts";
import { codesOf, packMatrix } from "../../../../src/quant/pack.ts";
import type { QuantizedMatrix } from "../../../../src/quant/quantized.ts";
import { files, rejects, values } from "../helpers.ts";

function matrix(
  name: FormatName,
  rows: number,
  cols: number,
  block: number,
): QuantizedMatrix {
  const spec = format(name);
  const { blocks } = quantSizes(spec, rows, cols, block);
  const codes = Uint8Array.from(
    values(rows * cols),
    (x) => Math.floor((x + 1) / 2 * (1 << spec.bits)),
  );
  return {
    format: name,
    rows,
    cols,
    block,
    codes: packMatrix(spec, { rows, cols, codes }),
    scales: values(blocks, 7),
    ...(spec.levels === null ? { biases: values(blocks, 8) } : {}),
  };
}

function decoded(q: QuantizedMatrix): Float32Array {
  const spec = format(q.format);
  const codes = codesOf(q);
  const flat = spec.grouping === "flat";
  const length = flat ? q.rows * q.cols : q.cols;
  const block = q.block || length;
  return Float32Array.from(codes, (code, i) => {
    const b = flat
      ? Math.floor(i / block)
      : Math.floor(i / q.cols) * Math.ceil(q.cols / block) +
        Math.floor(i % q.cols / block);
    return spec.levels === null
      ? Math.fround(q.scales[b] * code) + q.biases![b]
      : q.scales[b] * spec.levels[code];
  });
}

const SHAPES: [number, number, number][] = [
  [8, 64, 32],
  [5, 37, 16],
  [1, 1, 64],
  [3, 10, 0],
  [9, 7, 4],
];

for (const name of FORMAT_NAMES) {
  Deno.test(`dequantizeRows() of ${name} needs only what storedRange() names`, () => {
    const spec = format(name);
    for (const [rows, cols, block] of SHAPES) {
      const q = matrix(name, rows, cols, block);
      const sizes = quantSizes(spec, rows, cols, block);
      assert.deepEqual(storedSizes(spec, q), sizes);
      const whole = decoded(q);
      for (let from = 0; from <= rows; from++) {
        for (let to = from; to <= rows; to++) {
          const range = storedRange(spec, q, [from, to]);
          const got = dequantizeRows(spec, q, [from, to], {
            codes: q.codes.slice(...range.codes),
            scales: q.scales.slice(...range.blocks),
            biases: q.biases?.slice(...range.blocks),
          });
          assert.deepEqual(
            got,
            whole.slice(from * cols, to * cols),
            `${rows} x ${cols} / ${block}: ${from} ${to}`,
          );
        }
      }
    }
  });
}

async function written(
  weights: Map<string, QuantizedMatrix>,
  metadata = packedMetadata(weights),
  skip?: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const entries = [...weights].flatMap(([name, q]) => packedEntries(name, q));
  const layout = safetensorsHeader(
    [...entries, { name: "norm.weight", dtype: "f32" as const, shape: [2] }]
      .filter(({ name }) => name !== skip),
    metadata,
  );
  const sink = memorySink("out");
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const [weight, q] of weights) {
    for (const { name, bytes } of packedTensors(weight, q)) {
      if (name !== skip) await writer.write(name, bytes);
    }
  }
  await writer.write(
    "norm.weight",
    new Uint8Array(Float32Array.of(1, 2).buffer),
  );
  await writer.close();
  return sink.bytes();
}

const WEIGHTS = new Map(
  FORMAT_NAMES.flatMap((name) =>
    SHAPES.map(([rows, cols, block], i): [string, QuantizedMatrix] => [
      `${name}.${i}.weight`,
      matrix(name, rows, cols, block),
    ])
  ),
);

Deno.test("a packed file comes back, matrices and values", async () => {
  await using model = await openFileSet(files({
    "config.json": JSON.stringify(packedConfig({})),
    "model.safetensors": await written(WEIGHTS),
  }));
  assert.equal(model.format, "packed");
  assert.deepEqual(
    [...model.tensors.keys()].sort(),
    [...WEIGHTS.keys(), "norm.weight"].sort(),
  );
  assert.deepEqual(await model.readF32("norm.weight"), Float32Array.of(1, 2));
  for (const [name, q] of WEIGHTS) {
    assert.equal(model.tensors.get(name)!.encoding, q.format);
    assert.deepEqual(model.tensors.get(name)!.shape, [q.rows, q.cols]);
    assert.deepEqual(await model.readQuantized!(name), q);
    assert.deepEqual(await model.readF32(name), decoded(q));
    assert.deepEqual(
      await model.readF32(name, q.rows - 1, q.rows),
      decoded(q).slice(-q.cols),
    );
  }
});

const ONE = new Map([["a.weight", matrix("int4", 4, 32, 32)]]);

function described(
  change: Record<string, unknown>,
  version: unknown = 1,
): Record<string, string> {
  const { weights } = JSON.parse(packedMetadata(ONE)["loqa.packed"]);
  return {
    "loqa.packed": JSON.stringify({
      version,
      weights: { "a.weight": { ...weights["a.weight"], ...change } },
    }),
  };
}

const BAD: Record<string, [Record<string, string>, ...string[]]> = {
  "an unknown format": [described({ format: "int7" }), `"int7"`],
  "an inherited format": [described({ format: "toString" }), `"toString"`],
  "other bits": [described({ bits: 3 }), "4 bits"],
  "another order": [described({ order: "high" }), "order low"],
  "another shape": [described({ shape: [4, 64] }), "codes", "scales"],
  "an absurd shape": [described({ shape: [2 ** 40, 2 ** 40] }), "too large"],
  "a negative shape": [described({ shape: [-4, 32] }), "shape"],
  "another block": [described({ block: 8 }), "scales"],
  "a block that is no number": [described({ block: "32" }), "block"],
  "no JSON": [{ "loqa.packed": "{" }, "JSON"],
};

for (const [what, [metadata, ...parts]] of Object.entries(BAD)) {
  Deno.test(`a packed file with ${what} is refused`, async () => {
    const bytes = await written(ONE, metadata);
    await rejects(
      () => openFileSet(files({ "model.safetensors": bytes })),
      SyntaxError,
      "folder",
      ...(what === "no JSON" ? [] : [`"a.weight"`]),
      ...parts,
    );
  });
}

Deno.test("a packed file without its biases is refused", async () => {
  const bytes = await written(ONE, packedMetadata(ONE), "a.weight.biases");
  await rejects(
    () => openFileSet(files({ "model.safetensors": bytes })),
    SyntaxError,
    `"a.weight"`,
    "biases",
  );
});

Deno.test("a packed file of a later version is refused", async () => {
  const bytes = await written(ONE, described({}, 2));
  await rejects(
    () => openFileSet(files({ "model.safetensors": bytes })),
    RangeError,
    "version 1",
    `"2"`,
  );
});
