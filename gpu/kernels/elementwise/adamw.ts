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
import { run } from "../../kernel.ts";
import { adamwText, CLIP_SCALE } from "./adamw.wgsl.ts";
import { runMap } from "./map.ts";

function clipScale(
  memory: WebGpuMemory,
  args: OperationArgs<"clipScale">,
): void {
  const { count, most } = args;
  run(memory, CLIP_SCALE, {
    params: { count, most },
    bind: {
      squares: memory.vector(args.squares, { count: Math.max(count, 1) }),
      y: memory.vector(args.out, { count: 2 }),
    },
    groups: [1],
    shape: `${count}`,
  });
}

function adamw(memory: WebGpuMemory, args: OperationArgs<"adamw">): void {
  const { param, grad, mean, square, scale, step } = args;
  const { beta1, beta2, learningRate } = step;
  runMap(memory, adamwText(scale !== undefined), {
    mats: {
      grad,
      ...{ param, mean, square },
      ...{ oldParam: param, oldMean: mean, oldSquare: square },
    },
    scalars: scale && { scale },
    params: () => ({
      ...{ beta1, rest1: 1 - beta1, beta2, rest2: 1 - beta2 },
      keep: 1 - learningRate * step.weightDecay,
      rate: learningRate / step.bias1,
      root: 1 / Math.sqrt(step.bias2),
      epsilon: step.epsilon,
    }),
  });
}

/** These operations, in a memory of the device. */
export const optimizerOperations = {
  clipScale,
  adamw,
} satisfies MemoryOperations<WebGpuMemory>;
