/**
 * Rows of the benchmark for what transformers do between their products: norms, gates, attention, the loss. Sizes are
 * those of SmolLM2-135M with four sequences of 128 tokens.
 *
 * @module
 */

import type { Device } from "../../src/device/device.ts";
import { type DeviceBuffer, type Mat, mat } from "../../src/device/buffer.ts";
import type { AttentionShape } from "../../src/device/contract/attention.ts";
import { Random } from "../../src/tensor/random.ts";
import type { Settings } from "./rows.ts";
import { type Row, takeRow } from "./table.ts";

const TOKENS = 512;
const DIM = 576;
const HIDDEN = 1536;
const VOCABULARY = 49152;

const SHAPE: AttentionShape = {
  batch: 4,
  time: 128,
  keys: 128,
  capacity: 128,
  heads: 9,
  kvHeads: 3,
  headDim: 64,
  scale: 1 / 8,
  causal: true,
  past: 0,
  window: 0,
};

/** One operation: what it does, what it must move or compute, and what the peer calls it. */
interface Plan {
  readonly figure: string;
  readonly result: DeviceBuffer;
  readonly flops?: number;
  readonly bytes?: number;
  readonly peer: Readonly<Record<string, unknown>>;
  run(): void;
}

function seconds(
  device: Device,
  { result, run }: Plan,
  least: number,
): () => Promise<number> {
  return async () => {
    await device.read(result, 0, 4);
    const began = performance.now();
    for (let runs = 0, queued = 1;; queued = Math.min(64, runs)) {
      for (let i = 0; i < queued; i++) run();
      runs += queued;
      await device.read(result, 0, 4);
      const spent = (performance.now() - began) / 1000;
      if (spent >= least) return spent / runs;
    }
  };
}

function rowPlans(device: Device, memory: DisposableStack): Plan[] {
  const { ops } = device;
  const random = (rows: number, cols: number): Mat => {
    const x = mat(memory.use(device.alloc(4 * rows * cols)), rows, cols);
    device.write(x.buffer, new Random(rows + cols).normals(rows * cols));
    return x;
  };
  const [x, out] = [random(TOKENS, DIM), random(TOKENS, DIM)];
  const weight = random(1, DIM).buffer;
  const inverse = random(1, TOKENS).buffer;
  const [gate, up, gated] = [1, 2, 3].map(() => random(TOKENS, HIDDEN));
  const logits = random(TOKENS, VOCABULARY);
  const losses = random(1, TOKENS).buffer;
  const labels = memory.use(device.alloc(4 * TOKENS));
  device.write(labels, Int32Array.from({ length: TOKENS }, (_, i) => 90 * i));
  return [
    {
      figure: `rmsNorm ${TOKENS} x ${DIM}`,
      result: out.buffer,
      bytes: 8 * TOKENS * DIM,
      peer: { op: "rms_norm", rows: TOKENS, cols: DIM },
      run: () => ops.rmsNorm({ x, weight, epsilon: 1e-5, out, inverse }),
    },
    {
      figure: `swiglu ${TOKENS} x ${HIDDEN}`,
      result: gated.buffer,
      bytes: 12 * TOKENS * HIDDEN,
      peer: { op: "swiglu", rows: TOKENS, cols: HIDDEN },
      run: () => ops.swiglu({ gate, up, out: gated }),
    },
    {
      figure: `cross-entropy ${TOKENS} x ${VOCABULARY}, with its gradient`,
      result: losses,
      bytes: 8 * TOKENS * VOCABULARY,
      peer: { op: "cross_entropy", rows: TOKENS, cols: VOCABULARY },
      run: () => ops.crossEntropy({ logits, labels, losses, gradient: 1 }),
    },
  ];
}

function attentionPlans(device: Device, memory: DisposableStack): Plan[] {
  const { batch, time, heads, kvHeads, headDim } = SHAPE;
  const random = (count: number): Mat => {
    const [rows, cols] = [batch * time, count * headDim];
    const x = mat(memory.use(device.alloc(4 * rows * cols)), rows, cols);
    device.write(x.buffer, new Random(count).normals(rows * cols));
    return x;
  };
  const [q, out, dy, dq] = [1, 2, 3, 4].map(() => random(heads));
  const [k, v, dk, dv] = [1, 2, 3, 4].map(() => random(kvHeads));
  const logSumExp = memory.use(device.alloc(4 * batch * heads * time));
  const forward = { q, k, v, out, shape: SHAPE, logSumExp };
  device.ops.attention(forward);
  // Two products a pair of query and key that counts, five in the backward.
  const flops = 2 * batch * heads * headDim * time * (time + 1) / 2;
  const name = `${batch} x ${time}, ${heads}/${kvHeads} heads of ${headDim}`;
  const sizes = { batch, time, heads, kv: kvHeads, dim: headDim };
  return [
    {
      figure: `attention ${name}`,
      result: out.buffer,
      flops: 2 * flops,
      peer: { op: "attention", ...sizes },
      run: () => device.ops.attention(forward),
    },
    {
      figure: `attention backward ${name}`,
      result: dv.buffer,
      flops: 5 * flops,
      peer: { op: "attention_backward", ...sizes },
      run: () => device.ops.attentionBackward({ ...forward, dy, dq, dk, dv }),
    },
  ];
}

/** Measures them; `peak` in GFLOP/s and `copy` in GB/s are the limits of the device's threads. */
export async function networkRows(
  { quick, peer, onRow }: Settings,
  device: Device,
  { peak, copy }: { peak: number; copy: number },
): Promise<void> {
  const { threads } = device;
  using memory = new DisposableStack();
  const plans = [
    ...rowPlans(device, memory),
    ...attentionPlans(device, memory),
  ];
  for (const plan of plans) {
    const work = plan.flops ?? plan.bytes!;
    const rate = (spent: number) => work / spent / 1e9;
    const take = seconds(device, plan, 0.2);
    const unit: Row["unit"] = plan.flops ? "GFLOP/s" : "GB/s";
    onRow(
      await takeRow({
        figure: `${plan.figure}, ${threads} thread${threads > 1 ? "s" : ""}`,
        unit,
        ours: async () => rate(await take()),
        ...(peer && {
          peer: {
            name: "torch",
            take: async () =>
              rate(await peer.seconds({ ...plan.peer, threads })),
          },
        }),
        limit: plan.flops
          ? { is: "FMA peak", value: peak }
          : { is: "copy", value: copy },
        rounds: quick ? 3 : 5,
      }),
    );
  }
}
