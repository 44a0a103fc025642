/**
 * Gradient clipping and AdamW on the WebGPU device.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { adamwText, CLIP_SCALE } from "./adamw.wgsl.ts";
import { runMap } from "./map.ts";
import { bindVector } from "./rows.ts";

function clipScale(
  memory: WebGpuMemory,
  args: OperationArgs<"clipScale">,
): void {
  const { count, most } = args;
  const squares = bindVector(memory, args.squares, {
    at: 0,
    count: Math.max(count, 1),
  });
  const out = bindVector(memory, args.out, { at: 0, count: 2 });
  memory.enqueue(() =>
    memory.context.run(CLIP_SCALE, {
      params: [count, squares.first, out.first, { f32: most }],
      reads: [squares.span],
      writes: [out.span],
      groups: [1],
      shape: `${count}`,
    })
  );
}

function adamw(memory: WebGpuMemory, args: OperationArgs<"adamw">): void {
  const { param, grad, mean, square, scale, step } = args;
  const constants = [
    step.beta1,
    1 - step.beta1,
    step.beta2,
    1 - step.beta2,
    1 - step.learningRate * step.weightDecay,
    step.learningRate / step.bias1,
    1 / Math.sqrt(step.bias2),
    step.epsilon,
  ];
  runMap(memory, adamwText(scale !== undefined), {
    mats: {
      grad,
      ...{ param, mean, square },
      ...{ oldParam: param, oldMean: mean, oldSquare: square },
    },
    scalars: scale && { scale },
    words: () => constants.map((f32) => ({ f32 })),
  });
}

/** These operations, in a memory of the device. */
export const optimizerOperations = {
  clipScale,
  adamw,
} satisfies MemoryOperations<WebGpuMemory>;
