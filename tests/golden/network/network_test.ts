import { readF32 } from "../../../src/device/device.ts";
import type { DeviceBuffer } from "../../../src/device/buffer.ts";
import type { AttentionShape } from "../../../src/device/contract/attention.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { Workspace } from "../../conformance/workspace.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { floats, golden } from "../../helpers/golden.ts";

type Texts<K extends string> = Record<K, string>;

interface Network {
  rmsNorm:
    & { rows: number; cols: number; epsilon: number }
    & Texts<"x" | "weight" | "dy" | "out" | "dx" | "dweight">;
  rope:
    & { time: number; heads: number; headDim: number }
    & Texts<"x" | "cos" | "sin" | "out">;
  swiglu:
    & { rows: number; cols: number }
    & Texts<"gate" | "up" | "dy" | "out" | "dgate" | "dup">;
  attention: (
    & { shape: AttentionShape; bounds: [number, number][] | null }
    & Texts<"q" | "k" | "v" | "dy" | "out" | "dq" | "dk" | "dv">
  )[];
  crossEntropy: {
    rows: number;
    words: number;
    labels: number[];
    gradient: number;
  } & Texts<"logits" | "losses" | "slopes">;
  adamw: {
    rows: number;
    cols: number;
    most: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
    start: string;
    steps: (
      & { learningRate: number; clip: [number, number] }
      & Texts<
        "grad" | "param" | "mean" | "square"
      >
    )[];
  };
}

const peer = golden<Network>(import.meta, "network.json");

/** f32 inputs and outputs of size 1, everything between in f64. */
const NEAR = { rtol: 1e-6, atol: 1e-6 };

async function open(): Promise<{ w: Workspace } & Disposable> {
  const device = await openDevice("reference");
  const w = new Workspace(device);
  return {
    w,
    [Symbol.dispose](): void {
      w[Symbol.dispose]();
      device[Symbol.dispose]();
    },
  };
}

async function assertNear(
  w: Workspace,
  outputs: Record<string, { actual: DeviceBuffer; expected: string }>,
): Promise<void> {
  for (const [what, { actual, expected }] of Object.entries(outputs)) {
    assertAllClose(await readF32(w.device, actual), floats(expected), {
      ...NEAR,
      what,
    });
  }
}

Deno.test("rmsNorm and its backward are LLaMA's", async () => {
  using tools = await open();
  const { w } = tools;
  const { rows, cols, epsilon, ...g } = peer.rmsNorm;
  const put = (text: string) => w.put(matrix(rows, cols, floats(text)));
  const [x, out, dx] = [put(g.x), w.room(rows, cols), w.room(rows, cols)];
  const weight = w.vector(floats(g.weight));
  const inverse = w.vector(new Float32Array(rows));
  const dweight = w.vector(new Float32Array(cols));
  w.device.ops.rmsNorm({ x, weight, epsilon, out, inverse });
  w.device.ops.rmsNormBackward({
    dy: put(g.dy),
    x,
    weight,
    inverse,
    dx,
    dweight,
  });
  await assertNear(w, {
    out: { actual: out.buffer, expected: g.out },
    dx: { actual: dx.buffer, expected: g.dx },
    dweight: { actual: dweight, expected: g.dweight },
  });
});

Deno.test("rope turns as transformers' rotary embedding does", async () => {
  using tools = await open();
  const { w } = tools;
  const { time, heads, headDim, ...g } = peer.rope;
  const table = (text: string) =>
    w.put(matrix(time, headDim / 2, floats(text)));
  const out = w.room(time, heads * headDim);
  w.device.ops.rope({
    x: w.put(matrix(time, heads * headDim, floats(g.x))),
    out,
    positions: w.vector(Uint32Array.from({ length: time }, (_, i) => i)),
    cos: table(g.cos),
    sin: table(g.sin),
    headDim,
  });
  await assertNear(w, { out: { actual: out.buffer, expected: g.out } });
});

Deno.test("swiglu and its backward are PyTorch's", async () => {
  using tools = await open();
  const { w } = tools;
  const { rows, cols, ...g } = peer.swiglu;
  const put = (text: string) => w.put(matrix(rows, cols, floats(text)));
  const inputs = { gate: put(g.gate), up: put(g.up) };
  const out = w.room(rows, cols);
  const [dgate, dup] = [w.room(rows, cols), w.room(rows, cols)];
  w.device.ops.swiglu({ ...inputs, out });
  w.device.ops.swigluBackward({ ...inputs, dy: put(g.dy), dgate, dup });
  await assertNear(w, {
    out: { actual: out.buffer, expected: g.out },
    dgate: { actual: dgate.buffer, expected: g.dgate },
    dup: { actual: dup.buffer, expected: g.dup },
  });
});

for (const { shape: plain, bounds, ...g } of peer.attention) {
  const { time, past, window, causal } = plain;
  const name = `${time} queries, past ${past}, window ${window}, ${
    causal ? "causal" : "full"
  }${bounds ? ", padding" : ""}`;
  Deno.test(`attention and its backward are PyTorch's: ${name}`, async () => {
    using tools = await open();
    const { w } = tools;
    const shape: AttentionShape = {
      ...plain,
      bounds: bounds ? w.vector(Uint32Array.from(bounds.flat())) : undefined,
    };
    const { batch, keys, heads, kvHeads, headDim } = shape;
    const query = [batch * time, heads * headDim] as const;
    const key = [batch * keys, kvHeads * headDim] as const;
    const q = w.put(matrix(...query, floats(g.q)));
    const k = w.put(matrix(...key, floats(g.k)));
    const v = w.put(matrix(...key, floats(g.v)));
    const out = w.room(...query);
    const logSumExp = w.vector(new Float32Array(batch * heads * time));
    w.device.ops.attention({ q, k, v, out, shape, logSumExp });
    await assertNear(w, { out: { actual: out.buffer, expected: g.out } });
    if (past > 0) return;
    const [dq, dk, dv] = [w.room(...query), w.room(...key), w.room(...key)];
    w.device.ops.attentionBackward({
      dy: w.put(matrix(...query, floats(g.dy))),
      q,
      k,
      v,
      out,
      logSumExp,
      shape,
      dq,
      dk,
      dv,
    });
    await assertNear(w, {
      dq: { actual: dq.buffer, expected: g.dq },
      dk: { actual: dk.buffer, expected: g.dk },
      dv: { actual: dv.buffer, expected: g.dv },
    });
  });
}

Deno.test("crossEntropy and its gradient are PyTorch's, with labels left out", async () => {
  using tools = await open();
  const { w } = tools;
  const { rows, words, labels, gradient, ...g } = peer.crossEntropy;
  const logits = w.put(matrix(rows, words, floats(g.logits)));
  const losses = w.vector(new Float32Array(rows));
  w.device.ops.crossEntropy({
    logits,
    labels: w.vector(Int32Array.from(labels)),
    losses,
    gradient,
  });
  await assertNear(w, {
    losses: { actual: losses, expected: g.losses },
    slopes: { actual: logits.buffer, expected: g.slopes },
  });
});

Deno.test("clipScale and adamw are PyTorch's over three steps", async () => {
  using tools = await open();
  const { w } = tools;
  const { rows, cols, most, start, steps, ...options } = peer.adamw;
  const { ops } = w.device;
  const param = w.put(matrix(rows, cols, floats(start)));
  const [mean, square] = [w.put(matrix(rows, cols)), w.put(matrix(rows, cols))];
  for (const [i, { learningRate, clip, ...g }] of steps.entries()) {
    const grad = w.put(matrix(rows, cols, floats(g.grad)));
    const squares = w.vector(new Float32Array(rows));
    const scale = w.vector(new Float32Array(2));
    ops.rowSquares({ x: grad, out: squares });
    ops.clipScale({ squares, count: rows, most, out: scale });
    assertAllClose(await readF32(w.device, scale), clip, NEAR);
    ops.adamw({
      param,
      grad,
      mean,
      square,
      scale,
      step: {
        ...options,
        learningRate,
        bias1: 1 - options.beta1 ** (i + 1),
        bias2: 1 - options.beta2 ** (i + 1),
      },
    });
    await assertNear(w, {
      param: { actual: param.buffer, expected: g.param },
      mean: { actual: mean.buffer, expected: g.mean },
      square: { actual: square.buffer, expected: g.square },
    });
  }
});
