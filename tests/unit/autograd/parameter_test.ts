import assert from "node:assert/strict";
import {
  ParameterSet,
  type ParameterShape,
} from "../../../src/autograd/parameter.ts";
import type { Device } from "../../../src/device/device.ts";
import { readF32 } from "../../../src/device/device.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { Random } from "../../../src/tensor/random.ts";
import { Optimizer } from "../../../src/train/step/optimizer.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { networkTest } from "../../helpers/network.ts";

const SHAPES: readonly ParameterShape[] = [
  { name: "norm", rows: 1, cols: 5, decay: false },
  { name: "a", rows: 3, cols: 100, decay: true },
  { name: "bias", rows: 1, cols: 300, decay: false },
  { name: "b", rows: 7, cols: 9, decay: true },
  { name: "none", rows: 2, cols: 4, decay: true },
];

function values(shape: ParameterShape, label: string): Float32Array {
  return new Random(1, `${shape.name} ${label}`).normals(
    shape.rows * shape.cols,
  );
}

function setGradient(
  device: Device,
  set: ParameterSet,
  { name, data }: { name: string; data: Float32Array },
): void {
  const parameter = set.get(name);
  const { buffer, offset } = parameter.gradient;
  device.write(buffer, data, offset * 4);
  parameter.fresh = false;
}

Deno.test("parameters keep their order, values and distance in arenas of one kind each", async () => {
  using device = await openDevice("reference");
  const { bytes } = device.memory;
  {
    using set = new ParameterSet(device, SHAPES);
    assert.deepEqual([...set.parameters.keys()], SHAPES.map((s) => s.name));
    assert.equal(set.count, 5 + 300 + 300 + 63 + 8);
    assert.deepEqual(set.arenas.map(({ decay }) => decay), [true, false]);
    for (const shape of SHAPES) set.set(shape.name, values(shape, "value"));
    for (const shape of SHAPES) {
      assert.deepEqual(await set.read(shape.name), values(shape, "value"));
      assert.deepEqual(
        await set.readGradient(shape.name),
        new Float32Array(shape.rows * shape.cols),
      );
    }
    set.set("b", Float32Array.of(1, 2), 3);
    assert.deepEqual((await set.read("b")).slice(3, 5), Float32Array.of(1, 2));
    assert.throws(() => set.set("b", new Float32Array(61), 3), TypeError);
    assert.throws(() => set.get("c"), RangeError);
  }
  assert.equal(device.memory.bytes, bytes);
});

Deno.test("a vector's buffer follows its parameter", async () => {
  using device = await openDevice("reference");
  using set = new ParameterSet(device, SHAPES);
  set.set("bias", values(SHAPES[2], "value"));
  const buffer = set.vector("bias");
  assert.deepEqual(await readF32(device, buffer), values(SHAPES[2], "value"));
  set.set("bias", values(SHAPES[2], "other"));
  set.refresh();
  assert.deepEqual(await readF32(device, buffer), values(SHAPES[2], "other"));
});

Deno.test("more than an arena holds goes into the next one", async () => {
  using device = await openDevice("reference");
  // One arena has 2^16 rows of 256.
  const shapes = [
    { name: "small", rows: 1, cols: 4, decay: true },
    { name: "large", rows: 2 ** 16 - 1, cols: 256, decay: true },
    { name: "next", rows: 1, cols: 7, decay: true },
    { name: "last", rows: 2, cols: 3, decay: true },
  ];
  using set = new ParameterSet(device, shapes);
  assert.deepEqual(
    set.arenas.map(({ value }) => value.rows),
    [2 ** 16, 2],
  );
  for (const shape of shapes) {
    set.set(shape.name, new Float32Array(shape.rows * shape.cols).fill(1));
  }
  set.set("next", new Float32Array(7).fill(2));
  assert.deepEqual(await set.read("small"), new Float32Array(4).fill(1));
  assert.deepEqual(await set.read("last"), new Float32Array(6).fill(1));
  assert.deepEqual(await set.read("next"), new Float32Array(7).fill(2));
  assert.ok((await set.read("large")).every((x) => x === 1));
});

networkTest(
  (device) =>
    `the optimiser: AdamW over all arenas, one norm, zeros where there is no gradient, on ${device}`,
  async (device) => {
    using set = new ParameterSet(device, SHAPES);
    const vector = set.vector("bias");
    const options = {
      beta1: 0.8,
      beta2: 0.9,
      epsilon: 1e-6,
      weightDecay: 0.1,
      clip: 3,
    };
    using optimizer = new Optimizer(set, options);
    const state = new Map(SHAPES.map((shape) => {
      set.set(shape.name, values(shape, "value"));
      const count = shape.rows * shape.cols;
      return [shape.name, {
        value: Float64Array.from(values(shape, "value")),
        mean: new Float64Array(count),
        square: new Float64Array(count),
      }];
    }));
    for (let step = 1; step <= 4; step++) {
      // "none" never has one, "b" not in every step.
      const given = SHAPES.filter(({ name }) =>
        name !== "none" && (name !== "b" || step % 2 === 1)
      );
      const gradients = new Map(
        given.map((shape) => [shape.name, values(shape, `step ${step}`)]),
      );
      for (const [name, data] of gradients) {
        setGradient(device, set, { name, data });
      }
      const norm = Math.sqrt(
        [...gradients.values()].reduce(
          (sum, g) => sum + g.reduce((a, x) => a + x * x, 0),
          0,
        ),
      );
      const scale = Math.min(1, options.clip / (norm + 1e-6));
      const rate = 0.05 / step;
      optimizer.step(rate);
      assertAllClose(
        (await readF32(device, optimizer.norm.buffer)).slice(1, 2),
        [norm],
        { rtol: 1e-5, what: "norm" },
      );
      for (const { name, decay } of SHAPES) {
        const { value, mean, square } = state.get(name)!;
        value.forEach((x, i) => {
          const g = scale * (gradients.get(name)?.[i] ?? 0);
          mean[i] = options.beta1 * mean[i] + (1 - options.beta1) * g;
          square[i] = options.beta2 * square[i] + (1 - options.beta2) * g * g;
          const root = Math.sqrt(square[i] / (1 - options.beta2 ** step));
          value[i] = x * (decay ? 1 - rate * options.weightDecay : 1) -
            rate * mean[i] / (1 - options.beta1 ** step) /
              (root + options.epsilon);
        });
        assertAllClose(await set.read(name), value, {
          rtol: 1e-5,
          atol: 2e-6,
          what: `${name} after step ${step}`,
        });
        assert.equal(set.get(name).fresh, true);
      }
      assert.deepEqual(
        (await readF32(device, vector)).slice(0, 300),
        await set.read("bias"),
      );
    }
    assert.equal(optimizer.steps, 4);
  },
);
