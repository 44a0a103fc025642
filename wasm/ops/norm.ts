/**
 * RMS norm and layer norm on the WASM device. The kernels: `wasm/assembly/norm/norm.ts`, `wasm/assembly/norm/layer_norm.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { WasmMemory } from "../buffers.ts";
import { GRAIN, place } from "../words.ts";

function rmsNorm(memory: WasmMemory, args: OperationArgs<"rmsNorm">): void {
  const { rows, cols } = args.x;
  memory.kernels.run("rmsNorm", memory.parts(rows * cols, GRAIN), {
    rows,
    cols,
    x: place(memory, args.x),
    weight: memory.address(args.weight),
    out: place(memory, args.out),
    inverse: memory.address(args.inverse),
    epsilon: args.epsilon,
  });
}

function rmsNormBackward(
  memory: WasmMemory,
  args: OperationArgs<"rmsNormBackward">,
): void {
  const { rows, cols } = args.x;
  const parts = memory.parts(rows * cols, GRAIN);
  const inputs = {
    rows,
    cols,
    dy: place(memory, args.dy),
    x: place(memory, args.x),
    inverse: memory.address(args.inverse),
  };
  // First, while `dx` has not overwritten anything.
  if (args.dweight) {
    const dweight = memory.address(args.dweight);
    memory.kernels.run("normWeightGradient", parts, { ...inputs, dweight });
  }
  memory.kernels.run("rmsNormBackward", parts, {
    ...inputs,
    weight: memory.address(args.weight),
    dx: place(memory, args.dx),
    add: place(memory, args.add),
  });
}

function layerNorm(memory: WasmMemory, args: OperationArgs<"layerNorm">): void {
  const { rows, cols } = args.x;
  memory.kernels.run("layerNorm", memory.parts(rows * cols, GRAIN), {
    rows,
    cols,
    x: place(memory, args.x),
    out: place(memory, args.out),
    weight: memory.address(args.weight),
    bias: memory.address(args.bias),
    mean: memory.address(args.mean),
    inverse: memory.address(args.inverse),
    epsilon: args.epsilon,
  });
}

function layerNormBackward(
  memory: WasmMemory,
  args: OperationArgs<"layerNormBackward">,
): void {
  const { rows, cols } = args.x;
  const parts = memory.parts(rows * cols, GRAIN);
  const inputs = {
    rows,
    cols,
    dy: place(memory, args.dy),
    x: place(memory, args.x),
    mean: memory.address(args.mean),
    inverse: memory.address(args.inverse),
  };
  // Before `dx`, which may lie where `dy` does.
  if (args.dweight) {
    const dweight = memory.address(args.dweight);
    memory.kernels.run("layerNormWeight", parts, { ...inputs, dweight });
  }
  if (args.dbias) {
    memory.kernels.run("columnSums", parts, {
      ...{ rows, cols, x: inputs.dy, out: memory.address(args.dbias) },
      ...{ beta: 1, squared: 0 },
    });
  }
  memory.kernels.run("layerNormBackward", parts, {
    ...inputs,
    dx: place(memory, args.dx),
    add: place(memory, args.add),
    weight: memory.address(args.weight),
  });
}

/** These operations, in a memory of the device. */
export const normOperations = {
  rmsNorm,
  rmsNormBackward,
  layerNorm,
  layerNormBackward,
} satisfies MemoryOperations<WasmMemory>;
