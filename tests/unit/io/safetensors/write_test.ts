import assert from "node:assert/strict";
import { openSafetensors } from "../../../../src/io/safetensors/read.ts";
import {
  safetensorsHeader,
  SafetensorsWriter,
} from "../../../../src/io/safetensors/write.ts";
import type { SafetensorsEntry } from "../../../../src/io/safetensors/write.ts";
import { bytesSource, memorySink } from "../../../../src/io/files/sources.ts";
import { fileSink } from "../../../../src/io/files/deno.ts";
import { inFolder, rejects } from "../helpers.ts";

const ENTRIES: SafetensorsEntry[] = [
  { name: "a", dtype: "u8", shape: [3] },
  { name: "b", dtype: "f32", shape: [2, 4] },
  { name: "none", dtype: "f32", shape: [0, 4] },
  { name: "c", dtype: "bf16", shape: [5] },
  { name: "d", dtype: "f64", shape: [2] },
  { name: "e", dtype: "f32", shape: [] },
];

function contents(name: string, bytes: number): Uint8Array {
  return Uint8Array.from(
    { length: bytes },
    (_, i) => name.charCodeAt(0) + i & 255,
  );
}

async function written(order: string[], chunk: number): Promise<Uint8Array> {
  const layout = safetensorsHeader(ENTRIES, { format: "pt", by: "ünit" });
  const sink = memorySink("out");
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const name of order) {
    const { bytes } = layout.entries.find((e) => e.name === name)!;
    const data = contents(name, bytes);
    for (let at = 0; at < bytes; at += chunk) {
      await writer.write(name, data.subarray(at, at + chunk));
    }
  }
  await writer.close();
  return sink.bytes();
}

Deno.test("what SafetensorsWriter writes, openSafetensors() reads", async () => {
  const bytes = await written(["a", "b", "c", "d", "e"], 5);
  const file = await openSafetensors(bytesSource(bytes, "out"));
  assert.equal(file.metadata.get("by"), "ünit");
  for (const { name, dtype, shape } of ENTRIES) {
    const tensor = file.tensors.get(name)!;
    assert.equal(tensor.dtype, dtype);
    assert.deepEqual(tensor.shape, shape);
    assert.deepEqual(
      new Uint8Array(await file.read(name)),
      contents(name, tensor.bytes),
    );
  }
});

Deno.test("SafetensorsWriter aligns every tensor to its type and gives the same bytes for any chunks", async () => {
  const bytes = await written(["a", "b", "c", "d", "e"], 1);
  assert.deepEqual(await written(["e", "c", "b", "a", "d"], 1000), bytes);
  const layout = safetensorsHeader(ENTRIES, { format: "pt", by: "ünit" });
  assert.equal(layout.size, bytes.length);
  assert.equal(layout.header.length % 8, 0);
  const width = { u8: 1, f32: 4, bf16: 2, f64: 8 } as Record<string, number>;
  for (const { dtype, offset } of layout.entries) {
    assert.equal(offset % width[dtype], 0);
  }
});

Deno.test("safetensorsHeader() refuses names twice, reserved names and bad shapes", () => {
  const e = (name: string, shape: number[]): SafetensorsEntry => ({
    name,
    dtype: "f32",
    shape,
  });
  for (
    const list of [
      [e("x", [1]), e("x", [2])],
      [e("__metadata__", [1])],
      [e("x", [-1])],
      [e("x", [0.5])],
      [e("x", [2 ** 30, 2 ** 30])],
    ]
  ) {
    assert.throws(
      () => safetensorsHeader(list),
      (error) =>
        error instanceof TypeError && /"(x|__metadata__)"/.test(error.message),
    );
  }
});

Deno.test("SafetensorsWriter refuses strangers, a wrong order, too much and too little", async () => {
  const layout = safetensorsHeader([
    { name: "x", dtype: "f32", shape: [2] },
    { name: "y", dtype: "f32", shape: [2] },
  ]);
  const sink = memorySink("out.safetensors");
  const writer = await SafetensorsWriter.open(sink, layout);
  const eight = new Uint8Array(8);
  await rejects(() => writer.write("z", eight), TypeError, `"z"`);
  await rejects(() => writer.write("y", eight), TypeError, `"y"`, `"x"`);
  await rejects(() => writer.write("x", new Uint8Array(9)), TypeError, "9");
  await writer.write("x", eight);
  await rejects(() => writer.write("x", eight), TypeError, `"x"`);
  await writer.write("y", eight.subarray(4));
  await rejects(() => writer.close(), TypeError, "out.safetensors", `"y"`);
});

Deno.test("SafetensorsWriter goes on with an interrupted file to the same bytes", async () => {
  await inFolder(async (folder) => {
    const whole = await written(["a", "b", "c", "d", "e"], 1000);
    const layout = safetensorsHeader(ENTRIES, { format: "pt", by: "ünit" });
    const path = `${folder}/m.safetensors`;
    const b = layout.entries.find((e) => e.name === "b")!;
    {
      await using sink = await fileSink(path, { resumeAt: 0 });
      const writer = await SafetensorsWriter.open(sink, layout);
      await writer.write("a", contents("a", 3));
      await writer.write("b", contents("b", 32));
      await writer.write("d", contents("d", 16).subarray(0, 7));
    }
    await using sink = await fileSink(path, { resumeAt: b.offset + b.bytes });
    const writer = await SafetensorsWriter.open(sink, layout);
    assert.deepEqual(
      ENTRIES.map(({ name }) => writer.has(name)),
      [false, true, true, false, false, false],
    );
    for (const name of ["a", "c", "d", "e"]) {
      const { bytes } = layout.entries.find((e) => e.name === name)!;
      await writer.write(name, contents(name, bytes));
    }
    await writer.close();
    assert.deepEqual(await Deno.readFile(path), whole);
  });
});

Deno.test("SafetensorsWriter does not go on in the middle of a tensor", async () => {
  await inFolder(async (folder) => {
    const layout = safetensorsHeader(ENTRIES);
    const path = `${folder}/m`;
    {
      await using sink = await fileSink(path, { resumeAt: 0 });
      const writer = await SafetensorsWriter.open(sink, layout);
      await writer.write("b", new Uint8Array(32));
    }
    await using sink = await fileSink(path, {
      resumeAt: layout.header.length + 8,
    });
    await rejects(() => SafetensorsWriter.open(sink, layout), RangeError, path);
  });
});
