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
import { bindMat, part, rowTiles } from "../elementwise/map.ts";
import { bindVector } from "../elementwise/rows.ts";
import { crossEntropyKernel } from "./cross_entropy.wgsl.ts";

function crossEntropy(
  memory: WebGpuMemory,
  args: OperationArgs<"crossEntropy">,
): void {
  const { gradient } = args;
  const { cols } = args.logits;
  const kernel = crossEntropyKernel(gradient !== undefined);
  const runs = rowTiles(memory, [args.logits]).map((tile) => {
    const { row: at, rows: count } = tile;
    const logits = bindMat(memory, part(args.logits, tile));
    const labels = bindVector(memory, args.labels, { at, count });
    const losses = bindVector(memory, args.losses, { at, count });
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[count, cols, logits.first, logits.stride],
          ...[labels.first, losses.first, { f32: gradient ?? 0 }],
        ],
        reads: [labels.span, ...(gradient === undefined ? [logits.span] : [])],
        writes: [
          losses.span,
          ...(gradient === undefined ? [] : [logits.span]),
        ],
        groups: grid(count),
        shape: `${count}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

/** These operations, in a memory of the device. */
export const lossOperations = {
  crossEntropy,
} satisfies MemoryOperations<WebGpuMemory>;
