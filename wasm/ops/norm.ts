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
import { f32 } from "../runtime/loader.ts";
import { GRAIN, matWords } from "./words.ts";

function rmsNorm(memory: WasmMemory, args: OperationArgs<"rmsNorm">): void {
  const { x, weight, epsilon, out, inverse } = args;
  memory.kernels.run("rmsNorm", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    ...matWords(memory, x),
    memory.address(weight),
    ...matWords(memory, out),
    memory.address(inverse),
    f32(epsilon),
  ]);
}

function rmsNormBackward(
  memory: WasmMemory,
  args: OperationArgs<"rmsNormBackward">,
): void {
  const { dy, x, weight, inverse, dx, add, dweight } = args;
  const parts = memory.parts(x.rows * x.cols, GRAIN);
  const sizes = [x.rows, x.cols];
  const inputs = [...matWords(memory, dy), ...matWords(memory, x)];
  // First, while `dx` has not overwritten anything.
  if (dweight) {
    memory.kernels.run("normWeightGradient", parts, [
      ...sizes,
      ...inputs,
      memory.address(inverse),
      memory.address(dweight),
    ]);
  }
  memory.kernels.run("rmsNormBackward", parts, [
    ...sizes,
    ...inputs,
    memory.address(weight),
    memory.address(inverse),
    ...matWords(memory, dx),
    ...(add ? matWords(memory, add) : [0, 0]),
  ]);
}

function layerNorm(memory: WasmMemory, args: OperationArgs<"layerNorm">): void {
  const { x, weight, bias, epsilon, out, mean, inverse } = args;
  memory.kernels.run("layerNorm", memory.parts(x.rows * x.cols, GRAIN), [
    ...[x.rows, x.cols, ...matWords(memory, x), ...matWords(memory, out)],
    ...[weight, bias, mean, inverse].map((v) => memory.address(v)),
    f32(epsilon),
  ]);
}

function layerNormBackward(
  memory: WasmMemory,
  args: OperationArgs<"layerNormBackward">,
): void {
  const { dy, x, weight, mean, inverse, dx, add, dweight, dbias } = args;
  const { rows, cols } = x;
  const parts = memory.parts(rows * cols, GRAIN);
  const statistics = [memory.address(mean), memory.address(inverse)];
  // Before `dx`, which may lie where `dy` does.
  if (dweight) {
    memory.kernels.run("layerNormWeight", parts, [
      ...[rows, cols, ...matWords(memory, dy), ...matWords(memory, x)],
      ...statistics,
      memory.address(dweight),
    ]);
  }
  if (dbias) {
    memory.kernels.run("columnSums", parts, [
      ...[rows, cols, ...matWords(memory, dy), memory.address(dbias), 1, 0],
    ]);
  }
  memory.kernels.run("layerNormBackward", parts, [
    ...[rows, cols, ...[dy, x, dx, add].flatMap((v) => matWords(memory, v))],
    memory.address(weight),
    ...statistics,
  ]);
}

/** These operations, in a memory of the device. */
export const normOperations = {
  rmsNorm,
  rmsNormBackward,
  layerNorm,
  layerNormBackward,
} satisfies MemoryOperations<WasmMemory>;
