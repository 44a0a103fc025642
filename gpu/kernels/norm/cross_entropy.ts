/**
 * The loss on the WebGPU device.
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
import { bindMat, part, rowTiles } from "../elementwise/map.ts";
import { crossEntropyKernel } from "./cross_entropy.wgsl.ts";

function crossEntropy(
  memory: WebGpuMemory,
  args: OperationArgs<"crossEntropy">,
): void {
  const { gradient } = args;
  const { cols } = args.logits;
  for (const tile of rowTiles(memory, [args.logits])) {
    const { row: at, rows } = tile;
    run(memory, crossEntropyKernel(gradient !== undefined), {
      params: { rows, cols, gradient: gradient ?? 0 },
      bind: {
        logits: bindMat(memory, part(args.logits, tile)),
        labels: memory.vector(args.labels, { at, count: rows }),
        losses: memory.vector(args.losses, { at, count: rows }),
      },
      groups: grid(rows),
      shape: `${rows}x${cols}`,
    });
  }
}

/** These operations, in a memory of the device. */
export const lossOperations = {
  crossEntropy,
} satisfies MemoryOperations<WebGpuMemory>;
