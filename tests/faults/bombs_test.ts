/** Small files that unfold into a large memory or a long time are refused before they do. */

import assert from "node:assert/strict";
import { openGguf } from "../../src/io/gguf/file.ts";
import { scoredMerges } from "../../src/io/tokenizer/sentencepiece/scored_merges.ts";
import { parseJsonObject } from "../../src/io/files/json.ts";
import { readPickle } from "../../src/io/torch/pickle.ts";
import { bytesSource } from "../../src/io/files/sources.ts";
import { openZip } from "../../src/io/torch/zip.ts";
import { rejects } from "../unit/io/helpers.ts";

/** Runs `work`, which must end within `seconds`. */
async function within<T>(
  seconds: number,
  work: () => T | Promise<T>,
): Promise<T> {
  const began = performance.now();
  const result = await work();
  const took = (performance.now() - began) / 1000;
  assert.ok(took < seconds, `took ${took} s`);
  return result;
}

const refuses = (what: RegExp) => (error: unknown) => {
  assert.ok(error instanceof SyntaxError, String(error));
  assert.match(error.message, what);
  assert.ok(error.message.length < 500);
  return true;
};

/** A pickle of `unit` over and over. */
function pickleOf(unit: readonly number[], bytes: number): Uint8Array<
  ArrayBuffer
> {
  const out = new Uint8Array(bytes);
  for (let i = 0; i + unit.length <= bytes; i += unit.length) out.set(unit, i);
  return out;
}

const PICKLES: Record<string, readonly number[]> = {
  "dictionaries": [0x7d],
  "dictionaries that are dropped again": [0x7d, 0x30],
  "lists": [0x5d],
  "memos of one value": [0x94],
  "numbers": [0x4b, 1],
  "marks": [0x28],
};

for (const [what, unit] of Object.entries(PICKLES)) {
  Deno.test(`a pickle of nothing but ${what} is refused early`, async () => {
    const first = what.startsWith("memos") ? [0x4e] : [];
    const bytes = pickleOf(unit, 12_000_000);
    bytes.set(first);
    await within(20, () => {
      assert.throws(
        () => readPickle(bytes, "bad.bin"),
        refuses(/^Cannot read "bad\.bin" as a torch checkpoint: its pickle/),
      );
    });
  });
}

Deno.test("a pickle of two hundred thousand numbers in batches of a thousand is read", () => {
  const batch = [0x28, ...Array(1000).fill([0x4b, 7]).flat(), 0x65];
  const bytes = Uint8Array.from([
    0x5d,
    ...Array(200).fill(batch).flat(),
    0x2e,
  ]);
  assert.equal((readPickle(bytes, "x") as number[]).length, 200_000);
});

Deno.test("pieces that are made of each other in a million ways are refused", async () => {
  const pieces = Array.from({ length: 2600 }, (_, i) => "a".repeat(i + 1));
  await within(20, () =>
    assert.throws(
      () => scoredMerges(pieces, pieces.map(() => 0), "spm.model"),
      refuses(/"spm\.model": its 2600 pieces are made of others/),
    ));
});

Deno.test("pieces of a thousand lengths that are made of none are refused", async () => {
  const pieces = Array.from(
    { length: 4000 },
    (_, i) => String.fromCharCode(0x4e00 + i).repeat(i + 1),
  );
  await within(20, () =>
    assert.throws(
      () => scoredMerges(pieces, pieces.map(() => 0), "spm.model"),
      refuses(/too long to be cut/),
    ));
});

Deno.test("one piece of a million characters costs next to nothing", async () => {
  const pieces = ["a", "b", "ab", "ba", "ab".repeat(500_000)];
  const merges = await within(
    1,
    () => scoredMerges(pieces, [0, 0, -1, -2, -3], "x"),
  );
  assert.deepEqual(merges, ["a b", "b a"]);
});

Deno.test("JSON of ten million objects, or nested without end, is refused", async () => {
  await within(20, () => {
    assert.throws(
      () => parseJsonObject(`{"a":[${"{},".repeat(5e6)}{}]}`, "config.json"),
      refuses(/"config\.json": wanted at most \d+ values of JSON/),
    );
    assert.throws(
      () => parseJsonObject(`{"a":"${"x".repeat(2 ** 24)}"}`, "config.json"),
      refuses(/"config\.json": wanted at most 16777216 bytes of JSON/),
    );
    assert.throws(
      () =>
        parseJsonObject(
          `{"a":${"[".repeat(501)}${"]".repeat(501)}}`,
          "config.json",
        ),
      refuses(/"config\.json": its values lie more than 500 deep/),
    );
  });
});

/** A GGUF file without tensors whose metadata are `pairs`, each the bytes after its key. */
function gguf(pairs: readonly (readonly number[])[]): Uint8Array<ArrayBuffer> {
  const u64 = (n: number) =>
    [n & 255, n >> 8 & 255, n >> 16 & 255, n >> 24]
      .concat([0, 0, 0, 0]);
  return Uint8Array.from([
    ...[0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0],
    ...[...u64(0), ...u64(pairs.length)],
    ...pairs.flatMap((
      value,
      i,
    ) => [...u64(3), i & 127, i >> 7 & 127, i >> 14, ...value]),
  ]);
}

Deno.test("GGUF metadata of many arrays in arrays, or many keys, are refused", async () => {
  const count = 100_000;
  const empty = [0, 0, 0, 0, ...Array(8).fill(0)];
  const nested = [
    ...[9, 0, 0, 0, 9, 0, 0, 0],
    ...[count & 255, count >> 8 & 255, count >> 16, 0, 0, 0, 0, 0],
    ...Array(count).fill(empty).flat(),
  ];
  await rejects(
    () => openGguf(bytesSource(gguf([nested]), "a.gguf")),
    SyntaxError,
    "a.gguf",
    "more than 65536 arrays",
  );
  await rejects(
    () =>
      openGguf(
        bytesSource(gguf(Array(70_000).fill([0, 0, 0, 0, 1])), "a.gguf"),
      ),
    SyntaxError,
    "a.gguf",
    "at most 65536 metadata pairs",
  );
});

/** A zip archive of stored entries; `at` says whose local header the directory gives for an entry. */
function zip(
  entries: Readonly<Record<string, string>>,
  at: (name: string) => string = (name) => name,
): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const places = new Map<string, number>();
  const out: number[] = [];
  const u16 = (n: number) => [n & 255, n >> 8];
  const u32 = (n: number) => [...u16(n & 0xffff), ...u16(n >>> 16)];
  const sizes = (text: string) => [...u32(text.length), ...u32(text.length)];
  for (const [name, text] of Object.entries(entries)) {
    places.set(name, out.length);
    out.push(...u32(0x04034b50), ...Array(14).fill(0), ...sizes(text));
    out.push(...u16(name.length), 0, 0);
    out.push(...encoder.encode(name), ...encoder.encode(text));
  }
  const start = out.length;
  for (const [name, text] of Object.entries(entries)) {
    out.push(...u32(0x02014b50), ...Array(16).fill(0), ...sizes(text));
    out.push(...u16(name.length), ...Array(12).fill(0));
    out.push(...u32(places.get(at(name))!), ...encoder.encode(name));
  }
  const size = out.length - start;
  const count = u16(places.size);
  out.push(...u32(0x06054b50), 0, 0, 0, 0, ...count, ...count);
  out.push(...u32(size), ...u32(start), 0, 0);
  return Uint8Array.from(out);
}

Deno.test("a zip entry is read at its own header only", async () => {
  const entries = { "a/data.pkl": "pickle", "a/data/0": "number" };
  const good = await openZip(bytesSource(zip(entries), "m.bin"));
  const data = await good.open("a/data/0");
  assert.equal(new TextDecoder().decode(await data.read(0, 6)), "number");
  const bad = await openZip(
    bytesSource(zip(entries, () => "a/data.pkl"), "m.bin"),
  );
  await rejects(
    () => bad.open("a/data/0"),
    SyntaxError,
    '"m.bin"',
    'entry "a/data/0" is not where its directory says',
  );
});
