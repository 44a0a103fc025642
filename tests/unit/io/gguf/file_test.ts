import assert from "node:assert/strict";
import { openGguf } from "../../../../src/io/gguf/file.ts";
import { openGgufCheckpoint } from "../../../../src/io/gguf/checkpoint.ts";
import { bytesSource } from "../../../../src/io/files/sources.ts";
import {
  goldenBytes,
  goldenJson,
  goldenSource,
  rejects,
  sha256,
} from "../helpers.ts";

interface Tensor {
  shape: number[];
  f32: string;
}

for (const arch of ["llama", "qwen2", "qwen3"]) {
  Deno.test(`a GGUF checkpoint of ${arch} has the tensors and config of transformers`, async () => {
    const golden = await goldenJson<Record<string, unknown>>(
      `${arch}-gguf.json`,
    );
    await using model = await openGgufCheckpoint(
      await goldenSource(`${arch}.gguf`),
    );
    assert.equal(model.format, "gguf");
    const wanted = golden.tensors as Record<string, Tensor>;
    assert.deepEqual(
      [...model.tensors.keys()].sort(),
      Object.keys(wanted).sort(),
    );
    for (const [name, { shape, f32 }] of Object.entries(wanted)) {
      assert.deepEqual(model.tensors.get(name)!.shape, shape, name);
      assert.equal(await sha256(await model.readF32(name)), f32, name);
    }
    for (const [key, value] of Object.entries(golden.config)) {
      assert.deepEqual(model.config[key], value, key);
    }
  });

  Deno.test(`rows of a GGUF checkpoint of ${arch} are those of the whole`, async () => {
    await using model = await openGgufCheckpoint(
      await goldenSource(`${arch}.gguf`),
    );
    for (const [name, { shape }] of model.tensors) {
      const whole = await model.readF32(name);
      const raw = await model.readRaw(name);
      const width = whole.length / shape[0];
      const bytes = raw.length / shape[0];
      for (const [from, to] of [[0, 1], [3, 21], [17, shape[0]], [5, 5]]) {
        assert.deepEqual(
          await model.readF32(name, from, to),
          whole.slice(from * width, to * width),
          `${name} ${from} ${to}`,
        );
        assert.deepEqual(
          await model.readRaw(name, from, to),
          raw.slice(from * bytes, to * bytes),
        );
      }
    }
  });
}

Deno.test("a GGUF file covers every block format that is read", async () => {
  const golden = await goldenJson<Record<string, string>>("llama-gguf.json");
  assert.deepEqual(
    [...new Set(Object.values(golden.encodings))].sort(),
    ["BF16", "F16", "F32", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"],
  );
});

Deno.test("a row range of a GGUF tensor costs only its bytes", async () => {
  const bytes = await goldenBytes("llama.gguf");
  const inner = bytesSource(bytes, "llama.gguf");
  let read = 0;
  await using model = await openGgufCheckpoint({
    ...inner,
    read: (offset, length) => {
      read += length;
      return inner.read(offset, length);
    },
  });
  read = 0;
  await model.readF32("model.embed_tokens.weight", 3, 5);
  assert.equal(read, 2 * 64 / 32 * 34);
  read = 0;
  await model.readF32("model.layers.0.self_attn.q_proj.weight", 40, 41);
  assert.equal(read, 32 * 64 / 32 * 18, "one whole head");
});

Deno.test("openGguf() reads metadata of every kind", async () => {
  await using source = await goldenSource("llama.gguf");
  const { metadata, version } = await openGguf(source);
  assert.equal(version, 3);
  assert.equal(metadata.get("general.architecture"), "llama");
  assert.equal(metadata.get("llama.context_length"), 128);
  assert.equal(metadata.get("tokenizer.ggml.add_bos_token"), false);
  assert.deepEqual(metadata.get("test.numbers"), Int32Array.of(1, 2, 3));
});

class Builder {
  bytes: number[] = [];
  u32(n: number): this {
    for (let i = 0; i < 4; i++) this.bytes.push(n >>> 8 * i & 255);
    return this;
  }
  u64(n: bigint | number): this {
    for (let i = 0n; i < 8n; i++) {
      this.bytes.push(Number(BigInt(n) >> 8n * i & 255n));
    }
    return this;
  }
  text(s: string): this {
    const bytes = new TextEncoder().encode(s);
    this.u64(bytes.length).bytes.push(...bytes);
    return this;
  }
  head(tensors: bigint | number, pairs: bigint | number): this {
    return this.u32(0x46554747).u32(3).u64(tensors).u64(pairs);
  }
  tensor(
    name: string,
    dims: (bigint | number)[],
    type = 0,
    offset: bigint | number = 0,
  ): this {
    this.text(name).u32(dims.length);
    for (const d of dims) this.u64(d);
    return this.u32(type).u64(offset);
  }
  pad(n: number): Uint8Array<ArrayBuffer> {
    while (this.bytes.length % 32 !== 0) this.bytes.push(0);
    return Uint8Array.from([...this.bytes, ...new Array(n).fill(0)]);
  }
}
const build = () => new Builder();
const nested = (depth: number) => {
  const b = build().head(0, 1).text("k").u32(9);
  for (let i = 0; i < depth; i++) b.u32(9).u64(1);
  return b.u32(4).u64(0).pad(64);
};

const MALFORMED: Record<string, [Uint8Array, ...string[]]> = {
  "a file too short": [new Uint8Array(20), "24"],
  "another magic": [build().u32(1).u32(3).u64(0).u64(0).pad(0), "GGUF"],
  "version 1": [build().u32(0x46554747).u32(1).u64(0).u64(0).pad(0), "got 1"],
  "big-endian": [
    build().u32(0x46554747).u32(0x03000000).u64(0).u64(0).pad(0),
    "big-endian",
  ],
  "an absurd number of tensors": [build().head(1e12, 0).pad(0), "tensor count"],
  "a number of tensors beyond 2^53": [
    build().head(2n ** 64n - 1n, 0).pad(0),
    "tensor count",
  ],
  "an absurd number of pairs": [build().head(0, 1e9).pad(0), "metadata count"],
  "a key longer than the file": [
    build().head(0, 1).u64(1e10).pad(64),
    "metadata key 0",
  ],
  "an unknown value type": [
    build().head(0, 1).text("k").u32(99).pad(64),
    `"k"`,
    "99",
  ],
  "a value that is not there": [
    build().head(0, 1).text("abcdefg").u32(9).u32(4).pad(0).subarray(0, 50),
    "abcdefg",
  ],
  "an absurd array": [
    build().head(0, 1).text("k").u32(9).u32(12).u64(1e9).pad(64),
    `"k"`,
  ],
  "an absurd list of texts": [
    build().head(0, 1).text("k").u32(9).u32(8).u64(1e9).pad(64),
    `"k"`,
  ],
  "arrays nested deeply": [nested(9), `"k"`, "deeply"],
  "text that is no UTF-8": [
    build().head(0, 1).text("k").u32(8).u64(4).u32(0xffffffff).pad(0),
    `"k"`,
  ],
  "a key twice": [
    build().head(0, 2).text("k").u32(4).u32(1).text("k").u32(4).u32(1).pad(64),
    `"k"`,
    "twice",
  ],
  "an alignment of 3": [
    build().head(0, 1).text("general.alignment").u32(4).u32(3).pad(64),
    "alignment",
  ],
  "an unknown tensor type": [
    build().head(1, 0).tensor("w", [32], 77).pad(64),
    `"w"`,
    "77",
  ],
  "five dimensions": [
    build().head(1, 0).tensor("w", [1, 1, 1, 1, 1]).pad(64),
    `"w"`,
    "5 dim",
  ],
  "a tensor beyond the file": [
    build().head(1, 0).tensor("w", [1024]).pad(64),
    `"w"`,
    "leave",
  ],
  "an absurd shape": [
    build().head(1, 0).tensor("w", [2n ** 40n, 2n ** 40n]).pad(64),
    `"w"`,
  ],
  "a size beyond 2^53": [
    build().head(1, 0).tensor("w", [2n ** 63n]).pad(64),
    `"w"`,
  ],
  "a row of half a block": [
    build().head(1, 0).tensor("w", [48, 2], 2).pad(64),
    `"w"`,
    "Q4_0",
  ],
  "an offset out of line": [
    build().head(1, 0).tensor("w", [2], 0, 4).pad(64),
    `"w"`,
    "aligned",
  ],
  "two tensors in one place": [
    build().head(2, 0).tensor("w", [8]).tensor("v", [8]).pad(64),
    `"v"`,
    "overlaps",
  ],
  "a tensor twice": [
    build().head(2, 0).tensor("w", [8]).tensor("w", [8], 0, 32).pad(64),
    `"w"`,
    "twice",
  ],
};

for (const [what, [bytes, ...parts]] of Object.entries(MALFORMED)) {
  Deno.test(`openGguf() refuses ${what}`, async () => {
    await rejects(
      () => openGguf(bytesSource(bytes, "bad.gguf")),
      SyntaxError,
      "bad.gguf",
      ...parts,
    );
  });
}

Deno.test("openGguf() refuses a file cut anywhere before its tensors end", async () => {
  const bytes = await goldenBytes("llama.gguf");
  for (let n = 0; n < bytes.length; n += 997) {
    await rejects(
      () => openGguf(bytesSource(bytes.subarray(0, n), "cut.gguf")),
      SyntaxError,
      "cut.gguf",
    );
  }
});

for (const [id, name] of [[39, "MXFP4"], [77, "unknown 77"]] as const) {
  Deno.test(`a GGUF checkpoint refuses a tensor of type ${name}, unless it is to be described`, async () => {
    const bytes = await goldenBytes("llama.gguf");
    const tensor = new TextEncoder().encode("blk.0.attn_q.weight");
    const at = bytes.findIndex((_, i) =>
      tensor.every((b, j) => bytes[i + j] === b)
    );
    // The first q_proj is Q4_0 [64, 64]: MXFP4 has blocks of as many values, a byte shorter.
    const type = at + tensor.length + 4 + 16;
    assert.equal(bytes[type], 2);
    bytes[type] = id;
    const reason = `"blk.0.attn_q.weight" has type ${name}`;
    await rejects(
      () => openGgufCheckpoint(bytesSource(bytes, "x.gguf")),
      TypeError,
      "x.gguf",
      reason,
    );
    await using model = await openGgufCheckpoint(
      bytesSource(bytes, "x.gguf"),
      { describe: "whole" },
    );
    assert.ok(model.notes?.some((note) => note.includes(reason)));
    assert.equal(model.config.hidden_size, 64);
    const key = "model.layers.0.self_attn.q_proj.weight";
    const { encoding, bytes: size } = model.tensors.get(key)!;
    assert.equal(encoding, name);
    assert.equal(size, 64 * 64 / 32 * (id === 39 ? 17 : 18));
    await rejects(() => model.readF32(key), TypeError, key, name);
  });
}

Deno.test("a GGUF checkpoint refuses other architectures", async () => {
  const bytes = build().head(0, 1).text("general.architecture").u32(8).text(
    "rwkv",
  )
    .pad(64);
  await rejects(
    () => openGgufCheckpoint(bytesSource(bytes, "x.gguf")),
    TypeError,
    "x.gguf",
    `"rwkv"`,
  );
});
