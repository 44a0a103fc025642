/**
 * RMS norm and layer norm on the WebGPU device.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { grid } from "../../context.ts";
import { part, rowTiles, same } from "../elementwise/map.ts";
import { bindVector, sumColumns } from "../elementwise/rows.ts";
import { layerNormBackwardKernel, layerNormKernel } from "./layer_norm.wgsl.ts";
import {
  rmsNormBackwardKernel,
  rmsNormKernel,
  rowThreads,
} from "./rms_norm.wgsl.ts";

function rmsNorm(memory: WebGpuMemory, args: OperationArgs<"rmsNorm">): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const kernel = rmsNormKernel(rowThreads(cols));
  const weight = bindVector(memory, args.weight, { at: 0, count: cols });
  const runs = rowTiles(memory, [args.x, args.out]).map((tile) => {
    const x = memory.bind(part(args.x, tile));
    const out = memory.bind(part(args.out, tile));
    const inverse = bindVector(memory, args.inverse, {
      at: tile.row,
      count: tile.rows,
    });
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, x.first, x.stride, out.first, out.stride],
          ...[weight.first, inverse.first, { f32: args.epsilon }],
        ],
        reads: [x.span, weight.span],
        writes: [out.span, inverse.span],
        groups: grid(tile.rows),
        shape: `${tile.rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function rmsNormBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"rmsNormBackward">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  // First, while `dx` has not overwritten anything.
  if (args.dweight) {
    sumColumns(memory, {
      term: "weight",
      x: args.dy,
      other: args.x,
      inverse: args.inverse,
      out: args.dweight,
      grow: true,
    });
  }
  const inDx = args.add !== undefined && same(args.add, args.dx);
  const other = inDx ? undefined : args.add;
  const kernel = rmsNormBackwardKernel(
    rowThreads(cols),
    inDx ? "dx" : other ? "other" : "none",
  );
  const weight = bindVector(memory, args.weight, { at: 0, count: cols });
  const mats = [args.dy, args.x, args.dx, ...(other ? [other] : [])];
  const runs = rowTiles(memory, mats).map((tile) => {
    const [dy, x, dx, add] = mats.map((m) => memory.bind(part(m, tile)));
    const inverse = bindVector(memory, args.inverse, {
      at: tile.row,
      count: tile.rows,
    });
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, dy.first, dy.stride, x.first, x.stride],
          ...[dx.first, dx.stride, add?.first ?? 0, add?.stride ?? 0],
          ...[weight.first, inverse.first],
        ],
        reads: [
          ...[dy.span, x.span, weight.span, inverse.span],
          ...(add ? [add.span] : []),
        ],
        writes: [dx.span],
        groups: grid(tile.rows),
        shape: `${tile.rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

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

/** These operations, in a memory of the device. */
export const normOperations = {
  rmsNorm,
  rmsNormBackward,
  layerNorm,
  layerNormBackward,
} satisfies MemoryOperations<WebGpuMemory>;
