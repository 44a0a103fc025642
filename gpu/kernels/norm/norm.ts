/**
 * RMS norm and layer norm on the WebGPU device.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import type { Mat } from "../../../src/device/buffer.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { grid } from "../../context.ts";
import { run } from "../../kernel.ts";
import { part, rowTiles, same } from "../elementwise/map.ts";
import { sumColumns } from "../elementwise/rows.ts";
import { layerNormBackwardKernel, layerNormKernel } from "./layer_norm.wgsl.ts";
import {
  type NormAdd,
  rmsNormBackwardKernel,
  rmsNormKernel,
  rowThreads,
} from "./rms_norm.wgsl.ts";

function rmsNorm(memory: WebGpuMemory, args: OperationArgs<"rmsNorm">): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const weight = memory.vector(args.weight, { count: cols });
  for (const tile of rowTiles(memory, [args.x, args.out])) {
    const { row: at, rows } = tile;
    run(memory, rmsNormKernel(rowThreads(cols)), {
      params: { rows, cols, epsilon: args.epsilon },
      bind: {
        x: memory.bind(part(args.x, tile)),
        weight,
        y: memory.bind(part(args.out, tile)),
        inverse: memory.vector(args.inverse, { at, count: rows }),
      },
      groups: grid(rows),
      shape: `${rows}x${cols}`,
    });
  }
}

/** Addend of a norm's gradient, and its kind. */
function addOf({ add, dx }: { add?: Mat; dx: Mat }): {
  add?: Mat;
  kind: NormAdd;
} {
  if (add === undefined) return { kind: "none" };
  return same(add, dx) ? { kind: "dx" } : { add, kind: "other" };
}

function rmsNormBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"rmsNormBackward">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const { dy, x, dx, inverse } = args;
  // First, while `dx` has not overwritten anything.
  if (args.dweight) {
    const terms = { x: dy, other: x, inverse, out: args.dweight };
    sumColumns(memory, { term: "weight", ...terms, grow: true });
  }
  const { add, kind } = addOf(args);
  const weight = memory.vector(args.weight, { count: cols });
  const mats = [dy, x, dx, ...(add ? [add] : [])];
  for (const tile of rowTiles(memory, mats)) {
    const { row: at, rows } = tile;
    run(memory, rmsNormBackwardKernel(rowThreads(cols), kind), {
      params: { rows, cols },
      bind: {
        dy: memory.bind(part(dy, tile)),
        x: memory.bind(part(x, tile)),
        weight,
        inverse: memory.vector(inverse, { at, count: rows }),
        add: add && memory.bind(part(add, tile)),
        dx: memory.bind(part(dx, tile)),
      },
      groups: grid(rows),
      shape: `${rows}x${cols}`,
    });
  }
}

function layerNorm(
  memory: WebGpuMemory,
  args: OperationArgs<"layerNorm">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const weight = memory.vector(args.weight, { count: cols });
  const bias = memory.vector(args.bias, { count: cols });
  for (const tile of rowTiles(memory, [args.x, args.out])) {
    const { row: at, rows } = tile;
    run(memory, layerNormKernel(rowThreads(cols)), {
      params: { rows, cols, epsilon: args.epsilon },
      bind: {
        x: memory.bind(part(args.x, tile)),
        ...{ weight, bias },
        y: memory.bind(part(args.out, tile)),
        means: memory.vector(args.mean, { at, count: rows }),
        inverse: memory.vector(args.inverse, { at, count: rows }),
      },
      groups: grid(rows),
      shape: `${rows}x${cols}`,
    });
  }
}

function layerNormBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"layerNormBackward">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const { dy, x, dx, mean, inverse, dweight, dbias } = args;
  // First, while `dx` has not overwritten anything.
  if (dweight) {
    const terms = { x: dy, other: x, inverse, mean, out: dweight };
    sumColumns(memory, { term: "centred", ...terms, grow: true });
  }
  if (dbias) {
    sumColumns(memory, { term: "values", x: dy, out: dbias, grow: true });
  }
  const { add, kind } = addOf(args);
  const weight = memory.vector(args.weight, { count: cols });
  const mats = [dy, x, dx, ...(add ? [add] : [])];
  for (const tile of rowTiles(memory, mats)) {
    const { row: at, rows } = tile;
    run(memory, layerNormBackwardKernel(rowThreads(cols), kind), {
      params: { rows, cols },
      bind: {
        dy: memory.bind(part(dy, tile)),
        x: memory.bind(part(x, tile)),
        weight,
        means: memory.vector(mean, { at, count: rows }),
        inverse: memory.vector(inverse, { at, count: rows }),
        add: add && memory.bind(part(add, tile)),
        dx: memory.bind(part(dx, tile)),
      },
      groups: grid(rows),
      shape: `${rows}x${cols}`,
    });
  }
}

/** These operations, in a memory of the device. */
export const normOperations = {
  rmsNorm,
  rmsNormBackward,
  layerNorm,
  layerNormBackward,
} satisfies MemoryOperations<WebGpuMemory>;
