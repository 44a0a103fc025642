import assert from "node:assert/strict";
import {
  relativeAttention,
  type RelativeInputs,
} from "../../../src/autograd/relative.ts";
import { Tape, type Tensor } from "../../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../../src/device/device.ts";
import { mat } from "../../../src/device/buffer.ts";
import { openDevice } from "../../../src/backend/open.ts";
import type { Matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { inner, numericGradient } from "../../helpers/gradients.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { networkTest } from "../../helpers/network.ts";

const SIZES = { batch: 2, time: 5, heads: 2, headDim: 3, scale: 0.4 };
const TOKENS = SIZES.batch * SIZES.time;
const COLS = SIZES.heads * SIZES.headDim;
const POSITIONS = 4;
const INDEX = Uint32Array.of(0, 0, 1, 1, 2, 2, 2, 3, 3);
/** The second sequence has two tokens of padding. */
const BOUNDS = Uint32Array.of(0, 5, 0, 3);

type Name = keyof RelativeInputs;
type Values = Partial<Record<Name, ArrayLike<number>>>;
type Matrices = Partial<Record<Name, Matrix>>;

function randomInputs(names: readonly Name[]): Matrices {
  const random = new Random(5);
  return Object.fromEntries(names.map((name) => [
    name,
    normalMatrix(random, name.startsWith("pos") ? POSITIONS : TOKENS, COLS),
  ]));
}

/** The attention by its definition, in f64. */
function plain({ q, k, v, posKey, posQuery }: Values): Float64Array {
  const { batch, time, heads, headDim, scale } = SIZES;
  const out = new Float64Array(TOKENS * COLS);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const at = (x: ArrayLike<number>, row: number) =>
        Array.from(
          { length: headDim },
          (_, c) => x[row * COLS + h * headDim + c],
        );
      for (let i = 0; i < time; i++) {
        const query = at(q!, b * time + i);
        const powers = Array.from({ length: BOUNDS[2 * b + 1] }, (_, j) => {
          const key = at(k!, b * time + j);
          const p = INDEX[i - j + time - 1];
          let score = inner(query, key);
          if (posKey) score += inner(query, at(posKey, p));
          if (posQuery) score += inner(key, at(posQuery, p));
          return Math.exp(scale * score);
        });
        const total = powers.reduce((a, b) => a + b, 0);
        powers.forEach((power, j) =>
          at(v!, b * time + j).forEach((value, c) => {
            out[(b * time + i) * COLS + h * headDim + c] += power / total *
              value;
          })
        );
      }
    }
  }
  return out;
}

/** Puts the inputs on a tape and runs the attention; those in `wanted` want a gradient. */
function onTape(
  tape: Tape,
  inputs: Matrices,
  { wanted = Object.keys(inputs), bounds = true }: {
    wanted?: readonly string[];
    bounds?: boolean;
  } = {},
): { out: Tensor; tensors: Partial<Record<Name, Tensor>> } {
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, { rows, cols, data }]) => [
      name,
      tape.input(mat(tape.upload(data), rows, cols), wanted.includes(name)),
    ]),
  ) as Partial<Record<Name, Tensor>>;
  const out = relativeAttention(tape, tensors as RelativeInputs, {
    ...SIZES,
    index: tape.upload(INDEX),
    bounds: bounds ? tape.upload(BOUNDS) : undefined,
  });
  return { out, tensors };
}

const read = (device: Device, { value }: Pick<Tensor, "value">) =>
  readF32(device, value.buffer, 0, value.rows * value.cols);

for (
  const terms of [
    ["posKey", "posQuery"],
    ["posKey"],
    ["posQuery"],
    [],
  ] as const
) {
  networkTest(
    (device) =>
      `disentangled attention (${
        terms.join(", ") || "no relative terms"
      }): values and gradients by their definition, on ${device}`,
    async (device) => {
      const inputs = randomInputs(["q", "k", "v", ...terms]);
      const dy = normalMatrix(new Random(6), TOKENS, COLS);
      const data = Object.fromEntries(
        Object.entries(inputs).map(([name, x]) => [name, x.data]),
      );
      const { bytes } = device.memory;
      {
        using tape = new Tape(device, { recording: true });
        const { out, tensors } = onTape(tape, inputs);
        assertAllClose(await read(device, out), plain(data), { atol: 1e-5 });
        tape.backward(out, mat(tape.upload(dy.data), TOKENS, COLS));
        for (const [name, tensor] of Object.entries(tensors)) {
          const value = tape.gradient(tensor)!;
          assertAllClose(
            await read(device, { value }),
            numericGradient(
              (x) => inner(plain({ ...data, [name]: x }), dy.data),
              inputs[name as Name]!.data,
            ),
            { atol: 1e-5, what: `gradient of ${name}` },
          );
        }
      }
      assert.equal(device.memory.bytes, bytes);
    },
  );
}

Deno.test("disentangled attention: gradients of those that want one", async () => {
  using device = await openDevice("reference");
  const inputs = randomInputs(["q", "k", "v", "posKey", "posQuery"]);
  const dy = normalMatrix(new Random(6), TOKENS, COLS);
  const gradients = async (wanted: readonly string[]) => {
    using tape = new Tape(device, { recording: true });
    const { out, tensors } = onTape(tape, inputs, { wanted });
    tape.backward(out, mat(tape.upload(dy.data), TOKENS, COLS));
    return Object.fromEntries(
      await Promise.all(
        Object.entries(tensors).map(async ([name, tensor]) => {
          const value = tape.gradient(tensor);
          return [name, value && await read(device, { value })];
        }),
      ),
    );
  };
  const all = await gradients(Object.keys(inputs));
  for (const name of Object.keys(inputs)) {
    assert.deepEqual(await gradients([name]), {
      ...Object.fromEntries(Object.keys(inputs).map((n) => [n, undefined])),
      [name]: all[name],
    });
  }
});

Deno.test("disentangled attention without relative terms is attention", async () => {
  using device = await openDevice("reference");
  using tape = new Tape(device);
  const inputs = randomInputs(["q", "k", "v"]);
  const { out, tensors: { q, k, v } } = onTape(tape, inputs, { bounds: false });
  const wanted = tape.matrix(TOKENS, COLS);
  const { heads, time } = SIZES;
  device.ops.attention({
    ...{ q: q!.value, k: k!.value, v: v!.value, out: wanted },
    shape: {
      ...{ ...SIZES, kvHeads: heads, keys: time, capacity: time },
      ...{ causal: false, past: 0, window: 0 },
    },
  });
  assertAllClose(
    await read(device, out),
    await read(device, { value: wanted }),
    { atol: 1e-6 },
  );
});
