import { activate } from "../../src/autograd/activation.ts";
import { add, dropout } from "../../src/autograd/elementwise.ts";
import { crossEntropy, squaredError } from "../../src/autograd/loss.ts";
import { layerNorm } from "../../src/autograd/norm.ts";
import { type Parameter, ParameterSet } from "../../src/autograd/parameter.ts";
import { relativeAttention } from "../../src/autograd/relative.ts";
import { Tape, type Tensor } from "../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../src/device/device.ts";
import { mat } from "../../src/device/buffer.ts";
import { ACTIVATIONS } from "../../src/device/contract/activation.ts";
import { openDevice } from "../../src/backend/open.ts";
import type { Matrix } from "../../src/tensor/matrix.ts";
import type { Random } from "../../src/tensor/random.ts";
import { assertSlopes, inner, type Inputs } from "../helpers/gradients.ts";
import { forSeeds, integer, normalMatrix, pick } from "../helpers/inputs.ts";

type Tensors = Record<string, Tensor>;

/** Inputs on a tape, of which all want a gradient. */
function put(tape: Tape, inputs: Inputs): Tensors {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { rows, cols, data }]) => [
      name,
      tape.input(mat(tape.upload(data), rows, cols), true),
    ]),
  );
}

/** Holds the gradients of `<run(inputs), dy>` on a tape against differences. */
async function check(
  device: Device,
  random: Random,
  { inputs, run, seed = 1 }: {
    inputs: Inputs;
    run: (tape: Tape, x: Tensors) => Tensor;
    seed?: number;
  },
): Promise<void> {
  const forward = async (given: Inputs) => {
    using tape = new Tape(device, { training: true, seed });
    const { value } = run(tape, put(tape, given));
    return await readF32(
      device,
      value.buffer,
      value.offset,
      value.rows * value.cols,
    );
  };
  const dy = random.normals((await forward(inputs)).length);
  using tape = new Tape(device, { recording: true, seed });
  const tensors = put(tape, inputs);
  const out = run(tape, tensors);
  const gradient = mat(tape.upload(dy), out.value.rows, out.value.cols);
  tape.backward(out, gradient);
  const gradients: Record<string, Float32Array> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    const { buffer, offset, rows, cols } = tape.gradient(tensor)!;
    gradients[name] = await readF32(device, buffer, offset, rows * cols);
  }
  await assertSlopes(random, {
    inputs,
    gradients,
    loss: async (given) => inner(await forward(given), dy),
  });
}

/** Trains rows of one vector each. */
async function checkVectors(
  device: Device,
  random: Random,
  inputs: { x: Matrix; weight: Matrix; bias: Matrix },
): Promise<void> {
  const { rows, cols } = inputs.x;
  const epsilon = pick(random, [1e-6, 1e-2, 1]);
  const dy = random.normals(rows * cols);
  const names = ["weight", "bias"] as const;
  const run = (tape: Tape, given: Inputs, trained?: ParameterSet) => {
    const vector = (name: typeof names[number]) => {
      const parameter: Parameter | undefined = trained?.get(name);
      trained?.set(name, given[name].data);
      const value = trained?.vector(name) ?? tape.upload(given[name].data);
      return { value, parameter };
    };
    const x = tape.input(mat(tape.upload(given.x.data), rows, cols));
    const [weight, bias] = names.map(vector);
    return layerNorm(tape, x, { weight, bias, epsilon });
  };
  using trained = new ParameterSet(
    device,
    names.map((name) => ({ name, rows: 1, cols, decay: false })),
  );
  using tape = new Tape(device, { recording: true });
  const out = run(tape, inputs, trained);
  tape.backward(out, mat(tape.upload(dy), rows, cols));
  await assertSlopes(random, {
    inputs: { ...inputs },
    gradients: {
      weight: await trained.readGradient("weight"),
      bias: await trained.readGradient("bias"),
    },
    loss: async (given) => {
      using quiet = new Tape(device);
      const { value } = run(quiet, given);
      return inner(await readF32(device, value.buffer, 0, rows * cols), dy);
    },
  });
}

Deno.test("layerNorm: the backward is the slope of the forward", async () => {
  using device = await openDevice("reference");
  await forSeeds(15, async (random) => {
    const [rows, cols] = [integer(random, 1, 6), integer(random, 3, 20)];
    const x = normalMatrix(random, rows, cols);
    const weight = normalMatrix(random, 1, cols);
    const bias = normalMatrix(random, 1, cols);
    const epsilon = pick(random, [1e-2, 1]);
    await check(device, random, {
      inputs: { x },
      run: (tape, { x }) =>
        layerNorm(tape, x, {
          weight: { value: tape.upload(weight.data) },
          bias: { value: tape.upload(bias.data) },
          epsilon,
        }),
    });
    await checkVectors(device, random, { x, weight, bias });
  });
});

Deno.test("activations: the backward is the slope of the forward", async () => {
  using device = await openDevice("reference");
  await forSeeds(8, async (random) => {
    for (const kind of ACTIVATIONS) {
      const x = normalMatrix(random, integer(random, 1, 5), 7);
      // Away from the corner of relu.
      x.data.forEach((v, i) => x.data[i] = v + Math.sign(v) * 0.3);
      await check(device, random, {
        inputs: { x },
        run: (tape, { x }) => activate(tape, x, kind),
      });
    }
  });
});

Deno.test("sums and dropout: the backward is the slope of the forward", async () => {
  using device = await openDevice("reference");
  await forSeeds(8, async (random) => {
    const [rows, cols] = [integer(random, 1, 5), integer(random, 1, 9)];
    await check(device, random, {
      inputs: {
        x: normalMatrix(random, rows, cols),
        y: normalMatrix(random, rows, cols),
      },
      // Both sides of the sum get more than its gradient.
      run: (tape, { x, y }) =>
        add(tape, add(tape, x, y), dropout(tape, add(tape, y, x), 0.4)),
    });
  });
});

Deno.test("disentangled attention: the backward is the slope of the forward", async () => {
  using device = await openDevice("reference");
  await forSeeds(12, async (random) => {
    const [batch, time] = [integer(random, 1, 3), integer(random, 1, 6)];
    const [heads, headDim] = [integer(random, 1, 3), integer(random, 1, 4)];
    const positions = integer(random, 1, 2 * time);
    const [tokens, cols] = [batch * time, heads * headDim];
    const terms = pick(random, [
      ["posKey", "posQuery"],
      ["posKey"],
      ["posQuery"],
      [],
    ]);
    const index = Uint32Array.from(
      { length: 2 * time - 1 },
      (_, i) => Math.floor(i * positions / (2 * time - 1)),
    );
    const bounds = random.uint32() % 2 === 0 ? undefined : Uint32Array.from(
      Array.from({ length: batch }, () => [0, integer(random, 1, time)]).flat(),
    );
    const inputs = Object.fromEntries([
      ...["q", "k", "v"].map((name) => [
        name,
        normalMatrix(random, tokens, cols),
      ]),
      ...terms.map((name) => [name, normalMatrix(random, positions, cols)]),
    ]);
    await check(device, random, {
      inputs,
      run: (tape, x) =>
        relativeAttention(tape, { q: x.q, k: x.k, v: x.v, ...x }, {
          ...{ batch, time, heads, headDim },
          scale: 0.5,
          index: tape.upload(index),
          bounds: bounds && tape.upload(bounds),
        }),
    });
  });
});

Deno.test("losses of classes and of numbers: their gradients are the slopes", async () => {
  using device = await openDevice("reference");
  await forSeeds(10, async (random) => {
    const [rows, cols] = [integer(random, 1, 6), integer(random, 2, 5)];
    const labels = Int32Array.from(
      { length: rows },
      () => integer(random, -1, cols - 1),
    );
    const targets = random.normals(rows);
    const weight = 0.25;
    for (const numbers of [false, true]) {
      const x = normalMatrix(random, rows, numbers ? 1 : cols);
      const run = (tape: Tape, given: Matrix) => {
        const on = tape.input(
          mat(tape.upload(given.data), rows, given.cols),
          true,
        );
        const losses = tape.alloc(rows * 4);
        if (numbers) squaredError(tape, on, { targets, losses, weight });
        else crossEntropy(tape, on, { labels, losses, weight });
        return { on, losses };
      };
      using tape = new Tape(device, { recording: true });
      const { on } = run(tape, x);
      const gradient = tape.gradient(on)!;
      await assertSlopes(random, {
        inputs: { x },
        gradients: {
          x: await readF32(device, gradient.buffer, 0, rows * x.cols),
        },
        loss: async (given) => {
          using quiet = new Tape(device);
          const { losses } = run(quiet, given.x);
          const all = await readF32(device, losses, 0, rows);
          return weight * all.reduce((a, b) => a + b, 0);
        },
      });
    }
  });
});
