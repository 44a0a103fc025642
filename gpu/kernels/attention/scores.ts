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
import { run } from "../../kernel.ts";
import { part, rowsBound, rowTiles, same } from "../elementwise/map.ts";
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
  const index = memory.vector(shape.index, { count: 2 * time - 1 });
  const most = Math.min(rowsBound(memory, scores), rowsBound(memory, term));
  const step = Math.max(1, Math.floor(most / time)) * time;
  for (let row = 0; row < scores.rows; row += step) {
    const rows = Math.min(step, scores.rows - row);
    const params = { rows, time, alpha };
    const bind = {
      index,
      term: memory.bind(part(term, { row, rows })),
      scores: memory.bind(part(scores, { row, rows })),
    };
    const work = {
      groups: grid(Math.ceil(rows * (backward ? 1 : time) / SCORES_THREADS)),
      shape: `${rows}x${time} of ${term.cols}`,
    };
    if (backward) {
      run(memory, relativeBackwardKernel(name), {
        params: { ...params, cols: term.cols },
        ...{ bind, ...work },
      });
    } else run(memory, relativeKernel(name), { params, bind, ...work });
  }
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
  const bounds = args.bounds && memory.vector(args.bounds, {
    count: x.rows / args.rows * 2,
  });
  const kernel = maskedSoftmaxKernel(rowThreads(cols), {
    bounded: bounds !== undefined,
    inPlace,
  });
  for (const tile of rowTiles(memory, [x, out])) {
    const { row: first, rows } = tile;
    run(memory, kernel, {
      params: { rows, cols, first, each: args.rows },
      bind: {
        bounds,
        x: memory.bind(part(x, tile)),
        y: memory.bind(part(out, tile)),
      },
      groups: grid(rows),
      shape: `${rows}x${cols}`,
    });
  }
}

function maskedSoftmaxBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"maskedSoftmaxBackward">,
): void {
  const { cols } = args.y;
  if (args.y.rows === 0 || cols === 0) return;
  const inPlace = same(args.dy, args.dx);
  const kernel = maskedSoftmaxBackwardKernel(rowThreads(cols), inPlace);
  for (const tile of rowTiles(memory, [args.dy, args.y, args.dx])) {
    const { rows } = tile;
    run(memory, kernel, {
      params: { rows, cols },
      bind: {
        dy: memory.bind(part(args.dy, tile)),
        y: memory.bind(part(args.y, tile)),
        dx: memory.bind(part(args.dx, tile)),
      },
      groups: grid(rows),
      shape: `${rows}x${cols}`,
    });
  }
}

/** These operations, in a memory of the device. */
export const scoreOperations = {
  relativeScores,
  relativeScoresBackward,
  maskedSoftmax,
  maskedSoftmaxBackward,
} satisfies MemoryOperations<WebGpuMemory>;
