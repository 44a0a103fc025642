/**
 * DeBERTa's relative terms and the masked softmax on the WASM device. The kernels: `wasm/assembly/attention/scores.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { WasmMemory } from "../buffers.ts";
import { GRAIN, isEmpty, place, SLOW_GRAIN, wantIds } from "../words.ts";

function relativeScores(
  memory: WasmMemory,
  args: OperationArgs<"relativeScores">,
): void {
  const { scores, c2p, p2c, shape: { time, index, alpha } } = args;
  if (!c2p && !p2c) return;
  wantIds(memory, "relativeScores: index", {
    at: index,
    count: 2 * time - 1,
    limit: (c2p ?? p2c)!.cols,
  });
  const parts = memory.parts(scores.rows * time, SLOW_GRAIN);
  memory.kernels.run("relativeScores", parts, {
    ...{ heads: scores.rows / time, time, alpha },
    index: memory.address(index),
    scores: place(memory, scores),
    c2p: place(memory, c2p),
    p2c: place(memory, p2c),
  });
}

function relativeScoresBackward(
  memory: WasmMemory,
  args: OperationArgs<"relativeScoresBackward">,
): void {
  const { dscores, dc2p, dp2c, shape: { time, index, alpha } } = args;
  if (!dc2p && !dp2c) return;
  const { cols } = (dc2p ?? dp2c)!;
  wantIds(memory, "relativeScoresBackward: index", {
    at: index,
    count: 2 * time - 1,
    limit: cols,
  });
  const parts = memory.parts(dscores.rows * time, SLOW_GRAIN);
  memory.kernels.run("relativeScoresBackward", parts, {
    ...{ heads: dscores.rows / time, time, alpha, cols },
    index: memory.address(index),
    scores: place(memory, dscores),
    c2p: place(memory, dc2p),
    p2c: place(memory, dp2c),
  });
}

function maskedSoftmax(
  memory: WasmMemory,
  args: OperationArgs<"maskedSoftmax">,
): void {
  const { x, out, rows, bounds } = args;
  if (isEmpty(x)) return;
  if (bounds) {
    wantIds(memory, "maskedSoftmax: bounds", {
      at: bounds,
      count: x.rows / rows * 2,
      limit: x.cols + 1,
    });
  }
  const parts = memory.parts(x.rows * x.cols, SLOW_GRAIN);
  memory.kernels.run("maskedSoftmax", parts, {
    rows: x.rows,
    cols: x.cols,
    x: place(memory, x),
    out: place(memory, out),
    each: rows,
    bounds: bounds ? memory.address(bounds) : 0,
  });
}

function maskedSoftmaxBackward(
  memory: WasmMemory,
  args: OperationArgs<"maskedSoftmaxBackward">,
): void {
  const { dy, y, dx } = args;
  if (isEmpty(y)) return;
  const parts = memory.parts(y.rows * y.cols, GRAIN);
  memory.kernels.run("maskedSoftmaxBackward", parts, {
    rows: y.rows,
    cols: y.cols,
    dy: place(memory, dy),
    y: place(memory, y),
    dx: place(memory, dx),
  });
}

/** These operations, in a memory of the device. */
export const scoreOperations = {
  relativeScores,
  relativeScoresBackward,
  maskedSoftmax,
  maskedSoftmaxBackward,
} satisfies MemoryOperations<WasmMemory>;
