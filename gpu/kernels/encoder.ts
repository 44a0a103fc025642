/**
 * Encoders' operations on WebGPU. The kernels: `gpu/shaders/{layer_norm,activate,scores}.ts`.
 *
 * @module
 */

import type {
  NetworkOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { grid } from "../context.ts";
import {
  activateBackwardText,
  activateText,
} from "./elementwise/activation.wgsl.ts";
import {
  layerNormBackwardKernel,
  layerNormKernel,
} from "./norm/layer_norm.wgsl.ts";
import { rowThreads } from "./norm/rms_norm.wgsl.ts";
import {
  maskedSoftmaxBackwardKernel,
  maskedSoftmaxKernel,
  relativeBackwardKernel,
  relativeKernel,
  type RelativeTerm,
  SCORES_THREADS,
} from "./attention/scores.wgsl.ts";
import type { Mat } from "../../src/device/buffer.ts";
import type { RelativeShape } from "../../src/device/contract/attention.ts";
import { part, rowsBound, rowTiles, runMap, same } from "./elementwise/map.ts";
import type { WebGpuMemory } from "../buffers.ts";
import { bindVector, sumColumns } from "./network.ts";

function layerNorm(
  memory: WebGpuMemory,
  args: OperationArgs<"layerNorm">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const kernel = layerNormKernel(rowThreads(cols));
  const all = { at: 0, count: cols };
  const weight = bindVector(memory, args.weight, all);
  const bias = bindVector(memory, args.bias, all);
  const runs = rowTiles(memory, [args.x, args.out]).map((tile) => {
    const x = memory.bind(part(args.x, tile));
    const out = memory.bind(part(args.out, tile));
    const own = { at: tile.row, count: tile.rows };
    const mean = bindVector(memory, args.mean, own);
    const inverse = bindVector(memory, args.inverse, own);
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, x.first, x.stride, out.first, out.stride],
          ...[weight, bias, mean, inverse].map(({ first }) => first),
          { f32: args.epsilon },
        ],
        reads: [x.span, weight.span, bias.span],
        writes: [out.span, mean.span, inverse.span],
        groups: grid(tile.rows),
        shape: `${tile.rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function layerNormBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"layerNormBackward">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const { dy, x, mean, inverse, dweight, dbias } = args;
  // First, while `dx` has not overwritten anything.
  if (dweight) {
    const terms = { x: dy, other: x, inverse, mean, out: dweight };
    sumColumns(memory, { term: "centred", ...terms, grow: true });
  }
  if (dbias) {
    sumColumns(memory, { term: "values", x: dy, out: dbias, grow: true });
  }
  const inDx = args.add !== undefined && same(args.add, args.dx);
  const other = inDx ? undefined : args.add;
  const kernel = layerNormBackwardKernel(
    rowThreads(cols),
    inDx ? "dx" : other ? "other" : "none",
  );
  const weight = bindVector(memory, args.weight, { at: 0, count: cols });
  const mats = [dy, x, args.dx, ...(other ? [other] : [])];
  const runs = rowTiles(memory, mats).map((tile) => {
    const [dyOn, xOn, dx, add] = mats.map((m) => memory.bind(part(m, tile)));
    const own = { at: tile.row, count: tile.rows };
    const vectors = [
      weight,
      bindVector(memory, mean, own),
      bindVector(memory, inverse, own),
    ];
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, dyOn.first, dyOn.stride, xOn.first, xOn.stride],
          ...[dx.first, dx.stride, add?.first ?? 0, add?.stride ?? 0],
          ...vectors.map(({ first }) => first),
        ],
        reads: [dyOn, xOn, ...vectors, ...(add ? [add] : [])]
          .map(({ span }) => span),
        writes: [dx.span],
        groups: grid(tile.rows),
        shape: `${tile.rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function activate(memory: WebGpuMemory, args: OperationArgs<"activate">): void {
  const { x, out, kind } = args;
  runMap(memory, activateText(kind), { mats: { x, out } });
}

function activateBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"activateBackward">,
): void {
  const { dy, x, dx, kind } = args;
  runMap(memory, activateBackwardText(kind), { mats: { dy, x, dx } });
}

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

/** Encoders' operations in `memory`. */
export function encoderOperations(
  memory: WebGpuMemory,
): Pick<
  NetworkOperations,
  | "layerNorm"
  | "layerNormBackward"
  | "activate"
  | "activateBackward"
  | "relativeScores"
  | "relativeScoresBackward"
  | "maskedSoftmax"
  | "maskedSoftmaxBackward"
> {
  return {
    layerNorm: (args) => layerNorm(memory, args),
    layerNormBackward: (args) => layerNormBackward(memory, args),
    activate: (args) => activate(memory, args),
    activateBackward: (args) => activateBackward(memory, args),
    relativeScores: (args) => relativeScores(memory, args),
    relativeScoresBackward: (args) => relativeScoresBackward(memory, args),
    maskedSoftmax: (args) => maskedSoftmax(memory, args),
    maskedSoftmaxBackward: (args) => maskedSoftmaxBackward(memory, args),
  };
}
