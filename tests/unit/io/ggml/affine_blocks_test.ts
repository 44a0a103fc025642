import assert from "node:assert/strict";
import {
  affineBlockType,
  blocksHold,
  decodeQ41Matrix,
  encodeQ41,
} from "../../../../src/io/ggml/affine_blocks.ts";
import { decodeBlocks, ggufTypeNamed } from "../../../../src/io/ggml/types.ts";
import { openGguf } from "../../../../src/io/gguf/file.ts";
import { openGgufCheckpoint } from "../../../../src/io/gguf/checkpoint.ts";
import { FORMATS } from "../../../../src/quant/formats.ts";
import type { FormatName } from "../../../../src/quant/formats.ts";
import { codesOf, packMatrix } from "../../../../src/quant/pack.ts";
import type { QuantizedMatrix } from "../../../../src/quant/quantized.ts";
import { Random } from "../../../../src/tensor/random.ts";
import { goldenSource } from "../helpers.ts";

const TYPES = ["Q4_1", "Q5_1"] as const;

/** Random codes with scales and biases that f16 holds. */
function someMatrix(
  format: FormatName,
  { rows = 6, cols, block }: { rows?: number; cols: number; block: number },
): QuantizedMatrix {
  const random = new Random(3, format);
  const spec = FORMATS[format];
  const groups = rows * Math.ceil(cols / (block || cols));
  const halves = () =>
    Float32Array.from(new Float16Array(random.normals(groups)));
  return {
    format,
    rows,
    cols,
    block,
    codes: packMatrix(spec, {
      rows,
      cols,
      codes: Uint8Array.from(
        { length: rows * cols },
        () => Math.floor(random.uniform() * 2 ** spec.bits),
      ),
    }),
    scales: halves(),
    biases: halves(),
  };
}

for (
  const [format, cols, block] of [
    ["int4", 96, 32],
    ["int3", 96, 64],
    ["int2", 160, 128],
    ["int4", 64, 0],
    ["int5", 96, 32],
    ["int5", 160, 0],
  ] as const
) {
  const types = TYPES.filter((type) => blocksHold(type, format));
  Deno.test(`${types.join(" and ")} blocks hold ${format} in groups of ${block} exactly`, () => {
    const q = someMatrix(format, { cols, block });
    for (const type of types) holds(q, type);
  });
}

function holds(q: QuantizedMatrix, type: typeof TYPES[number]): void {
  const { cols, block } = q;
  const { bytes, scales, biases } = encodeQ41(q, { name: "w", type });
  assert.deepEqual(Float32Array.from(scales), q.scales);
  assert.deepEqual(Float32Array.from(biases), q.biases);
  const codes = codesOf(q);
  const size = block || cols;
  const groups = Math.ceil(cols / size);
  const wanted = Float32Array.from(codes, (code, i) => {
    const group = Math.floor(i / cols) * groups +
      Math.floor(i % cols / size);
    return q.scales[group] * code + q.biases![group];
  });
  assert.deepEqual(decodeBlocks(ggufTypeNamed(type), bytes), wanted);
  const back = decodeQ41Matrix(bytes, { ...q, type });
  assert.equal(back.format, q.format === "int5" ? "int5" : "int4");
  assert.equal(back.block, 32);
  assert.deepEqual(codesOf(back), codes);
  assert.deepEqual(encodeQ41(back, { name: "w", type }).bytes, bytes);
}

Deno.test("one fifth bit in Q5_1 blocks makes all codes 5 bits", () => {
  const q = someMatrix("int4", { cols: 64, block: 32 });
  const { bytes } = encodeQ41(q, { name: "w", type: "Q5_1" });
  bytes[24 + 4 + 3] = 0x80;
  const back = decodeQ41Matrix(bytes, { ...q, type: "Q5_1" });
  assert.equal(back.format, "int5");
  const codes = codesOf(q);
  codes[32 + 31] += 16;
  assert.deepEqual(codesOf(back), codes);
});

Deno.test("encodeQ41() puts rows where the file wants them", () => {
  const q = someMatrix("int4", { cols: 32, block: 32 });
  const plain = encodeQ41(q, { name: "w" }).bytes;
  const turned = encodeQ41(q, { name: "w", rowOf: (row) => 5 - row }).bytes;
  for (let row = 0; row < 6; row++) {
    assert.deepEqual(
      turned.slice(20 * (5 - row), 20 * (6 - row)),
      plain.slice(20 * row, 20 * (row + 1)),
    );
  }
});

Deno.test("encodeQ41() refuses what the blocks cannot hold", () => {
  const refuse = (
    q: QuantizedMatrix,
    type: ErrorConstructor,
    ...parts: string[]
  ) =>
    assert.throws(
      () => encodeQ41(q, { name: "a.weight" }),
      (e: Error) =>
        e instanceof type && parts.every((part) => e.message.includes(part)),
    );
  const q = someMatrix("int4", { cols: 96, block: 32 });
  refuse({ ...q, block: 48 }, TypeError, "a.weight", "48");
  refuse({ ...q, cols: 80 }, TypeError, "80 columns");
  refuse(
    someMatrix("int5", { cols: 96, block: 32 }),
    TypeError,
    "at most 4 bits",
    "int5",
  );
  refuse({ ...q, format: "nf4" }, TypeError, "nf4", "int5, int4, int3, int2");
  const scales = q.scales.slice();
  scales[4] = 1e6;
  refuse({ ...q, scales }, RangeError, "1000000", "row 1", "f16");
});

Deno.test("readQuantized() of a GGUF checkpoint has the values of its Q4_1 and Q5_1 tensors", async () => {
  await using source = await goldenSource("llama.gguf");
  const types = new Map(
    [...(await openGguf(source)).tensors.values()].map((
      { type, shape },
    ) => [`${type.name} ${shape.length}`, type]),
  );
  for (const type of TYPES) {
    assert.ok(types.has(`${type} 2`), `the golden file has ${type}`);
  }
  await using model = await openGgufCheckpoint(
    await goldenSource("llama.gguf"),
  );
  let found = 0;
  for (const { name, encoding, shape } of model.tensors.values()) {
    const q = await model.readQuantized!(name);
    const type = affineBlockType(encoding);
    assert.equal(q !== undefined, type !== undefined && shape.length === 2);
    if (!q) continue;
    assert.equal(q.format, type === "Q5_1" ? "int5" : "int4");
    found++;
    const codes = codesOf(q);
    assert.deepEqual(
      codes.reduce((out, code, i) => {
        const group = Math.floor(i / 32);
        out[i] = q.scales[group] * code + q.biases![group];
        return out;
      }, new Float32Array(codes.length)),
      await model.readF32(name),
      name,
    );
  }
  assert.ok(found > 0);
});
