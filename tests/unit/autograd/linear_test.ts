import assert from "node:assert/strict";
import { linear } from "../../../src/autograd/linear.ts";
import {
  denseWeight,
  quantizedWeight,
} from "../../../src/autograd/linear_weight.ts";
import type { LoraFactors } from "../../../src/autograd/lora.ts";
import { ParameterSet } from "../../../src/autograd/parameter.ts";
import { Tape } from "../../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../../src/device/device.ts";
import { dropoutHash } from "../../../src/device/dropout.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { dequantize, quantize } from "../../../src/api/matrices.ts";
import { upload } from "../../../src/quant/quantize.ts";
import type { QuantizedMatrix } from "../../../src/quant/quantized.ts";
import { type Matrix, matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { Workspace } from "../../conformance/workspace.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { replaced } from "../../helpers/globals.ts";
import { integer, normalMatrix } from "../../helpers/inputs.ts";
import { networkTest } from "../../helpers/network.ts";

/** Each column of `x` as often as its group is wide, up to `cols` columns. */
function spread(x: Matrix, group: number, cols: number): Matrix {
  return matrix(
    x.rows,
    cols,
    Float32Array.from(
      { length: x.rows * cols },
      (_, e) =>
        x.data[
          Math.floor(e / cols) * x.cols + Math.floor(e % cols / group)
        ],
    ),
  );
}

/** Columns of `x` summed by group, in f64. */
function pooled(x: Matrix, group: number): Float64Array {
  const groups = Math.ceil(x.cols / group);
  const out = new Float64Array(x.rows * groups);
  x.data.forEach((v, e) => {
    const [i, j] = [Math.floor(e / x.cols), e % x.cols];
    out[i * groups + Math.floor(j / group)] += v;
  });
  return out;
}

interface Part {
  readonly a: Matrix;
  readonly b: Matrix;
  readonly scaling: number;
  readonly group?: number;
}

/** Result and gradients of `x` through a layer with trained factors, for the gradient `dy`. */
async function run(
  device: Device,
  { x, weight, dy, parts }: {
    x: Matrix;
    weight: Matrix | QuantizedMatrix;
    dy: Matrix;
    parts: readonly Part[];
  },
) {
  using stored = "codes" in weight ? upload(device, weight) : undefined;
  using w = new Workspace(device);
  using parameters = new ParameterSet(
    device,
    parts.flatMap(({ a, b }, i) => [
      { name: `a${i}`, rows: a.rows, cols: a.cols, decay: true },
      { name: `b${i}`, rows: b.rows, cols: b.cols, decay: true },
    ]),
  );
  const lora = parts.map(({ a, b, scaling, group }, i): LoraFactors => {
    parameters.set(`a${i}`, a.data);
    parameters.set(`b${i}`, b.data);
    const trained = { a: parameters.get(`a${i}`), b: parameters.get(`b${i}`) };
    return {
      a: trained.a.value,
      b: trained.b.value,
      scaling,
      group,
      dropout: 0,
      trained,
    };
  });
  using tape = new Tape(device, { recording: true });
  const input = tape.input(w.put(x), true);
  const y = linear(tape, input, {
    layer: {
      weight: stored
        ? quantizedWeight(stored)
        : denseWeight(w.put(weight as Matrix)),
      lora,
    },
  });
  const out = (await w.get(y.value)).data;
  const gradient = tape.matrix(dy.rows, dy.cols);
  device.write(gradient.buffer, dy.data);
  tape.backward(y, gradient);
  const dx = await readF32(device, tape.gradient(input)!.buffer);
  return {
    out,
    dx: dx.subarray(0, x.data.length),
    factors: await Promise.all(parts.map(async (_, i) => ({
      a: await parameters.readGradient(`a${i}`),
      b: await parameters.readGradient(`b${i}`),
    }))),
  };
}

/** Asserts that a layer (`got`, if it was run already) is what LoRA's is with A spread over the groups, gradients too. */
async function assertAsSpread(
  device: Device,
  layer: Parameters<typeof run>[1] & { readonly weight: Matrix },
  got?: Awaited<ReturnType<typeof run>>,
): Promise<void> {
  const { x: { cols }, parts } = layer;
  got ??= await run(device, layer);
  const wanted = await run(device, {
    ...layer,
    parts: parts.map(({ a, b, scaling, group }) => ({
      a: group === undefined ? a : spread(a, group, cols),
      ...{ b, scaling },
    })),
  });
  const near = { rtol: 1e-4, atol: 2e-3 };
  assertAllClose(got.out, wanted.out, { ...near, what: "y" });
  assertAllClose(got.dx, wanted.dx, { ...near, what: "dx" });
  got.factors.forEach(({ a, b }, i) => {
    const other = wanted.factors[i];
    assertAllClose(b, other.b, { ...near, what: `dB ${i}` });
    const { a: { rows }, group } = parts[i];
    const da = group === undefined
      ? other.a
      : pooled(matrix(rows, cols, other.a), group);
    assertAllClose(a, da, { ...near, what: `dA ${i}` });
  });
}

networkTest(
  (device) =>
    `pooled factors are LoRA's with A spread over the groups on ${device}`,
  async (device) => {
    for (let seed = 0; seed < 8; seed++) {
      const random = new Random(seed);
      const [m, rows, rank] = [
        integer(random, 1, 6),
        integer(random, 1, 9),
        integer(random, 1, 4),
      ];
      const [cols, group] = [integer(random, 2, 70), integer(random, 2, 33)];
      const groups = Math.ceil(cols / group);
      const values = {
        x: normalMatrix(random, m, cols),
        weight: normalMatrix(random, rows, cols),
        dy: normalMatrix(random, m, rows),
      };
      const parts = [0, 1].map((i): Part => ({
        a: normalMatrix(random, rank, groups),
        b: normalMatrix(random, rows, rank),
        scaling: 0.5 + i,
        group,
      }));
      const plain: Part = {
        a: normalMatrix(random, rank, cols),
        b: normalMatrix(random, rows, rank),
        scaling: 2,
      };
      await assertAsSpread(device, { ...values, parts: [...parts, plain] });
    }
  },
);

networkTest(
  (device) =>
    `factors in the biases of a weight are LoRA's with A spread over the groups on ${device}`,
  async (device) => {
    for (const [m, cols, block] of [[5, 64, 16], [7, 70, 32], [2, 32, 0]]) {
      const random = new Random(m);
      const [rows, rank, group] = [6, 3, block || cols];
      const q = await quantize(normalMatrix(random, rows, cols), {
        format: "int4",
        block,
      });
      const values = {
        x: normalMatrix(random, m, cols),
        dy: normalMatrix(random, m, rows),
      };
      // Two of the weight's groups, one of wider ones, which stays beside the weight.
      const parts = [1, 1, 2].map((times, i): Part => ({
        a: normalMatrix(random, rank, Math.ceil(cols / (times * group))),
        b: normalMatrix(random, rows, rank),
        scaling: 0.5 + i,
        group: times * group,
      }));
      const { spreadColumns } = device.ops;
      let spreads = 0;
      using _ = replaced(
        device.ops,
        "spreadColumns",
        (args: Parameters<typeof spreadColumns>[0]) => {
          spreads++;
          spreadColumns(args);
        },
      );
      const before = device.memory.bytes;
      const got = await run(device, { ...values, weight: q, parts });
      assert.equal(spreads, 1);
      assert.equal(device.memory.bytes, before);
      const weight = await dequantize(q);
      await assertAsSpread(device, { ...values, weight, parts }, got);
    }
  },
);

Deno.test("inputs are pooled once for all factors of a group, and freed", async () => {
  using device = await openDevice("reference");
  const random = new Random(1);
  const real = device.ops.poolColumns;
  let calls = 0;
  using _ = replaced(
    device.ops,
    "poolColumns",
    (args: Parameters<typeof real>[0]) => {
      calls++;
      real(args);
    },
  );
  const part = (group: number): Part => ({
    a: normalMatrix(random, 2, Math.ceil(10 / group)),
    b: normalMatrix(random, 3, 2),
    scaling: 1,
    group,
  });
  const before = device.memory.bytes;
  await run(device, {
    x: normalMatrix(random, 4, 10),
    weight: normalMatrix(random, 3, 10),
    dy: normalMatrix(random, 4, 3),
    parts: [part(4), part(5), part(4)],
  });
  assert.equal(calls, 2);
  assert.equal(device.memory.bytes, before);
});

Deno.test("dropout drops pooled inputs, not what they are sums of", async () => {
  using device = await openDevice("reference");
  const random = new Random(2);
  const [m, cols, group, rate, scaling] = [5, 11, 4, 0.5, 1.5];
  const groups = 3;
  const x = normalMatrix(random, m, cols);
  const a = normalMatrix(random, 2, groups);
  const b = normalMatrix(random, 3, 2);
  using w = new Workspace(device);
  using tape = new Tape(device, { recording: true, seed: 9 });
  using other = new Tape(device, { seed: 9 });
  const seed = other.seed();
  const lora = [
    { a: w.put(a), b: w.put(b), scaling, group, dropout: rate },
  ];
  const y = linear(tape, tape.input(w.put(x), true), {
    layer: { weight: denseWeight(w.put(matrix(3, cols))), lora },
  });
  const kept = pooled(x, group).map((v, e) =>
    dropoutHash(seed, e) >= rate * 2 ** 32 ? 2 * v : 0
  );
  assert.ok(kept.includes(0) && kept.some((v) => v !== 0));
  const wanted = Array.from({ length: m * 3 }, (_, e) => {
    let sum = 0;
    for (let r = 0; r < 2; r++) {
      for (let g = 0; g < groups; g++) {
        sum += scaling * kept[Math.floor(e / 3) * groups + g] *
          a.data[r * groups + g] * b.data[e % 3 * 2 + r];
      }
    }
    return sum;
  });
  assertAllClose((await w.get(y.value)).data, wanted, { atol: 1e-4 });
});

Deno.test("a weight in affine groups tells its groups; others have none", async () => {
  using device = await openDevice("reference");
  using w = new Workspace(device);
  const groupOf = (format: "int3" | "nf4" | "clip4", block?: number) =>
    quantizedWeight(w.quant(format, { rows: 2, cols: 80, block })).groups
      ?.size;
  assert.equal(groupOf("int3", 64), 64);
  assert.equal(groupOf("int3", 0), 80);
  assert.equal(groupOf("nf4"), undefined);
  assert.equal(groupOf("clip4"), undefined);
  assert.equal(denseWeight(w.put(matrix(2, 80))).groups, undefined);
});
