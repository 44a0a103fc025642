import assert from "node:assert/strict";
import { openCheckpoint } from "../../src/io/open.ts";
import { peerTests, scratch } from "./run.ts";

const folder = scratch();

await peerTests(
  { label: "GGUF files of the gguf package" },
  "gguf_types.py",
  () => Promise.resolve([folder]),
);

for (const architecture of ["llama", "qwen2"]) {
  Deno.test(`a ${architecture} of K types has the weights that transformers loads of it, bit for bit`, async () => {
    await using model = await openCheckpoint(`${folder}/${architecture}.gguf`);
    await using peer = await openCheckpoint(
      `${folder}/${architecture}/model.safetensors`,
    );
    assert.deepEqual(
      [...model.tensors.keys()].sort(),
      [...peer.tensors.keys()].sort(),
    );
    for (const [name, { shape }] of peer.tensors) {
      assert.deepEqual(model.tensors.get(name)!.shape, shape, name);
      const [ours, theirs] = [
        await model.readF32(name),
        await peer.readF32(name),
      ];
      assert.deepEqual(
        new Uint32Array(ours.buffer),
        new Uint32Array(theirs.slice().buffer),
        name,
      );
    }
  });
}
