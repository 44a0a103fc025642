import assert from "node:assert/strict";
import { activate } from "../../../src/autograd/activation.ts";
import { add, dropout, scale } from "../../../src/autograd/elementwise.ts";
import { Tape, type Tensor } from "../../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../../src/device/device.ts";
import { mat } from "../../../src/device/buffer.ts";
import { ACTIVATIONS } from "../../../src/device/contract/activation.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { networkTest } from "../../helpers/network.ts";

const [ROWS, COLS] = [3, 40];
const COUNT = ROWS * COLS;

const input = (tape: Tape, values: Float32Array) =>
  tape.input(mat(tape.upload(values), ROWS, COLS), true);

const valueOf = (device: Device, t: Tensor) =>
  readF32(device, t.value.buffer, 0, COUNT);

const gradientOf = ({ device, gradient }: {
  device: Device;
  gradient: ReturnType<Tape["gradient"]>;
}) => readF32(device, gradient!.buffer, 0, COUNT);

networkTest(
  (device) =>
    `add(): both sides have the gradient for themselves, on ${device}`,
  async (device) => {
    const random = new Random(1);
    const [a, b, dy] = [0, 1, 2].map(() => random.normals(COUNT));
    using tape = new Tape(device, { recording: true });
    const [x, y] = [input(tape, a), input(tape, b)];
    const sum = add(tape, x, y);
    // `y` gets more than `sum` hands on, `x` does not; and `sum` is added to itself.
    const out = add(tape, add(tape, sum, sum), y);
    assertAllClose(
      await valueOf(device, out),
      a.map((v, i) => 2 * v + 3 * b[i]),
      { atol: 1e-5 },
    );
    tape.backward(out, mat(tape.upload(dy), ROWS, COLS));
    for (const [t, times] of [[x, 2], [y, 3]] as const) {
      assertAllClose(
        await gradientOf({ device, gradient: tape.gradient(t) }),
        dy.map((v) => times * v),
        { atol: 1e-5 },
      );
    }
  },
);

networkTest(
  (device) => `scale(): values and gradients, on ${device}`,
  async (device) => {
    const random = new Random(2);
    const [a, dy] = [random.normals(COUNT), random.normals(COUNT)];
    using tape = new Tape(device, { recording: true });
    const x = input(tape, a);
    const out = add(tape, scale(tape, x, -0.5), x);
    assertAllClose(await valueOf(device, out), a.map((v) => v / 2), {
      atol: 1e-6,
    });
    tape.backward(out, mat(tape.upload(dy), ROWS, COLS));
    assertAllClose(
      await gradientOf({ device, gradient: tape.gradient(x) }),
      dy.map((v) => v / 2),
      { atol: 1e-6 },
    );
  },
);

networkTest(
  (device) =>
    `dropout(): the gradient is dropped where the values are, on ${device}`,
  async (device) => {
    const rate = 0.4;
    const random = new Random(3);
    // None is 0, so that a 0 of the result was dropped.
    const values = random.normals(COUNT).map((v) => v + Math.sign(v));
    using tape = new Tape(device, { recording: true, seed: 3 });
    const x = input(tape, values);
    const out = dropout(tape, x, rate);
    const got = await valueOf(device, out);
    const kept = [...got].map((v) => v !== 0);
    const share = kept.filter(Boolean).length / COUNT;
    assert.ok(share > 0.4 && share < 0.8, `${share} kept`);
    const dropped = (v: number, i: number) => kept[i] ? v / (1 - rate) : 0;
    assertAllClose(got, values.map(dropped), { rtol: 1e-6 });
    const dy = random.normals(COUNT);
    tape.backward(out, mat(tape.upload(dy), ROWS, COLS));
    assertAllClose(
      await gradientOf({ device, gradient: tape.gradient(x) }),
      dy.map(dropped),
      { rtol: 1e-6 },
    );
  },
);

Deno.test("dropout() outside training, or of nothing, is its input", async () => {
  using device = await openDevice("reference");
  const values = new Random(4).normals(COUNT);
  for (const training of [false, true]) {
    using tape = new Tape(device, { training });
    const x = input(tape, values);
    assert.equal(dropout(tape, x, 0), x);
    assert.equal(dropout(tape, x, 0.5) === x, !training);
  }
});

networkTest(
  (device) =>
    `activate(): its input stays, and its gradient adds up, on ${device}`,
  async (device) => {
    const random = new Random(5);
    const [values, dy] = [random.normals(COUNT), random.normals(COUNT)];
    const { bytes } = device.memory;
    for (const kind of ACTIVATIONS) {
      using tape = new Tape(device, { recording: true });
      const gradientAfter = async (times: number) => {
        const x = input(tape, values);
        let out = activate(tape, x, kind);
        for (let n = 1; n < times; n++) {
          out = add(tape, out, activate(tape, x, kind));
        }
        assert.deepEqual(await valueOf(device, x), values);
        tape.backward(out, mat(tape.upload(dy), ROWS, COLS));
        return gradientOf({ device, gradient: tape.gradient(x) });
      };
      const once = await gradientAfter(1);
      assert.ok(once.some((v) => v !== 0), kind);
      assertAllClose(await gradientAfter(3), once.map((v) => 3 * v), {
        atol: 1e-5,
        what: kind,
      });
    }
    assert.equal(device.memory.bytes, bytes);
  },
);
