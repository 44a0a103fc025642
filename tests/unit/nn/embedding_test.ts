import { Tape } from "../../../src/autograd/tape.ts";
import { mat } from "../../../src/device/buffer.ts";
import { readF32 } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { attachAdapter } from "../../../src/nn/adapter.ts";
import { Embedding } from "../../../src/nn/embedding.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import assert from "node:assert/strict";

const [TOKENS, FEATURES, RANK, SCALING] = [7, 5, 2, 1.5];
const IDS = [3, 0, 3, 6];

const random = new Random(0, "embedding");
const W = random.normals(TOKENS * FEATURES);
const A = random.normals(RANK * FEATURES);
const B = random.normals(TOKENS * RANK);
const FACTORS = {
  module: "words",
  rank: RANK,
  scaling: SCALING,
  a: A,
  b: B,
  embedding: true,
};

/** `W + scaling B A`, the rows of `IDS`. */
const ROWS = IDS.flatMap((id) =>
  Array.from({ length: FEATURES }, (_, j) => {
    let sum = W[id * FEATURES + j];
    for (let r = 0; r < RANK; r++) {
      sum += SCALING * B[id * RANK + r] * A[r * FEATURES + j];
    }
    return sum;
  })
);

for (const train of [false, true]) {
  Deno.test(`Embedding.embed(): rows with what an adapter adds${train ? ", and its gradients" : ""}`, async () => {
    using device = await openDevice("reference");
    using buffer = device.alloc(W.byteLength);
    device.write(buffer, W);
    const words = new Embedding("words", {
      value: mat(buffer, TOKENS, FEATURES),
    });
    using adapter = attachAdapter(device, new Map(), {
      ...{ name: "x", factors: [FACTORS], train },
      embeddings: new Map([["words", words]]),
    });
    using tape = new Tape(device, { recording: train });
    const ids = tape.upload(Uint32Array.from(IDS));
    const plain = words.embed(tape, ids, IDS.length);
    assertAllClose(
      await readF32(device, plain.value.buffer),
      IDS.flatMap((id) => [...W.subarray(id * FEATURES, (id + 1) * FEATURES)]),
      { atol: 0 },
    );
    words.enable(["x"]);
    const y = words.embed(tape, ids, IDS.length);
    assertAllClose(await readF32(device, y.value.buffer), ROWS, { atol: 1e-6 });
    assert.equal(y.needsGradient, train);
    if (!train) return;

    const dy = random.normals(IDS.length * FEATURES);
    const gradient = tape.matrix(IDS.length, FEATURES);
    device.write(gradient.buffer, dy);
    tape.backward(y, gradient);
    const dA = new Float64Array(FEATURES * RANK);
    const dB = new Float64Array(TOKENS * RANK);
    IDS.forEach((id, i) => {
      for (let j = 0; j < FEATURES; j++) {
        for (let r = 0; r < RANK; r++) {
          const d = SCALING * dy[i * FEATURES + j];
          dA[j * RANK + r] += d * B[id * RANK + r];
          dB[id * RANK + r] += d * A[r * FEATURES + j];
        }
      }
    });
    const { parameters } = adapter;
    // A is trained turned.
    assertAllClose(await parameters!.readGradient("words.lora_A"), dA, {
      atol: 1e-5,
    });
    assertAllClose(await parameters!.readGradient("words.lora_B"), dB, {
      atol: 1e-5,
    });
  });
}

Deno.test("attachAdapter(): a table that is not there, or of another shape", async () => {
  using device = await openDevice("reference");
  using buffer = device.alloc(W.byteLength);
  const words = new Embedding("words", {
    value: mat(buffer, FEATURES, TOKENS),
  });
  assert.throws(
    () =>
      attachAdapter(device, new Map(), {
        name: "x",
        factors: [FACTORS, { ...FACTORS, module: "others" }],
        embeddings: new Map([["words", words]]),
      }),
    {
      name: "TypeError",
      message:
        'Cannot put the adapter "x" on the model: words is 5 x 7, the adapter\'s 7 x 5; the model has no table others',
    },
  );
});
