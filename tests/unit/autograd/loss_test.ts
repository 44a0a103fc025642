import assert from "node:assert/strict";
import { denseWeight } from "../../../src/autograd/linear_weight.ts";
import {
  crossEntropy,
  headLoss,
  lossRows,
  spanLoss,
  squaredError,
} from "../../../src/autograd/loss.ts";
import { ParameterSet } from "../../../src/autograd/parameter.ts";
import { Tape, type Tensor } from "../../../src/autograd/tape.ts";
import { type Device, readF32 } from "../../../src/device/device.ts";
import type { DeviceBuffer, Mat } from "../../../src/device/buffer.ts";
import { matrix } from "../../../src/tensor/matrix.ts";
import { Random } from "../../../src/tensor/random.ts";
import { targetsOf } from "../../../src/train/step/objective.ts";
import { Workspace } from "../../conformance/workspace.ts";
import { assertAllClose } from "../../helpers/assert.ts";
import { numericGradient } from "../../helpers/gradients.ts";
import { assertNear } from "../../helpers/llama.ts";
import { networkTest } from "../../helpers/network.ts";

const COLS = 2;

/** Losses, and gradients of the head and the hidden states, by their definition in f64. */
function plain(
  { x, w, labels, weight }: {
    x: Float32Array;
    w: Float32Array;
    labels: Int32Array;
    weight: number;
  },
) {
  const words = w.length / COLS;
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(w.length);
  const losses = Float64Array.from(labels, (label, i) => {
    if (label < 0) return 0;
    const logits = Float64Array.from({ length: words }, (_, v) => {
      let sum = 0;
      for (let c = 0; c < COLS; c++) sum += x[i * COLS + c] * w[v * COLS + c];
      return sum;
    });
    const most = logits.reduce((a, b) => Math.max(a, b));
    const total = logits.reduce((sum, z) => sum + Math.exp(z - most), 0);
    for (let v = 0; v < words; v++) {
      const g = weight *
        (Math.exp(logits[v] - most) / total - (v === label ? 1 : 0));
      for (let c = 0; c < COLS; c++) {
        dx[i * COLS + c] += g * w[v * COLS + c];
        dw[v * COLS + c] += g * x[i * COLS + c];
      }
    }
    return most + Math.log(total) - logits[label];
  });
  return { losses, dx, dw };
}

const WORDS = 50;
const ROWS = 5;

for (const chunk of [undefined, 5, 2, 1]) {
  networkTest(
    (device) =>
      `headLoss() in chunks of ${
        chunk ?? "what fits"
      }: losses and gradients by their definition, on ${device}`,
    async (device) => {
      const random = new Random(4);
      const x = random.normals(ROWS * COLS);
      const w = random.normals(WORDS * COLS);
      const labels = Int32Array.from([3, WORDS - 1, -100, 7, 0]);
      const weight = 0.25;
      using on = new Workspace(device);
      using set = new ParameterSet(device, [
        { name: "head", rows: WORDS, cols: COLS, decay: true },
      ]);
      set.set("head", w);
      const head = set.get("head");
      using tape = new Tape(device, { recording: true });
      const hidden = tape.input(on.put(matrix(ROWS, COLS, x)), true);
      const losses = tape.alloc(ROWS * 4);
      headLoss(tape, hidden, {
        head: denseWeight(head.value, head),
        labels,
        losses,
        weight,
        chunk,
      });
      const wanted = plain({ x, w, labels, weight });
      const read = async ({ buffer, rows, cols }: Mat) =>
        (await readF32(device, buffer)).subarray(0, rows * cols);
      assertAllClose(
        (await readF32(device, losses)).subarray(0, ROWS),
        wanted.losses,
        { rtol: 1e-5, what: "losses" },
      );
      assertNear(await read(tape.gradient(hidden)!), wanted.dx, {
        tolerance: 1e-4,
        what: "dx",
      });
      assertNear(await set.readGradient("head"), wanted.dw, {
        tolerance: 1e-4,
        what: "dw",
      });
    },
    { gpu: false },
  );
}

/** Holds losses and the gradient of `weight` times their sum against `plainly`, in f64; without a gradient, losses alone. */
async function checkLoss(
  device: Device,
  { rows, cols, weight, plainly, run }: {
    rows: number;
    cols: number;
    weight: number;
    plainly: (x: ArrayLike<number>) => number[];
    run: (tape: Tape, x: Tensor, losses: DeviceBuffer) => void;
  },
): Promise<void> {
  const x = new Random(rows * 31 + cols).normals(rows * cols);
  const wanted = plainly(x);
  using on = new Workspace(device);
  const value = on.put(matrix(rows, cols, x));
  for (const needsGradient of [true, false]) {
    using tape = new Tape(device, { recording: true });
    const input = tape.input(value, needsGradient);
    const losses = tape.alloc(wanted.length * 4);
    run(tape, input, losses);
    assertAllClose(
      (await readF32(device, losses)).subarray(0, wanted.length),
      wanted,
      { atol: 1e-5, what: "losses" },
    );
    const gradient = tape.gradient(input);
    assert.equal(gradient !== undefined, needsGradient);
    if (!gradient) continue;
    assertAllClose(
      (await readF32(device, gradient.buffer)).subarray(0, rows * cols),
      numericGradient(
        (at) => weight * plainly(at).reduce((a, b) => a + b, 0),
        x,
      ),
      { atol: 1e-5, what: "gradient" },
    );
  }
  // What came from outside is as it was.
  assert.deepEqual((await on.get(value)).data, x);
}

/** Cross-entropy of one row, 0 of a label that is left out. */
function entropy(logits: readonly number[], label: number): number {
  if (label < 0) return 0;
  const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
  return Math.log(total) - logits[label];
}

const slices = (x: ArrayLike<number>, cols: number) =>
  Array.from(
    { length: x.length / cols },
    (_, i) => Array.from({ length: cols }, (_, j) => x[i * cols + j]),
  );

networkTest(
  (device) =>
    `crossEntropy(), spanLoss(), squaredError(): losses and gradients by their definition, on ${device}`,
  async (device, t) => {
    const weight = 0.25;
    await t.step("classes, one left out", async () => {
      const labels = Int32Array.of(2, -1, 0, 1);
      await checkLoss(device, {
        ...{ rows: 4, cols: 3, weight },
        plainly: (x) => slices(x, 3).map((row, i) => entropy(row, labels[i])),
        run: (tape, x, losses) =>
          crossEntropy(tape, x, { labels, losses, weight }),
      });
    });
    await t.step("spans of three sequences", async () => {
      const starts = Int32Array.of(0, 4, 2);
      const ends = Int32Array.of(3, 4, -1);
      await checkLoss(device, {
        ...{ rows: 2, cols: 15, weight },
        plainly: (x) => {
          const rows = slices(x, 5);
          return [0, 1, 2].map((b) =>
            (entropy(rows[b], starts[b]) + entropy(rows[3 + b], ends[b])) / 2
          );
        },
        run: (tape, x, losses) =>
          spanLoss(tape, x, { starts, ends, losses, weight }),
      });
    });
    await t.step("numbers", async () => {
      const targets = Float32Array.of(1, -0.5, 4.25);
      await checkLoss(device, {
        ...{ rows: 3, cols: 1, weight },
        plainly: (x) => Array.from(x, (v, i) => (v - targets[i]) ** 2),
        run: (tape, x, losses) =>
          squaredError(tape, x, { targets, losses, weight }),
      });
    });
  },
);

Deno.test("lossRows(): logits of 16 MiB, at least a row", () => {
  assert.equal(lossRows(2 ** 15), 128);
  assert.equal(lossRows(2 ** 25), 1);
});

Deno.test("targetsOf() pairs each token with the next one that is to be learnt", () => {
  const { rows, labels } = targetsOf({
    ids: [1, 2, 3, 4, 5, 6],
    labels: [1, 2, -100, 4, -100, 6],
    batch: 2,
    time: 3,
  });
  assert.deepEqual([...rows], [0, 4]);
  assert.deepEqual([...labels], [2, 6]);
});
