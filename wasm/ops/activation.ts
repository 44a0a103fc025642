/**
 * Activation functions and gated units on the WASM device. The kernels: `wasm/assembly/elementwise/activate.ts`, `wasm/assembly/elementwise/activation.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { ACTIVATIONS } from "../../src/device/contract/activation.ts";
import type { WasmMemory } from "../buffers.ts";
import { isEmpty, pieces, place, SLOW_GRAIN } from "../words.ts";

function swiglu(memory: WasmMemory, args: OperationArgs<"swiglu">): void {
  const { gate, up, out } = args;
  if (isEmpty(gate)) return;
  const parts = memory.parts(gate.rows * gate.cols, SLOW_GRAIN);
  memory.kernels.run("swiglu", parts, {
    ...pieces([gate, up, out]),
    gate: place(memory, gate),
    up: place(memory, up),
    out: place(memory, out),
  });
}

function swigluBackward(
  memory: WasmMemory,
  args: OperationArgs<"swigluBackward">,
): void {
  const { dy, gate, up, dgate, dup } = args;
  if (isEmpty(gate)) return;
  const parts = memory.parts(gate.rows * gate.cols, SLOW_GRAIN);
  memory.kernels.run("swigluBackward", parts, {
    ...pieces([dy, gate, up, dgate, dup]),
    dy: place(memory, dy),
    gate: place(memory, gate),
    up: place(memory, up),
    dgate: place(memory, dgate),
    dup: place(memory, dup),
  });
}

function activate(memory: WasmMemory, args: OperationArgs<"activate">): void {
  const { x, out, kind } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("activate", memory.parts(x.rows * x.cols, SLOW_GRAIN), {
    ...pieces([x, out]),
    x: place(memory, x),
    out: place(memory, out),
    kind: ACTIVATIONS.indexOf(kind),
  });
}

function activateBackward(
  memory: WasmMemory,
  args: OperationArgs<"activateBackward">,
): void {
  const { dy, x, dx, kind } = args;
  if (isEmpty(x)) return;
  const parts = memory.parts(x.rows * x.cols, SLOW_GRAIN);
  memory.kernels.run("activateBackward", parts, {
    ...pieces([dy, x, dx]),
    dy: place(memory, dy),
    x: place(memory, x),
    dx: place(memory, dx),
    kind: ACTIVATIONS.indexOf(kind),
  });
}

/** These operations, in a memory of the device. */
export const activationOperations = {
  activate,
  activateBackward,
  swiglu,
  swigluBackward,
} satisfies MemoryOperations<WasmMemory>;
