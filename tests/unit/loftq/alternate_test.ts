import assert from "node:assert/strict";
import { mat } from "../../../src/device/buffer.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { alternate, type Iterate } from "../../../src/loftq/alternate.ts";
import { loftqQuantizer } from "../../../src/loftq/quantizer.ts";
import { loraStart } from "../../../src/loftq/start.ts";

const device = await openDevice("reference");
const adapter = { rows: 2, cols: 4, rank: 1, seed: 0, name: "x" };
const { rows, cols } = adapter;

/** Alternates with corrections that leave `errors`; iterate t has t as its A, its B and its weight. */
async function run(
  errors: readonly number[],
  { iterations = errors.length, earlyStop }: {
    iterations?: number;
    earlyStop?: boolean;
  } = {},
) {
  using quantizer = loftqQuantizer(device, adapter, { format: "int2" });
  using w = device.alloc(rows * cols * 4);
  const used: Iterate[] = [];
  const lasts: (Iterate | undefined)[] = [];
  const least: number[] = [];
  const kept = await alternate(device, quantizer, {
    adapter,
    iterations,
    earlyStop,
    quantise(next, last) {
      used.push(next);
      lasts.push(last);
      device.write(w, new Float32Array(rows * cols).fill(used.length));
      return quantizer.run(mat(w, rows, cols), next.q);
    },
    correct({ b, a }) {
      device.write(a.buffer, new Float32Array(cols).fill(used.length));
      device.write(b.buffer, new Float32Array(rows).fill(used.length));
      return Promise.resolve(errors[used.length - 1]);
    },
    errors(_, error) {
      least.push(error);
      const found = { error, outputError: error };
      return Promise.resolve([found, found]);
    },
  });
  assert.equal(device.memory.bytes, w.bytes);
  return { kept, used, lasts, least };
}

Deno.test("alternate() keeps the best iterate, whatever comes after it", async () => {
  const { kept, used, lasts, least } = await run([5, 3, 4, 6, 2, 7], {
    earlyStop: false,
  });
  assert.equal(kept.iteration, 5);
  assert.deepEqual(kept.history, [5, 3, 4, 6, 2, 7]);
  assert.deepEqual(least, [2]);
  assert.deepEqual([...kept.a.data], [5, 5, 5, 5]);
  assert.deepEqual([...kept.b.data], [5, 5]);
  // All values of a block are 5, its bias.
  assert.deepEqual([...kept.backbone.biases!], [5, 5]);
  assert.deepEqual(lasts, [undefined, ...used.slice(0, -1)]);
  assert.equal(new Set(used).size, 3, "slots");
});

Deno.test("alternate() stops at the first error that is not less, in two slots", async () => {
  for (const after of [3, 4]) {
    const { kept, used } = await run([5, 3, after, 1]);
    assert.equal(kept.iteration, 2);
    assert.deepEqual(kept.history, [5, 3, after]);
    assert.deepEqual([...kept.a.data], [2, 2, 2, 2]);
    assert.equal(new Set(used).size, 2, "slots");
  }
});

Deno.test("alternate() quantises once where nothing is corrected, and starts plainly", async () => {
  const { kept, used } = await run([5], { iterations: 0 });
  assert.equal(used.length, 1);
  assert.equal(kept.iteration, 0);
  assert.deepEqual(kept.history, []);
  const { a, b } = loraStart(adapter);
  assert.deepEqual([kept.a, kept.b], [a, b]);
  assert.deepEqual([...kept.backbone.biases!], [1, 1]);
});
