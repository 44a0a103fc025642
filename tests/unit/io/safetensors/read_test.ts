import assert from "node:assert/strict";
import { openSafetensors } from "../../../../src/io/safetensors/read.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import { openSafetensorsFile } from "../../../../src/io/safetensors/store.ts";
import {
  files,
  goldenBytes,
  goldenJson,
  goldenSource,
  rawSafetensors,
  rejects,
  sha256,
} from "../helpers.ts";

interface Golden {
  shape: number[];
  sha256: string;
  f32: string | null;
}

Deno.test("openSafetensors() reads every dtype of the Python library", async () => {
  const golden = await goldenJson<Golden>("plain.json");
  await using source = await goldenSource("plain.safetensors");
  const file = await openSafetensors(source);
  assert.equal(file.metadata.get("note"), "héllo");
  assert.deepEqual(
    [...file.tensors.keys()].sort(),
    Object.keys(golden).sort(),
  );
  for (const [name, { shape, sha256: wanted }] of Object.entries(golden)) {
    const tensor = file.tensors.get(name)!;
    assert.deepEqual(tensor.shape, shape, name);
    assert.equal(
      tensor.dtype,
      name === "scalar" || name === "empty" ? "f32" : name,
    );
    assert.equal(await sha256(await file.read(name)), wanted, name);
  }
});

Deno.test("a tensor store decodes floats to f32 and refuses other types", async () => {
  const golden = await goldenJson<Golden>("plain.json");
  await using store = await openSafetensorsFile(
    files({ "plain.safetensors": await goldenBytes("plain.safetensors") }),
    "plain.safetensors",
  );
  for (const [name, { shape, f32 }] of Object.entries(golden)) {
    const reader = store.tensors.get(name)!;
    const read = () => reader.readF32(0, shape[0] ?? 1);
    if (f32 !== null) assert.equal(await sha256(await read()), f32, name);
    else await rejects(read, TypeError, name);
  }
});

Deno.test("SafetensorsFile.read() reads ranges of rows only", async () => {
  const bytes = await goldenBytes("plain.safetensors");
  const inner = bytesSource(bytes, "plain");
  let read = 0;
  const file = await openSafetensors({
    ...inner,
    read: (offset, length) => {
      read += length;
      return inner.read(offset, length);
    },
  });
  read = 0;
  const whole = await file.read("f32");
  assert.deepEqual(await file.read("f32", 1, 3), whole.slice(24, 72));
  assert.equal(read, 120 + 48);
  assert.equal((await file.read("f32", 2, 2)).length, 0);
  for (const [from, to] of [[-1, 2], [3, 2], [0, 6], [0.5, 1]]) {
    await rejects(() => file.read("f32", from, to), RangeError, `"f32"`, "5");
  }
  await rejects(() => file.read("none"), TypeError, `"none"`, "plain");
});

const entry = (
  dtype: string,
  shape: unknown,
  offsets: unknown,
) => ({ dtype, shape, data_offsets: offsets });

const MALFORMED: Record<string, [Uint8Array, ...string[]]> = {
  "too short": [new Uint8Array(7), "7"],
  "a length beyond the file": [new Uint8Array(8).fill(255), "claims"],
  "a length over the cap": [
    Uint8Array.of(0, 0, 0, 0, 1, 0, 0, 0, 0x7b, 0x7d),
    "claims 4294967296",
  ],
  "no JSON": [rawSafetensors("{nope"), "JSON"],
  "no object": [rawSafetensors("[1]"), "{"],
  "NaN": [rawSafetensors(`{"a":NaN}`), "JSON"],
  "no UTF-8": [
    Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0xfe, 0x7d),
    "UTF-8",
  ],
  "deep JSON": [rawSafetensors(`{"a":${"[".repeat(1000)}`), "JSON"],
  "deep, valid JSON": [
    rawSafetensors(`{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`),
    "500 deep",
  ],
  "a tensor twice": [
    rawSafetensors(
      `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
      1,
    ),
    `"a"`,
    "twice",
  ],
  "a field twice": [
    rawSafetensors(
      `{"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,1]}}`,
      1,
    ),
    `"dtype"`,
  ],
  "an unknown dtype": [
    rawSafetensors({ a: entry("Q9", [1], [0, 1]) }, 1),
    `"a"`,
    `"Q9"`,
  ],
  "an inherited dtype": [
    rawSafetensors({ a: entry("constructor", [1], [0, 1]) }, 1),
    `"constructor"`,
  ],
  "a negative size": [
    rawSafetensors({ a: entry("U8", [-1], [0, 1]) }, 1),
    `"a"`,
    "shape",
  ],
  "a fractional size": [
    rawSafetensors({ a: entry("U8", [0.5, 2], [0, 1]) }, 1),
    `"a"`,
  ],
  "an absurd shape": [
    rawSafetensors({ a: entry("F32", [1e15, 1e15], [0, 4]) }, 4),
    `"a"`,
    "needs",
  ],
  "a size that overflows": [
    rawSafetensors({ a: entry("F32", [2 ** 53 - 1, 3], [0, 4]) }, 4),
    `"a"`,
  ],
  "offsets beyond the file": [
    rawSafetensors({ a: entry("F32", [2], [0, 8]) }, 4),
    `"a"`,
    "leave the file",
  ],
  "a file that is cut short": [
    rawSafetensors({
      a: entry("F32", [1], [0, 4]),
      b: entry("F32", [1], [4, 8]),
      c: entry("F32", [2], [8, 16]),
    }, 4),
    `"b" and 1 more leave the file`,
    "cut short, get it again",
  ],
  "offsets that end before they begin": [
    rawSafetensors({ a: entry("F32", [1], [4, 0]) }, 4),
    `"a"`,
  ],
  "offsets of the wrong size": [
    rawSafetensors({ a: entry("F32", [2], [0, 4]) }, 4),
    `"a"`,
    "needs 8",
  ],
  "an overlap": [
    rawSafetensors({
      a: entry("U8", [4], [0, 4]),
      b: entry("U8", [4], [2, 6]),
    }, 6),
    `"b"`,
    "inside",
  ],
  "a gap": [
    rawSafetensors({
      a: entry("U8", [4], [0, 4]),
      b: entry("U8", [2], [6, 8]),
    }, 8),
    `"b"`,
    "gap",
  ],
  "bytes of no tensor": [
    rawSafetensors({ a: entry("U8", [4], [0, 4]) }, 9),
    "5 bytes",
  ],
  "metadata that is no text": [
    rawSafetensors({ __metadata__: { k: 1 } }),
    `"k"`,
  ],
};

for (const [what, [bytes, ...parts]] of Object.entries(MALFORMED)) {
  Deno.test(`openSafetensors() refuses ${what}`, async () => {
    await rejects(
      () => openSafetensors(bytesSource(bytes, "bad.safetensors")),
      SyntaxError,
      "bad.safetensors",
      ...parts,
    );
  });
}

Deno.test("openSafetensors() lists all mismatches in one error, and not without end", async () => {
  const header = Object.fromEntries(
    Array.from(
      { length: 50 },
      (_, i) => [`t${i}`, entry("F32", [i + 2], [0, 4])],
    ),
  );
  await rejects(
    () => openSafetensors(bytesSource(rawSafetensors(header, 4), "x")),
    SyntaxError,
    `"t0"`,
    `"t19"`,
    "and 30 more",
  );
});

Deno.test("a store refuses types that loqa does not read, by name", async () => {
  const bytes = rawSafetensors({ w: entry("U16", [2], [0, 4]) }, 4);
  await rejects(
    () =>
      openSafetensorsFile(files({ "m.safetensors": bytes }), "m.safetensors"),
    TypeError,
    `"w" (U16)`,
  );
});

Deno.test(`openSafetensors() takes a tensor called "__proto__"`, async () => {
  const bytes = rawSafetensors(
    `{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
    1,
  );
  const file = await openSafetensors(bytesSource(bytes, "x"));
  assert.deepEqual([...file.tensors.keys()], ["__proto__"]);
});
