import assert from "node:assert/strict";
import { rope } from "../../../src/autograd/elementwise.ts";
import { denseWeight } from "../../../src/autograd/linear_weight.ts";
import { linear } from "../../../src/autograd/linear.ts";
import { Tape } from "../../../src/autograd/tape.ts";
import type { Device } from "../../../src/device/device.ts";
import type { OperationName } from "../../../src/device/operations.ts";
import { mat } from "../../../src/device/buffer.ts";
import { readF32 } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { Random } from "../../../src/tensor/random.ts";
import { generate } from "../../../src/models/generate/causal.ts";
import { KeyValueCache } from "../../../src/models/decoder/model.ts";
import {
  accumulateGradients,
  batchLoss,
} from "../../../src/train/step/step.ts";
import { Workspace } from "../../conformance/workspace.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { replaced } from "../../helpers/globals.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import {
  allParameters,
  logitsOf,
  paddedBatch,
  smallConfig,
  smallModel,
  someFactors,
  someRows,
  trainedAdapter,
} from "../../helpers/llama.ts";

const BATCH = paddedBatch(
  [...someRows(new Random(1), { count: 1, time: 7 }), [3, 1, 4, 1]],
  "right",
);

/** Makes the `n`-th call of an operation throw; without an `n` only counts. */
function failing(
  device: Device,
  op: OperationName,
  n = Infinity,
): Disposable & { calls: number } {
  const real = device.ops[op] as (args: unknown) => void;
  const guard = { calls: 0 };
  const patch = replaced(device.ops, op, (args: unknown) => {
    if (++guard.calls === n) throw new RangeError("out of order");
    real(args);
  });
  return Object.assign(guard, {
    [Symbol.dispose]: () => patch[Symbol.dispose](),
  });
}

for (const checkpointing of [false, true]) {
  Deno.test(`a step leaves nothing behind, also one that throws anywhere (checkpointing ${checkpointing})`, async () => {
    using device = await openDevice("reference");
    using model = await smallModel(device, { model_type: "qwen2" });
    using adapter = trainedAdapter(model, someFactors(model), {
      dropout: 0.1,
    });
    using losses = device.alloc(4);
    const step = () => {
      accumulateGradients(model, BATCH, {
        weight: 1,
        seed: 1,
        checkpointing,
        loss: { buffer: losses, at: 0 },
      });
      for (const parameter of adapter.parameters.parameters.values()) {
        parameter.fresh = true;
      }
    };
    step();
    const { bytes } = device.memory;
    step();
    assert.equal(device.memory.bytes, bytes);
    for (
      const op of [
        "gemm",
        "rmsNormBackward",
        "attention",
        "attentionBackward",
        "dropout",
        "crossEntropy",
        "gatherRows",
        "columnSums",
      ] as const
    ) {
      let all: number;
      {
        using counted = failing(device, op);
        step();
        all = counted.calls;
      }
      assert.ok(all > 0, op);
      for (const n of new Set([1, Math.ceil(all / 2), all])) {
        using _ = failing(device, op, n);
        assert.throws(step, /out of order/);
        assert.equal(device.memory.bytes, bytes, `${op} ${n} of ${all}`);
      }
    }
  });
}

Deno.test("training all weights leaves nothing behind", async () => {
  using device = await openDevice("reference");
  using trained = allParameters(device, smallConfig({ mlp_bias: true }));
  using model = await smallModel(device, { mlp_bias: true }, { trained });
  using losses = device.alloc(4);
  const step = () =>
    accumulateGradients(model, BATCH, {
      weight: 1,
      seed: 1,
      loss: { buffer: losses, at: 0 },
    });
  step();
  const { bytes } = device.memory;
  step();
  assert.equal(device.memory.bytes, bytes);
});

Deno.test("inference, a cache, generation, and a model itself leave nothing behind", async () => {
  using device = await openDevice("reference");
  const { bytes } = device.memory;
  {
    using model = await smallModel(device);
    await logitsOf(model, BATCH);
    const loaded = device.memory.bytes;
    await logitsOf(model, BATCH);
    await batchLoss(model, BATCH);
    await generate(model, [[1, 2], [3]], { maxNewTokens: 3 });
    {
      using cache = new KeyValueCache(device, model.config, {
        batch: 2,
        capacity: 9,
      });
      await logitsOf(model, BATCH, { cache });
    }
    await assert.rejects(
      generate(model, [[1], [99]], { maxNewTokens: 1 }),
      RangeError,
    );
    assert.equal(device.memory.bytes, loaded);
  }
  assert.equal(device.memory.bytes, bytes);
});

Deno.test("a pass without gradients holds one block's values at a time", async () => {
  using device = await openDevice("reference");
  const peakOf = async (layers: number, recording: boolean) => {
    using model = await smallModel(device, { num_hidden_layers: layers });
    using adapter = trainedAdapter(model, someFactors(model));
    await logitsOf(model, BATCH);
    let peak = 0;
    const before = device.memory.bytes;
    const real = device.ops.rmsNorm;
    using _ = replaced(device.ops, "rmsNorm", (args: never) => {
      peak = Math.max(peak, device.memory.bytes - before);
      real(args);
    });
    using tape = new Tape(device, { recording });
    model.forward(tape, BATCH);
    assert.equal(adapter.name, "trained");
    return peak;
  };
  assert.equal(await peakOf(8, false), await peakOf(2, false));
  assert.ok(await peakOf(8, true) > 2 * await peakOf(2, true));
});

Deno.test("a value that is used three times gets the sum of three gradients", async () => {
  using device = await openDevice("reference");
  const random = new Random(3);
  const [x, u, v] = [
    normalMatrix(random, 4, 6),
    normalMatrix(random, 6, 6),
    normalMatrix(random, 6, 6),
  ];
  using w = new Workspace(device);
  const layer = (weight: typeof u) => ({
    weight: denseWeight(w.put(weight)),
    lora: [],
  });
  using tape = new Tape(device, { recording: true });
  const input = tape.input(w.put(x), true);
  const a = linear(tape, input, { layer: layer(u) });
  const b = linear(tape, a, { layer: layer(v), add: input });
  const c = linear(tape, a, { layer: layer(u), add: b });
  const ones = tape.matrix(4, 6);
  device.write(ones.buffer, new Float32Array(24).fill(1));
  tape.backward(c, ones);
  // c = x Uᵀ Uᵀ + x Uᵀ Vᵀ + x, so dx = 1 (U U + V U + I).
  const wanted = new Float64Array(24);
  for (let i = 0; i < 6; i++) {
    for (let j = 0; j < 6; j++) {
      let sum = i === j ? 1 : 0;
      for (let k = 0; k < 6; k++) {
        sum += (u.data[i * 6 + k] + v.data[i * 6 + k]) * u.data[k * 6 + j];
      }
      for (let row = 0; row < 4; row++) wanted[row * 6 + j] += sum;
    }
  }
  assertAllClose(
    (await readF32(device, tape.gradient(input)!.buffer)).subarray(0, 24),
    wanted,
    { atol: 1e-4 },
  );
});

Deno.test("what needs no gradient records nothing", async () => {
  using device = await openDevice("reference");
  using w = new Workspace(device);
  const tables = {
    cos: w.put(normalMatrix(new Random(1), 4, 2)),
    sin: w.put(normalMatrix(new Random(2), 4, 2)),
  };
  using tape = new Tape(device, { recording: true });
  const x = tape.input(w.put(normalMatrix(new Random(3), 4, 4)));
  rope(tape, x, {
    positions: tape.upload(Uint32Array.of(0, 1, 2, 3)),
    tables,
    headDim: 4,
  });
  const y = linear(tape, x, {
    layer: {
      weight: denseWeight(w.put(normalMatrix(new Random(4), 3, 4))),
      lora: [],
    },
  });
  assert.equal(y.needsGradient, false);
  tape.backward(y, mat(tape.alloc(48), 4, 3));
  assert.equal(tape.gradient(x), undefined);
});

Deno.test("seeds: the same in every pass of a step, another at each draw", async () => {
  using device = await openDevice("reference");
  const draws = (seed: number) => {
    using tape = new Tape(device, { seed });
    return Array.from({ length: 50 }, () => tape.seed());
  };
  assert.deepEqual(draws(7), draws(7));
  assert.equal(new Set([...draws(7), ...draws(8)]).size, 100);
});
