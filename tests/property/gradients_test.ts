import assert from "node:assert/strict";
import { denseWeight } from "../../src/autograd/linear_weight.ts";
import { linear } from "../../src/autograd/linear.ts";
import { ParameterSet } from "../../src/autograd/parameter.ts";
import { Tape } from "../../src/autograd/tape.ts";
import type { Device } from "../../src/device/device.ts";
import { type Mat, mat } from "../../src/device/buffer.ts";
import type { AttentionShape } from "../../src/device/contract/attention.ts";
import { openDevice } from "../../src/backend/open.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import type { Random } from "../../src/tensor/random.ts";
import { Workspace } from "../conformance/workspace.ts";
import {
  plainAttention,
  plainAttentionBackward,
} from "../helpers/attention.ts";
import { assertAllClose } from "../helpers/assert.ts";
import {
  assertSlopes,
  inner,
  type Inputs,
  numericGradient,
  type Values,
} from "../helpers/gradients.ts";
import { forSeeds, integer, normalMatrix, pick } from "../helpers/inputs.ts";

/** Puts `inputs` on the device, runs, and reads what `run` returns. */
async function compute(
  device: Device,
  inputs: Inputs,
  run: (args: {
    w: Workspace;
    on: Record<string, Mat>;
    room: (like: Matrix) => Mat;
  }) => Record<string, Mat>,
): Promise<Record<string, Float32Array>> {
  using w = new Workspace(device);
  const on = Object.fromEntries(
    Object.entries(inputs).map(([name, x]) => [name, w.put(x)]),
  );
  const outputs = run({ w, on, room: (x) => w.room(x.rows, x.cols) });
  const read: Record<string, Float32Array> = {};
  for (const [name, x] of Object.entries(outputs)) {
    read[name] = (await w.get(x)).data;
  }
  return read;
}

const vectorOf = (x: Matrix) => new Float32Array(x.data);

Deno.test("rmsNorm: the backward is the slope of the forward", async () => {
  using device = await openDevice("reference");
  await forSeeds(25, async (random) => {
    const [rows, cols] = [integer(random, 1, 6), integer(random, 2, 20)];
    const epsilon = pick(random, [1e-6, 1e-2, 1]);
    const inputs = {
      x: normalMatrix(random, rows, cols),
      weight: normalMatrix(random, 1, cols),
    };
    const dy = normalMatrix(random, rows, cols);
    const forward = (given: Inputs) =>
      compute(device, { x: given.x }, ({ w, on, room }) => {
        const out = room(given.x);
        const inverse = mat(w.vector(new Float32Array(rows)), rows, 1);
        device.ops.rmsNorm({
          x: on.x,
          weight: w.vector(vectorOf(given.weight)),
          epsilon,
          out,
          inverse: inverse.buffer,
        });
        return { out, inverse };
      });
    const { inverse } = await forward(inputs);
    const { dx, dweight } = await compute(
      device,
      { x: inputs.x, dy },
      ({ w, on, room }) => {
        const into = room(inputs.x);
        const grown = mat(w.vector(new Float32Array(cols)), 1, cols);
        device.ops.rmsNormBackward({
          dy: on.dy,
          x: on.x,
          weight: w.vector(vectorOf(inputs.weight)),
          inverse: w.vector(inverse),
          dx: into,
          dweight: grown.buffer,
        });
        return { dx: into, dweight: grown };
      },
    );
    await assertSlopes(random, {
      inputs,
      gradients: { x: dx, weight: dweight },
      loss: async (given) => inner((await forward(given)).out, dy.data),
    });
  });
});

Deno.test("swiglu: the backward is the slope of the forward", async () => {
  using device = await openDevice("reference");
  await forSeeds(25, async (random) => {
    const [rows, cols] = [integer(random, 1, 6), integer(random, 1, 20)];
    const inputs = {
      gate: normalMatrix(random, rows, cols),
      up: normalMatrix(random, rows, cols),
    };
    const dy = normalMatrix(random, rows, cols);
    const { gate, up } = await compute(
      device,
      { ...inputs, dy },
      ({ on, room }) => {
        const into = { dgate: room(dy), dup: room(dy) };
        device.ops.swigluBackward({
          dy: on.dy,
          gate: on.gate,
          up: on.up,
          ...into,
        });
        return { gate: into.dgate, up: into.dup };
      },
    );
    await assertSlopes(random, {
      inputs,
      gradients: { gate, up },
      loss: async (given) => {
        const { out } = await compute(device, given, ({ on, room }) => {
          const to = room(dy);
          device.ops.swiglu({ gate: on.gate, up: on.up, out: to });
          return { out: to };
        });
        return inner(out, dy.data);
      },
    });
  });
});

Deno.test("crossEntropy: its gradient is the slope of its losses", async () => {
  using device = await openDevice("reference");
  await forSeeds(25, async (random) => {
    const [rows, words] = [integer(random, 1, 6), integer(random, 1, 30)];
    const labels = Int32Array.from(
      { length: rows },
      () => integer(random, -1, words - 1),
    );
    const factor = 0.5 + random.uniform();
    const logits = normalMatrix(random, rows, words);
    const run = (given: Matrix, gradient?: number) =>
      compute(device, { given }, ({ w, on }) => {
        const losses = mat(w.vector(new Float32Array(rows)), rows, 1);
        device.ops.crossEntropy({
          logits: on.given,
          labels: w.vector(labels),
          losses: losses.buffer,
          gradient,
        });
        return { losses, logits: on.given };
      });
    await assertSlopes(random, {
      inputs: { logits },
      gradients: { logits: (await run(logits, factor)).logits },
      loss: async (given) =>
        factor * (await run(given.logits)).losses.reduce((a, b) => a + b, 0),
    });
  });
});

/** A random shape with a mask; now and then a query that sees nothing. */
function someAttention(random: Random) {
  const kvHeads = integer(random, 1, 3);
  const batch = integer(random, 1, 3);
  const time = integer(random, 1, 7);
  const keys = pick(random, [time, time, integer(random, 1, 9)]);
  const headDim = integer(random, 1, 9);
  return {
    batch,
    time,
    keys,
    capacity: keys + integer(random, 0, 2),
    heads: kvHeads * integer(random, 1, 3),
    kvHeads,
    headDim,
    scale: 1 / Math.sqrt(headDim),
    causal: random.uniform() < 0.7,
    past: 0,
    window: pick(random, [0, 0, 1, 2, 5]),
    bounds: random.uniform() < 0.5 ? undefined : Array.from(
      { length: batch },
      () => {
        const from = integer(random, 0, keys);
        return [from, integer(random, from, keys)] as const;
      },
    ),
  };
}

function attentionInputs(
  random: Random,
  s: ReturnType<typeof someAttention>,
): { inputs: { q: Matrix; k: Matrix; v: Matrix }; dy: Matrix } {
  const queries = [s.batch * s.time, s.heads * s.headDim] as const;
  const keys = [s.batch * s.capacity, s.kvHeads * s.headDim] as const;
  return {
    inputs: {
      q: normalMatrix(random, ...queries),
      k: normalMatrix(random, ...keys),
      v: normalMatrix(random, ...keys),
    },
    dy: normalMatrix(random, ...queries),
  };
}

Deno.test("attention: the backward is the slope of the forward", async () => {
  using device = await openDevice("reference");
  await forSeeds(40, async (random) => {
    const s = someAttention(random);
    const { inputs, dy } = attentionInputs(random, s);
    const shapeOn = (w: Workspace): AttentionShape => ({
      ...s,
      bounds: s.bounds && w.vector(Uint32Array.from(s.bounds.flat())),
    });
    const forward = (given: Inputs) =>
      compute(device, given, ({ w, on, room }) => {
        const out = room(dy);
        const count = s.batch * s.heads * s.time;
        const logSumExp = mat(w.vector(new Float32Array(count)), count, 1);
        device.ops.attention({
          q: on.q,
          k: on.k,
          v: on.v,
          out,
          shape: shapeOn(w),
          logSumExp: logSumExp.buffer,
        });
        return { out, logSumExp };
      });
    const { out, logSumExp } = await forward(inputs);
    const gradients = await compute(
      device,
      { ...inputs, dy, out: matrix(dy.rows, dy.cols, out) },
      ({ w, on, room }) => {
        const into = {
          dq: room(inputs.q),
          dk: room(inputs.k),
          dv: room(inputs.v),
        };
        device.ops.attentionBackward({
          dy: on.dy,
          q: on.q,
          k: on.k,
          v: on.v,
          out: on.out,
          logSumExp: w.vector(logSumExp),
          shape: shapeOn(w),
          ...into,
        });
        return { q: into.dq, k: into.dk, v: into.dv };
      },
    );
    await assertSlopes(random, {
      inputs,
      gradients,
      loss: async (given) => inner((await forward(given)).out, dy.data),
    });
  });
});

Deno.test("attention: the textbook backward of the conformance table is the slope of its forward", async () => {
  await forSeeds(25, (random) => {
    const s = someAttention(random);
    const { inputs, dy } = attentionInputs(random, s);
    const values = {
      q: inputs.q.data,
      k: inputs.k.data,
      v: inputs.v.data,
      dy: dy.data,
    };
    const gradients = plainAttentionBackward(s, values);
    for (const name of ["q", "k", "v"] as const) {
      const x = values[name];
      const v = random.normals(x.length);
      const along = (t: Float64Array) => {
        const moved = Float64Array.from(x, (value, i) => value + t[0] * v[i]);
        const { out } = plainAttention(s, { ...values, [name]: moved });
        return inner(out, dy.data);
      };
      assertAllClose(
        [inner(gradients[`d${name}`], v)],
        numericGradient(along, [0]),
        { atol: 1e-6, what: name },
      );
    }
  });
});

/** Asserts `<f(x), y> = <x, g(y)>` up to f32 rounding: `g` is the backward of the linear `f`. */
function assertAdjoint(
  { x, y, fx, gy }: Record<"x" | "y" | "fx" | "gy", Values>,
): void {
  const length = (a: Values) => Math.sqrt(inner(a, a));
  const limit = 1e-6 *
    (length(fx) * length(y) + length(x) * length(gy) + 1e-30);
  assert.ok(
    Math.abs(inner(fx, y) - inner(x, gy)) <= limit,
    `${inner(fx, y)} against ${inner(x, gy)}, tolerance ${limit}`,
  );
}

Deno.test("rope turns back, and its inverse is its backward", async () => {
  using device = await openDevice("reference");
  await forSeeds(25, async (random) => {
    const headDim = 2 * integer(random, 1, 8);
    const rows = integer(random, 1, 6);
    const cols = headDim * integer(random, 1, 4);
    const angles = random.normals(5 * headDim / 2);
    const table = (f: (a: number) => number) =>
      matrix(5, headDim / 2, angles.map(f));
    const positions = Uint32Array.from(
      { length: rows },
      () => integer(random, 0, 4),
    );
    const turn = async (x: Matrix, inverse: boolean): Promise<Float32Array> => {
      const { out } = await compute(
        device,
        { x, cos: table(Math.cos), sin: table(Math.sin) },
        ({ w, on, room }) => {
          const to = room(x);
          device.ops.rope({
            x: on.x,
            cos: on.cos,
            sin: on.sin,
            positions: w.vector(positions),
            out: to,
            headDim,
            inverse,
          });
          return { out: to };
        },
      );
      return out;
    };
    const x = normalMatrix(random, rows, cols);
    const y = normalMatrix(random, rows, cols);
    const fx = await turn(x, false);
    const back = await turn(matrix(rows, cols, fx), true);
    assertAllClose(back, x.data, { atol: 2e-6 });
    assertAdjoint({ x: x.data, y: y.data, fx, gy: await turn(y, true) });
  });
});

Deno.test("spreadColumns is the backward of poolColumns", async () => {
  using device = await openDevice("reference");
  await forSeeds(25, async (random) => {
    const [rows, cols] = [integer(random, 1, 6), integer(random, 1, 40)];
    const group = integer(random, 1, 45);
    const x = normalMatrix(random, rows, cols);
    const y = normalMatrix(random, rows, Math.ceil(cols / group));
    const { fx, gy } = await compute(device, { x, y }, ({ on, room }) => {
      const to = { fx: room(y), gy: room(x) };
      device.ops.poolColumns({ x: on.x, group, out: to.fx });
      device.ops.spreadColumns({ x: on.y, group, out: to.gy });
      return to;
    });
    assertAdjoint({ x: x.data, y: y.data, fx, gy });
  });
});

Deno.test("pooled factors of a linear layer: the backward is the slope of the forward, dropout and all", async () => {
  using device = await openDevice("reference");
  await forSeeds(25, async (random) => {
    const [m, rows] = [integer(random, 1, 5), integer(random, 1, 6)];
    const [cols, group] = [integer(random, 2, 24), integer(random, 2, 9)];
    const rank = integer(random, 1, 3);
    const dropout = pick(random, [0, 0.3]);
    const scaling = 0.5 + random.uniform();
    const inputs = {
      x: normalMatrix(random, m, cols),
      weight: normalMatrix(random, rows, cols),
      a: normalMatrix(random, rank, Math.ceil(cols / group)),
      b: normalMatrix(random, rows, rank),
    };
    const dy = normalMatrix(random, m, rows);
    const run = async (given: Inputs) => {
      using w = new Workspace(device);
      using parameters = new ParameterSet(
        device,
        (["a", "b"] as const).map((name) => ({
          name,
          rows: given[name].rows,
          cols: given[name].cols,
          decay: true,
        })),
      );
      parameters.set("a", given.a.data);
      parameters.set("b", given.b.data);
      const trained = { a: parameters.get("a"), b: parameters.get("b") };
      using tape = new Tape(device, { recording: true, seed: 3 });
      const x = tape.input(w.put(given.x), true);
      const y = linear(tape, x, {
        layer: {
          weight: denseWeight(w.put(given.weight)),
          lora: [{
            a: trained.a.value,
            b: trained.b.value,
            scaling,
            dropout,
            group,
            trained,
          }],
        },
      });
      const { data } = await w.get(y.value);
      const gradient = tape.matrix(m, rows);
      device.write(gradient.buffer, dy.data);
      tape.backward(y, gradient);
      return {
        loss: inner(data, dy.data),
        gradients: {
          x: (await w.get(tape.gradient(x)!)).data,
          a: await parameters.readGradient("a"),
          b: await parameters.readGradient("b"),
        },
      };
    };
    const { gradients } = await run(inputs);
    await assertSlopes(random, {
      inputs,
      gradients,
      loss: async (given) => (await run(given)).loss,
    });
  });
});

Deno.test("scatterRows is the backward of gatherRows, columnSums that of addRow", async () => {
  using device = await openDevice("reference");
  await forSeeds(25, async (random) => {
    const [rows, cols] = [integer(random, 1, 9), integer(random, 1, 9)];
    const count = integer(random, 1, 12);
    const ids = Uint32Array.from(
      { length: count },
      () => integer(random, 0, rows - 1),
    );
    const x = normalMatrix(random, rows, cols);
    const y = normalMatrix(random, count, cols);
    const { fx, gy } = await compute(device, { x, y }, ({ w, on, room }) => {
      const to = { fx: room(y), gy: w.put(matrix(rows, cols)) };
      device.ops.gatherRows({ table: on.x, ids: w.vector(ids), out: to.fx });
      device.ops.scatterRows({ x: on.y, ids: w.vector(ids), table: to.gy });
      return to;
    });
    assertAdjoint({ x: x.data, y: y.data, fx, gy });

    const row = normalMatrix(random, 1, cols);
    const added = await compute(device, { y }, ({ w, on, room }) => {
      const fx = room(y);
      const gy = mat(w.vector(new Float32Array(cols)), 1, cols);
      device.ops.addRow({
        x: w.put(matrix(count, cols)),
        row: w.vector(vectorOf(row)),
        out: fx,
      });
      device.ops.columnSums({ x: on.y, out: gy.buffer });
      return { fx, gy };
    });
    assertAdjoint({ x: row.data, y: y.data, fx: added.fx, gy: added.gy });
  });
});
