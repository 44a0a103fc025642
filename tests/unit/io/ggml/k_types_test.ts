import assert from "node:assert/strict";
import {
  decodeBlocks,
  ggufTypeNamed,
  ggufTypes,
} from "../../../../src/io/ggml/types.ts";
import { openGgufCheckpoint } from "../../../../src/io/gguf/checkpoint.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import { huggingFaceName } from "../../../../src/families/gguf_names.ts";
import { Random } from "../../../../src/tensor/random.ts";
import { goldenBlocks, K_TENSORS, K_TYPES, kFile } from "./k_blocks.ts";

const golden = await goldenBlocks();

/** Bits of values; a NaN is a NaN, whatever its bits, which the language does not keep. */
function bitsOf(values: Float32Array<ArrayBuffer>): Uint32Array {
  const bits = new Uint32Array(values.slice().buffer);
  values.forEach((x, i) => {
    if (Number.isNaN(x)) bits[i] = 0x7fc00000;
  });
  return bits;
}

for (const name of K_TYPES) {
  Deno.test(`${name}: values of the gguf package bit for bit, of extreme scales and real blocks`, () => {
    const { blocks, values } = golden.get(name)!;
    const type = ggufTypeNamed(name);
    assert.deepEqual(bitsOf(decodeBlocks(type, blocks)), bitsOf(values));
    // Bytes that begin at an odd address, and one block alone.
    const odd = new Uint8Array(blocks.length + 1);
    odd.set(blocks, 1);
    assert.deepEqual(
      bitsOf(decodeBlocks(type, odd.subarray(1))),
      bitsOf(values),
    );
    assert.deepEqual(
      bitsOf(decodeBlocks(type, blocks.subarray(-type.bytes))),
      bitsOf(values.slice(-type.block)),
    );
  });
}

Deno.test("a GGUF checkpoint of K types has the values of their blocks, whole and by rows", async () => {
  await using model = await openGgufCheckpoint(
    bytesSource(await kFile(16), "k.gguf"),
  );
  for (const [name, encoding] of Object.entries(K_TENSORS)) {
    const key = huggingFaceName(`${name}.weight`)!;
    const { values } = golden.get(encoding)!;
    const info = model.tensors.get(key)!;
    assert.equal(info.encoding, encoding);
    assert.deepEqual(bitsOf(await model.readF32(key)), bitsOf(values), key);
    const width = info.shape[1];
    assert.deepEqual(
      bitsOf(await model.readF32(key, 3, 7)),
      bitsOf(values.slice(3 * width, 7 * width)),
      key,
    );
  }
});

Deno.test("random blocks of every type decode to finite values where their scales are finite", () => {
  const rounds = Number(Deno.env.get("LOQA_FUZZ") ?? 3000);
  const decoded = ggufTypes().filter((type) => type.decode);
  assert.ok(K_TYPES.every((name) => decoded.includes(ggufTypeNamed(name))));
  const random = new Random(5, "blocks");
  const below = (n: number) => Math.floor(random.uniform() * n);
  for (let round = 0; round < rounds; round++) {
    const type = decoded[round % decoded.length];
    const start = below(4);
    const bytes = Uint8Array.from(
      { length: start + type.bytes * below(3) },
      () => below(256),
    );
    // Where no byte has an exponent's high bits all set, no scale is infinite or a NaN.
    const tame = below(2) === 0;
    if (tame) bytes.forEach((byte, i) => bytes[i] = byte & 0xb7);
    const blocks = bytes.subarray(start);
    const before = blocks.slice();
    const values = decodeBlocks(type, blocks);
    assert.equal(values.length, blocks.length / type.bytes * type.block);
    assert.deepEqual(blocks, before, "the blocks were changed");
    assert.ok(
      !tame || values.every(Number.isFinite),
      `${type.name}, round ${round}`,
    );
    assert.deepEqual(
      bitsOf(values),
      bitsOf(decodeBlocks(type, before)),
      `${type.name}, round ${round}: the place of the blocks matters`,
    );
  }
});
