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
import { run } from "../../kernel.ts";
import { part, rowTiles, same } from "../elementwise/map.ts";
import { ROPE_THREADS, ropeKernel } from "./rope.wgsl.ts";

function rope(memory: WebGpuMemory, args: OperationArgs<"rope">): void {
  const { headDim, inverse = false } = args;
  const inPlace = same(args.x, args.out);
  const pairs = args.x.cols / 2;
  if (args.x.rows === 0 || pairs === 0) return;
  const cosines = memory.bind(args.cos);
  const sines = memory.bind(args.sin);
  for (const tile of rowTiles(memory, [args.x, args.out])) {
    const { row: at, rows } = tile;
    run(memory, ropeKernel(inPlace), {
      params: { rows, pairs, half: headDim / 2, inverse: inverse ? 1 : 0 },
      bind: {
        positions: memory.vector(args.positions, { at, count: rows }),
        ...{ cosines, sines },
        x: memory.bind(part(args.x, tile)),
        y: memory.bind(part(args.out, tile)),
      },
      groups: grid(Math.ceil(rows * pairs / ROPE_THREADS)),
      shape: `${rows}x${args.x.cols}`,
    });
  }
}

/** These operations, in a memory of the device. */
export const ropeOperations = {
  rope,
} satisfies MemoryOperations<WebGpuMemory>;
