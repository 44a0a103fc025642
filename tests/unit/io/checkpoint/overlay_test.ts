import assert from "node:assert/strict";
import { overlaid } from "../../../../src/io/checkpoint/overlay.ts";
import type { Checkpoint } from "../../../../src/io/checkpoint/checkpoint.ts";
import {
  makeCheckpoint,
  plainReader,
} from "../../../../src/io/checkpoint/tensor_reader.ts";

const VALUES = Float32Array.of(1, 2, 3, 4, 5, 6);

/** Two matrices; tells when it is disposed of. */
function small(closed: () => void): Checkpoint {
  return makeCheckpoint({
    name: "small",
    format: "safetensors",
    readers: ["a.weight", "b.weight"].map((name) => {
      const plain = plainReader(
        { name, dtype: "f32", shape: [3, 2], bytes: 24 },
        (from, to) =>
          Promise.resolve(
            new Uint8Array(VALUES.slice(2 * from, 2 * to).buffer),
          ),
      );
      return name !== "a.weight" ? plain : {
        ...plain,
        info: { ...plain.info, quantized: { format: "nf4" } as never },
        readQuantized: () => Promise.resolve({ format: "nf4" } as never),
      };
    }),
    config: { model_type: "bert", vocab_size: 3 },
    sideFiles: () => Promise.resolve([]),
    dispose: () => Promise.resolve(closed()),
  });
}

Deno.test("overlaid(): tensors and config entries in the place of its own, others after them, under new names", async () => {
  let closed = 0;
  {
    await using over = overlaid(small(() => closed++), {
      rename: (name) => `bert.${name}`,
      tensors: new Map([
        ["bert.b.weight", { shape: [2], values: Float32Array.of(7, 8) }],
        ["c.weight", { shape: [2, 2], values: Float32Array.of(1, 0, 0, 1) }],
      ]),
      config: { vocab_size: 4, id2label: {} },
    });
    assert.deepEqual([...over.tensors.keys()], [
      "bert.a.weight",
      "bert.b.weight",
      "c.weight",
    ]);
    assert.deepEqual(over.config, {
      model_type: "bert",
      vocab_size: 4,
      id2label: {},
    });
    assert.deepEqual(over.tensors.get("bert.a.weight")!.shape, [3, 2]);
    assert.deepEqual(over.tensors.get("bert.b.weight")!.shape, [2]);
    assert.equal(over.tensors.get("c.weight")!.bytes, 16);
    assert.deepEqual(
      await over.readF32("bert.a.weight", 1, 3),
      VALUES.slice(2),
    );
    assert.deepEqual(
      await over.readF32("bert.b.weight", 1),
      Float32Array.of(8),
    );
    assert.deepEqual(
      await over.readRaw("c.weight", 1, 2),
      new Uint8Array(Float32Array.of(0, 1).buffer),
    );
    assert.ok(await over.readQuantized!("bert.a.weight"));
    // A tensor that took another's place is not quantised as that was.
    assert.equal(await over.readQuantized!("bert.b.weight"), undefined);
    assert.equal(await over.readQuantized!("c.weight"), undefined);
    await assert.rejects(over.readF32("a.weight"), /"small" has none/);
    await assert.rejects(over.readF32("c.weight", 0, 3), /it has 2/);
  }
  assert.equal(closed, 1);
});
