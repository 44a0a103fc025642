/**
 * Activation functions and gated units on the WebGPU device.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import { activateBackwardText, activateText } from "./activation.wgsl.ts";
import { NONE, runMap, writeApart } from "./map.ts";
import { SWIGLU, SWIGLU_BACKWARD } from "./swiglu.wgsl.ts";

function swiglu(memory: WebGpuMemory, args: OperationArgs<"swiglu">): void {
  const { gate, up, out } = args;
  runMap(memory, SWIGLU, { mats: { gate, up, out }, params: NONE });
}

function swigluBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"swigluBackward">,
): void {
  const { dy, gate, up, dgate } = args;
  writeApart(
    memory,
    { x: args.dup, other: dgate },
    (dup) =>
      runMap(memory, SWIGLU_BACKWARD, {
        mats: { dy, gate, up, dgate, dup },
        params: NONE,
      }),
  );
}

function activate(memory: WebGpuMemory, args: OperationArgs<"activate">): void {
  const { x, out, kind } = args;
  runMap(memory, activateText(kind), { mats: { x, out }, params: NONE });
}

function activateBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"activateBackward">,
): void {
  const { dy, x, dx, kind } = args;
  runMap(memory, activateBackwardText(kind), {
    mats: { dy, x, dx },
    params: NONE,
  });
}

/** These operations, in a memory of the device. */
export const activationOperations = {
  activate,
  activateBackward,
  swiglu,
  swigluBackward,
} satisfies MemoryOperations<WebGpuMemory>;
