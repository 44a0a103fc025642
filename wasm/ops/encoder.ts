/**
 * Encoders' operations on the WASM device. The kernels: `wasm/assembly/{layer_norm,activate,scores}.ts`.
 *
 * @module
 */

import type {
  NetworkOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { f32 } from "../runtime/loader.ts";
import { ACTIVATIONS } from "../../src/device/contract/activation.ts";
import type { WasmMemory } from "../buffers.ts";
import {
  GRAIN,
  isEmpty,
  matWords,
  pieceWords,
  SLOW_GRAIN,
  wantIds,
} from "./network.ts";

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

function relativeScores(
  memory: WasmMemory,
  args: OperationArgs<"relativeScores">,
): void {
  const { scores, c2p, p2c, shape: { time, index, alpha } } = args;
  if (!c2p && !p2c) return;
  wantIds(memory, "relativeScores: index", {
    at: index,
    count: 2 * time - 1,
    limit: (c2p ?? p2c)!.cols,
  });
  const parts = memory.parts(scores.rows * time, SLOW_GRAIN);
  memory.kernels.run("relativeScores", parts, [
    ...[scores.rows / time, time, memory.address(index), f32(alpha)],
    ...[scores, c2p, p2c].flatMap((v) => matWords(memory, v)),
  ]);
}

function relativeScoresBackward(
  memory: WasmMemory,
  args: OperationArgs<"relativeScoresBackward">,
): void {
  const { dscores, dc2p, dp2c, shape: { time, index, alpha } } = args;
  if (!dc2p && !dp2c) return;
  const { cols } = (dc2p ?? dp2c)!;
  wantIds(memory, "relativeScoresBackward: index", {
    at: index,
    count: 2 * time - 1,
    limit: cols,
  });
  const parts = memory.parts(dscores.rows * time, SLOW_GRAIN);
  memory.kernels.run("relativeScoresBackward", parts, [
    ...[dscores.rows / time, time, memory.address(index), f32(alpha)],
    ...[dscores, dc2p, dp2c].flatMap((v) => matWords(memory, v)),
    cols,
  ]);
}

function maskedSoftmax(
  memory: WasmMemory,
  args: OperationArgs<"maskedSoftmax">,
): void {
  const { x, out, rows, bounds } = args;
  if (isEmpty(x)) return;
  if (bounds) {
    wantIds(memory, "maskedSoftmax: bounds", {
      at: bounds,
      count: x.rows / rows * 2,
      limit: x.cols + 1,
    });
  }
  const parts = memory.parts(x.rows * x.cols, SLOW_GRAIN);
  memory.kernels.run("maskedSoftmax", parts, [
    ...[x.rows, x.cols, ...matWords(memory, x), ...matWords(memory, out)],
    ...[rows, bounds ? memory.address(bounds) : 0],
  ]);
}

function maskedSoftmaxBackward(
  memory: WasmMemory,
  args: OperationArgs<"maskedSoftmaxBackward">,
): void {
  const { dy, y, dx } = args;
  if (isEmpty(y)) return;
  const parts = memory.parts(y.rows * y.cols, GRAIN);
  memory.kernels.run("maskedSoftmaxBackward", parts, [
    ...[y.rows, y.cols, ...[dy, y, dx].flatMap((v) => matWords(memory, v))],
  ]);
}

/** Encoders' operations in `memory`. */
export function encoderOperations(
  memory: WasmMemory,
): Pick<
  NetworkOperations,
  | "layerNorm"
  | "layerNormBackward"
  | "activate"
  | "activateBackward"
  | "relativeScores"
  | "relativeScoresBackward"
  | "maskedSoftmax"
  | "maskedSoftmaxBackward"
> {
  return {
    layerNorm: (args) => layerNorm(memory, args),
    layerNormBackward: (args) => layerNormBackward(memory, args),
    activate: (args) => activate(memory, args),
    activateBackward: (args) => activateBackward(memory, args),
    relativeScores: (args) => relativeScores(memory, args),
    relativeScoresBackward: (args) => relativeScoresBackward(memory, args),
    maskedSoftmax: (args) => maskedSoftmax(memory, args),
    maskedSoftmaxBackward: (args) => maskedSoftmaxBackward(memory, args),
  };
}
