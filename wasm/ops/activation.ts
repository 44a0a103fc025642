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
import { isEmpty, matWords, pieceWords, SLOW_GRAIN } from "./words.ts";

function swiglu(memory: WasmMemory, args: OperationArgs<"swiglu">): void {
  const { gate, up, out } = args;
  if (isEmpty(gate)) return;
  const parts = memory.parts(gate.rows * gate.cols, SLOW_GRAIN);
  memory.kernels.run("swiglu", parts, [
    ...pieceWords([gate, up, out]),
    ...matWords(memory, gate),
    ...matWords(memory, up),
    ...matWords(memory, out),
  ]);
}

function swigluBackward(
  memory: WasmMemory,
  args: OperationArgs<"swigluBackward">,
): void {
  const { dy, gate, up, dgate, dup } = args;
  if (isEmpty(gate)) return;
  const mats = [dy, gate, up, dgate, dup];
  const parts = memory.parts(gate.rows * gate.cols, SLOW_GRAIN);
  memory.kernels.run("swigluBackward", parts, [
    ...pieceWords(mats),
    ...mats.flatMap((x) => matWords(memory, x)),
  ]);
}

function activate(memory: WasmMemory, args: OperationArgs<"activate">): void {
  const { x, out, kind } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("activate", memory.parts(x.rows * x.cols, SLOW_GRAIN), [
    ...[...pieceWords([x, out]), ...matWords(memory, x)],
    ...[...matWords(memory, out), ACTIVATIONS.indexOf(kind)],
  ]);
}

function activateBackward(
  memory: WasmMemory,
  args: OperationArgs<"activateBackward">,
): void {
  const { dy, x, dx, kind } = args;
  if (isEmpty(x)) return;
  const mats = [dy, x, dx];
  const parts = memory.parts(x.rows * x.cols, SLOW_GRAIN);
  memory.kernels.run("activateBackward", parts, [
    ...[...pieceWords(mats), ...mats.flatMap((v) => matWords(memory, v))],
    ACTIVATIONS.indexOf(kind),
  ]);
}

/** These operations, in a memory of the device. */
export const activationOperations = {
  activate,
  activateBackward,
  swiglu,
  swigluBackward,
} satisfies MemoryOperations<WasmMemory>;
