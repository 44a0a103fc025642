import assert from "node:assert/strict";
import { assertConforms, RUNS } from "../helpers/conformance.ts";
import type { DeviceBuffer } from "../../src/device/buffer.ts";
import {
  NETWORK_OPERATIONS,
  type NetworkOperations,
} from "../../src/device/operations.ts";
import { gpuTest } from "../helpers/gpu.ts";
import { networkTable } from "./network_cases.ts";
import { Workspace } from "./workspace.ts";

const TABLE = networkTable();

type Ops = NetworkOperations;

/** Calls whose shapes do not fit. */
const WRONG: {
  [K in keyof Ops]: (w: Workspace) => Parameters<Ops[K]>[0];
} = {
  combine: (w) => ({ x: w.room(2, 3), out: w.room(3, 2) }),
  addRow: (w) => ({ x: w.room(2, 3), row: row(w, 2), out: w.room(2, 3) }),
  columnSums: (w) => ({ x: w.room(2, 3), out: row(w, 2) }),
  poolColumns: (w) => ({ x: w.room(2, 5), group: 2, out: w.room(2, 2) }),
  spreadColumns: (w) => ({ x: w.room(2, 2), group: 2, out: w.room(2, 5) }),
  gatherRows: (w) => ({
    table: w.room(2, 3),
    ids: row(w, 2),
    out: w.room(2, 2),
  }),
  scatterRows: (w) => ({
    table: w.room(2, 3),
    ids: row(w, 2),
    x: w.room(3, 3),
  }),
  rmsNorm: (w) => ({ ...normed(w), out: w.room(2, 3), inverse: row(w, 1) }),
  rmsNormBackward: (w) => ({
    ...normed(w),
    dy: w.room(2, 3),
    inverse: row(w, 2),
    dx: w.room(3, 3),
  }),
  layerNorm: (w) => ({
    ...{ ...normed(w), bias: row(w, 2), out: w.room(2, 3) },
    ...{ mean: row(w, 2), inverse: row(w, 2) },
  }),
  layerNormBackward: (w) => ({
    ...{ ...normed(w), dy: w.room(2, 3), mean: row(w, 2), inverse: row(w, 1) },
    dx: w.room(2, 3),
  }),
  activate: (w) => ({ x: w.room(2, 3), out: w.room(3, 2), kind: "gelu" }),
  activateBackward: (w) => ({
    ...{ x: w.room(2, 3), dy: w.room(2, 3), dx: w.room(2, 4), kind: "relu" },
  }),
  relativeScores: (w) => ({
    ...{ scores: w.room(4, 2), c2p: w.room(4, 3), p2c: w.room(4, 2) },
    shape: { time: 2, index: row(w, 3), alpha: 1 },
  }),
  relativeScoresBackward: (w) => ({
    ...{ dscores: w.room(4, 2), dc2p: w.room(4, 3) },
    shape: { time: 2, index: row(w, 2), alpha: 1 },
  }),
  maskedSoftmax: (w) => ({ x: w.room(4, 2), out: w.room(4, 2), rows: 3 }),
  maskedSoftmaxBackward: (w) => ({
    ...{ dy: w.room(2, 3), y: w.room(2, 3), dx: w.room(2, 2) },
  }),
  rope: (w) => ({
    x: w.room(2, 6),
    out: w.room(2, 6),
    positions: row(w, 2),
    cos: w.room(4, 3),
    sin: w.room(4, 3),
    headDim: 3,
  }),
  swiglu: (w) => ({ gate: w.room(2, 3), up: w.room(2, 3), out: w.room(2, 4) }),
  swigluBackward: (w) => ({
    gate: w.room(2, 3),
    up: w.room(2, 3),
    dy: w.room(2, 4),
    dgate: w.room(2, 3),
    dup: w.room(2, 3),
  }),
  attention: (w) => attended(w),
  attentionBackward: (w) => ({
    ...attended(w),
    dy: w.room(3, 8),
    logSumExp: row(w, 6),
    dq: w.room(3, 8),
    dk: w.room(3, 4),
    dv: w.room(3, 4),
  }),
  crossEntropy: (w) => ({
    logits: w.room(2, 3),
    labels: row(w, 1),
    losses: row(w, 2),
  }),
  dropout: (w) => ({ x: w.room(2, 3), out: w.room(2, 4), rate: 0, seed: 0 }),
  clipScale: (w) => ({
    squares: row(w, 2),
    count: 3,
    most: 1,
    out: row(w, 2),
  }),
  adamw: (w) => ({
    param: w.room(2, 3),
    grad: w.room(2, 3),
    mean: w.room(2, 3),
    square: w.room(3, 2),
    step: {
      learningRate: 1,
      beta1: 0.9,
      beta2: 0.9,
      epsilon: 1,
      weightDecay: 0,
      bias1: 1,
      bias2: 1,
    },
  }),
};

function row(w: Workspace, n: number): DeviceBuffer {
  return w.vector(new Float32Array(n));
}

function normed(w: Workspace) {
  return { x: w.room(2, 3), weight: row(w, 3), epsilon: 0 };
}

/** Attention with one feature too few in its values. */
function attended(w: Workspace) {
  return {
    q: w.room(3, 8),
    k: w.room(3, 4),
    v: w.room(3, 3),
    out: w.room(3, 8),
    shape: {
      batch: 1,
      time: 3,
      keys: 3,
      capacity: 3,
      heads: 2,
      kvHeads: 1,
      headDim: 4,
      scale: 1,
      causal: true,
      past: 0,
      window: 0,
    },
  };
}

for (const { name, title, open } of RUNS) {
  const test = name === "webgpu" ? gpuTest : Deno.test;
  test(`network: ${title}`, async (t) => {
    using device = await open();
    for (const op of NETWORK_OPERATIONS) {
      const cases = TABLE.filter((row) => row.op === op);
      assert.ok(cases.length > 0, `no case for ${op}`);
      if (name !== "reference" && device.ops[op] === undefined) {
        await t.step({
          name: `${op}: ${name} has no such operation`,
          ignore: true,
          fn() {},
        });
        continue;
      }
      await t.step(
        `${op}: ${cases.length} cases`,
        () => assertConforms(device, cases),
      );
    }

    await t.step("shapes are checked before anything runs", () => {
      for (const op of NETWORK_OPERATIONS) {
        const run = device.ops[op] as ((args: unknown) => void) | undefined;
        if (run === undefined) continue;
        using w = new Workspace(device);
        const args = WRONG[op](w);
        assert.throws(() => run(args), TypeError, op);
      }
    });
  });
}

Deno.test("network: the list of operations is complete", () => {
  assert.deepEqual(Object.keys(WRONG).sort(), [...NETWORK_OPERATIONS].sort());
});
