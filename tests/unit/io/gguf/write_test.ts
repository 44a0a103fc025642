import assert from "node:assert/strict";
import { openGguf } from "../../../../src/io/gguf/file.ts";
import {
  ggufHeader,
  ggufPair,
  GgufWriter,
} from "../../../../src/io/gguf/write.ts";
import { bytesSource, memorySink } from "../../../../src/io/files/sources.ts";
import { goldenSource, rejects } from "../helpers.ts";

const ENTRIES = [
  { name: "a.weight", type: "Q4_1", shape: [3, 64] },
  { name: "b.weight", type: "F32", shape: [5] },
  { name: "c.weight", type: "F16", shape: [1, 2, 3] },
];

async function written(
  pairs: readonly Uint8Array[],
  alignment?: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const layout = ggufHeader(pairs, ENTRIES, alignment);
  const sink = memorySink("made.gguf");
  const writer = await GgufWriter.open(sink, layout);
  for (const [i, { name, bytes }] of layout.entries.entries()) {
    const half = bytes >> 1;
    await writer.write(name, new Uint8Array(half).fill(i + 1));
    await writer.write(name, new Uint8Array(bytes - half).fill(i + 1));
  }
  await writer.close();
  assert.equal(sink.bytes().length, layout.size);
  return sink.bytes();
}

for (const alignment of [32, 128]) {
  Deno.test(`a written GGUF file aligned to ${alignment} is read back`, async () => {
    const bytes = await written([
      ggufPair("general.alignment", "u32", alignment),
      ggufPair("a.text", "string", "naïve ▁"),
      ggufPair("a.flag", "bool", true),
      ggufPair("a.number", "f32", 0.1),
      ggufPair("a.list", "string", ["", "b"]),
      ggufPair("a.types", "i32", [-1, 3]),
      ggufPair("a.scores", "f32", Float32Array.of(-1.5, 2)),
    ], alignment);
    const file = await openGguf(bytesSource(bytes, "made.gguf"));
    assert.deepEqual(Object.fromEntries(file.metadata), {
      "general.alignment": alignment,
      "a.text": "naïve ▁",
      "a.flag": true,
      "a.number": Math.fround(0.1),
      "a.list": ["", "b"],
      "a.types": Int32Array.of(-1, 3),
      "a.scores": Float32Array.of(-1.5, 2),
    });
    assert.deepEqual(
      [...file.tensors.values()].map(({ name, type, shape }) => ({
        name,
        type: type.name,
        shape,
      })),
      ENTRIES,
    );
    for (const [i, tensor] of [...file.tensors.values()].entries()) {
      assert.equal(tensor.offset % alignment, 0);
      const rows = await file.readRows(tensor, 0, tensor.shape[0]);
      assert.ok(rows.length > 0 && rows.every((byte) => byte === i + 1));
    }
  });
}

Deno.test("metadata pairs of a GGUF file can be copied as they are", async () => {
  await using source = await goldenSource("llama.gguf");
  const file = await openGguf(source);
  const pairs = await Promise.all(
    [...file.metadata.keys()].map((key) => file.readPair(key)),
  );
  const copy = await openGguf(
    bytesSource(await written(pairs), "made.gguf"),
  );
  assert.deepEqual(copy.metadata, file.metadata);
  await rejects(() => file.readPair("none"), TypeError, "none", "llama.gguf");
});

Deno.test("ggufPair() refuses numbers that do not fit", () => {
  for (const value of [-1, 1.5, 2 ** 32, NaN]) {
    assert.throws(
      () => ggufPair("key", "u32", value),
      (error: Error) =>
        error instanceof RangeError && /key/.test(error.message),
    );
  }
  assert.throws(() => ggufPair("key", "i32", [0, 2 ** 31]), RangeError);
});

Deno.test("ggufHeader() refuses what is no tensor of its type", () => {
  const refuse = (entries: typeof ENTRIES, part: string) =>
    assert.throws(
      () => ggufHeader([], entries),
      (e: Error) => e instanceof TypeError && e.message.includes(part),
    );
  refuse([{ name: "a", type: "Q4_1", shape: [3, 40] }], "[3, 40]");
  refuse([{ name: "a", type: "F32", shape: [0] }], "[0]");
  refuse([{ name: "a", type: "F32", shape: [1, 1, 1, 1, 1] }], "no shape");
  refuse([{ name: "a", type: "Q9_9", shape: [1] }], "Q9_9");
  refuse([ENTRIES[1], ENTRIES[1]], "declared already");
});

Deno.test("GgufWriter takes tensors in their order, whole", async () => {
  const layout = ggufHeader([], ENTRIES);
  const sink = memorySink("made.gguf");
  const writer = await GgufWriter.open(sink, layout);
  await rejects(
    () => writer.write("b.weight", new Uint8Array(20)),
    TypeError,
    "b.weight",
    "the turn of",
  );
  await writer.write("a.weight", new Uint8Array(100));
  await rejects(() => writer.close(), TypeError, "a.weight", "120", "100");
  await rejects(
    () => writer.write("a.weight", new Uint8Array(21)),
    TypeError,
    "120",
    "121",
  );
});
