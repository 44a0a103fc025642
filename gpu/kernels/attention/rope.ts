/**
 * Rotary positions on the WebGPU device.
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
import { bindVector } from "../elementwise/rows.ts";
import { ROPE_THREADS, ropeKernel } from "./rope.wgsl.ts";

function rope(memory: WebGpuMemory, args: OperationArgs<"rope">): void {
  const { headDim, inverse = false } = args;
  const inPlace = same(args.x, args.out);
  const pairs = args.x.cols / 2;
  if (args.x.rows === 0 || pairs === 0) return;
  const cos = memory.bind(args.cos);
  const sin = memory.bind(args.sin);
  const runs = rowTiles(memory, [args.x, args.out]).map((tile) => {
    const x = memory.bind(part(args.x, tile));
    const out = memory.bind(part(args.out, tile));
    const positions = bindVector(memory, args.positions, {
      at: tile.row,
      count: tile.rows,
    });
    return () =>
      memory.context.run(ropeKernel(inPlace), {
        params: [
          ...[tile.rows, pairs, headDim / 2, x.first, x.stride],
          ...[out.first, out.stride, positions.first],
          ...[cos.first, cos.stride, sin.first, sin.stride, inverse ? 1 : 0],
        ],
        reads: [
          ...[positions.span, cos.span, sin.span],
          ...(inPlace ? [] : [x.span]),
        ],
        writes: [out.span],
        groups: grid(Math.ceil(tile.rows * pairs / ROPE_THREADS)),
        shape: `${tile.rows}x${args.x.cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

/** These operations, in a memory of the device. */
export const ropeOperations = {
  rope,
} satisfies MemoryOperations<WebGpuMemory>;
