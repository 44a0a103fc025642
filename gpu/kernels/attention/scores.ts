/**
 * DeBERTa's relative terms and the masked softmax on the WebGPU device.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import type { Mat } from "../../../src/device/buffer.ts";
import type { RelativeShape } from "../../../src/device/contract/attention.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { grid } from "../../context.ts";
import { part, rowsBound, rowTiles, same } from "../elementwise/map.ts";
import { bindVector } from "../elementwise/rows.ts";
import { rowThreads } from "../norm/rms_norm.wgsl.ts";
import {
  maskedSoftmaxBackwardKernel,
  maskedSoftmaxKernel,
  relativeBackwardKernel,
  relativeKernel,
  type RelativeTerm,
  SCORES_THREADS,
} from "./scores.wgsl.ts";

/** Runs a kernel of one relative term on whole heads, as many as one binding reaches of both matrices. */
function runRelative(
  memory: WebGpuMemory,
  { scores, term, shape, name, backward }: {
    scores: Mat;
    term: Mat;
    shape: RelativeShape;
    name: RelativeTerm;
    backward: boolean;
  },
): void {
  const { time, alpha } = shape;
  if (scores.rows === 0) return;
  const kernel = backward ? relativeBackwardKernel(name) : relativeKernel(name);
  const index = bindVector(memory, shape.index, { at: 0, count: 2 * time - 1 });
  const most = Math.min(rowsBound(memory, scores), rowsBound(memory, term));
  const step = Math.max(1, Math.floor(most / time)) * time;
  const runs: (() => void)[] = [];
  for (let row = 0; row < scores.rows; row += step) {
    const rows = Math.min(step, scores.rows - row);
    const on = memory.bind(part(scores, { row, rows }));
    const of = memory.bind(part(term, { row, rows }));
    runs.push(() =>
      memory.context.run(kernel, {
        params: [
          ...[rows, time, index.first, { f32: alpha }],
          ...[of.first, of.stride, on.first, on.stride],
          ...(backward ? [term.cols] : []),
        ],
        reads: [index.span, backward ? on.span : of.span],
        writes: [backward ? of.span : on.span],
        groups: grid(
          Math.ceil(rows * (backward ? 1 : time) / SCORES_THREADS),
        ),
        shape: `${rows}x${time} of ${term.cols}`,
      })
    );
  }
  memory.enqueue(() => runs.forEach((run) => run()));
}

function relativeScores(
  memory: WebGpuMemory,
  args: OperationArgs<"relativeScores">,
): void {
  const { scores, shape } = args;
  for (const name of ["c2p", "p2c"] as const) {
    const term = args[name];
    if (!term) continue;
    runRelative(memory, { scores, term, shape, name, backward: false });
  }
}

function relativeScoresBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"relativeScoresBackward">,
): void {
  const { dscores: scores, shape } = args;
  for (const name of ["c2p", "p2c"] as const) {
    const term = args[`d${name}`];
    if (!term) continue;
    runRelative(memory, { scores, term, shape, name, backward: true });
  }
}

function maskedSoftmax(
  memory: WebGpuMemory,
  args: OperationArgs<"maskedSoftmax">,
): void {
  const { x, out } = args;
  const { cols } = x;
  if (x.rows === 0 || cols === 0) return;
  const inPlace = same(x, out);
  const bounds = args.bounds && bindVector(memory, args.bounds, {
    at: 0,
    count: x.rows / args.rows * 2,
  });
  const kernel = maskedSoftmaxKernel(rowThreads(cols), {
    bounded: bounds !== undefined,
    inPlace,
  });
  const runs = rowTiles(memory, [x, out]).map((tile) => {
    const from = memory.bind(part(x, tile));
    const to = memory.bind(part(out, tile));
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, from.first, from.stride, to.first, to.stride],
          ...[tile.row, args.rows, bounds?.first ?? 0],
        ],
        reads: [
          ...(bounds ? [bounds.span] : []),
          ...(inPlace ? [] : [from.span]),
        ],
        writes: [to.span],
        groups: grid(tile.rows),
        shape: `${tile.rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function maskedSoftmaxBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"maskedSoftmaxBackward">,
): void {
  const { cols } = args.y;
  if (args.y.rows === 0 || cols === 0) return;
  const inPlace = same(args.dy, args.dx);
  const kernel = maskedSoftmaxBackwardKernel(rowThreads(cols), inPlace);
  const mats = [args.dy, args.y, args.dx];
  const runs = rowTiles(memory, mats).map((tile) => {
    const [dy, y, dx] = mats.map((m) => memory.bind(part(m, tile)));
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, dy.first, dy.stride, y.first, y.stride],
          ...[dx.first, dx.stride],
        ],
        reads: [y.span, ...(inPlace ? [] : [dy.span])],
        writes: [dx.span],
        groups: grid(tile.rows),
        shape: `${tile.rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

/** These operations, in a memory of the device. */
export const scoreOperations = {
  relativeScores,
  relativeScoresBackward,
  maskedSoftmax,
  maskedSoftmaxBackward,
} satisfies MemoryOperations<WebGpuMemory>;
