/**
 * Transformers' operations on the WASM device. The kernels: `wasm/assembly/{rows,groups,norm,rope,activation,loss,optimizer}.ts`;
 * attention is in `wasm_attention.ts`.
 *
 * Row numbers, positions and labels are data, but here they can be looked at: one that is out of range is an error, not
 * a read of other memory.
 *
 * @module
 */

import type {
  NetworkOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { ValueError } from "../../src/errors.ts";
import { f32, type Word } from "../runtime/loader.ts";
import type { DeviceBuffer, Mat } from "../../src/device/buffer.ts";
import { dropoutFactor, dropoutThreshold } from "../../src/device/dropout.ts";
import { attention, attentionBackward } from "./attention.ts";
import { encoderOperations } from "./encoder.ts";
import type { WasmMemory } from "../buffers.ts";

/** Values that one thread adds, multiplies or copies in about 30 µs. */
export const GRAIN = 32768;

/** The same with an exponential or a hash in each. */
export const SLOW_GRAIN = 8192;

/** Columns of a piece where matrices without gaps are worked as one long row. */
const SPAN = 4096;

/** Values of a chunk of logits, as `wasm/assembly/norm/loss.ts` has it. */
const CHUNK = 2048;

/** Words origin and stride of a matrix, zeros for none. */
export function matWords(memory: WasmMemory, x: Mat | undefined): Word[] {
  return x ? [memory.origin(x), x.stride * 4] : [0, 0];
}

/** Whether a matrix has no values. */
export function isEmpty(x: Mat): boolean {
  return x.rows === 0 || x.cols === 0;
}

/** Words units, columns, span of an elementwise job; see `wasm/assembly/elementwise/rows.ts`. */
export function pieceWords(mats: readonly (Mat | undefined)[]): number[] {
  const { rows, cols } = mats[0]!;
  const dense = mats.every((x) => !x || x.stride === cols || rows === 1);
  return dense
    ? [Math.ceil(rows * cols / SPAN), rows * cols, SPAN]
    : [rows, cols, cols];
}

/** Checks `count` row numbers below `limit`; negative ones too unless they are allowed. */
export function wantIds(
  memory: WasmMemory,
  what: string,
  ids: { at: DeviceBuffer; count: number; limit: number; negative?: boolean },
): void {
  const { at, count, limit, negative = false } = ids;
  const start = memory.address(at) / 4;
  const words = memory.kernels.u32.subarray(start, start + count);
  const bad = words.findIndex((id) =>
    id >= limit && !(negative && id >= 0x8000_0000)
  );
  if (bad < 0) return;
  throw new ValueError(
    `Cannot run ${what} must be below ${limit}, got ${
      negative ? words[bad] | 0 : words[bad]
    } at ${bad}`,
  );
}

function combine(memory: WasmMemory, args: OperationArgs<"combine">): void {
  const { x, y, out, alpha = 1, beta = 1 } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("combine", memory.parts(x.rows * x.cols, GRAIN), [
    ...pieceWords([x, y, out]),
    ...matWords(memory, x),
    ...(y ? matWords(memory, y) : [0, 0]),
    ...matWords(memory, out),
    f32(alpha),
    f32(beta),
  ]);
}

function addRow(memory: WasmMemory, args: OperationArgs<"addRow">): void {
  const { x, row, out } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("addRow", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    ...matWords(memory, x),
    memory.address(row),
    ...matWords(memory, out),
  ]);
}

function columnSums(
  memory: WasmMemory,
  args: OperationArgs<"columnSums">,
): void {
  const { x, out, beta = 0, square = false } = args;
  memory.kernels.run("columnSums", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    ...matWords(memory, x),
    memory.address(out),
    beta,
    square ? 1 : 0,
  ]);
}

function poolColumns(
  memory: WasmMemory,
  args: OperationArgs<"poolColumns">,
): void {
  const { x, group, out } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("poolColumns", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    Math.min(group, x.cols),
    ...matWords(memory, x),
    ...matWords(memory, out),
  ]);
}

function spreadColumns(
  memory: WasmMemory,
  args: OperationArgs<"spreadColumns">,
): void {
  const { x, group, out, add } = args;
  if (isEmpty(out)) return;
  const parts = memory.parts(out.rows * out.cols, GRAIN);
  memory.kernels.run("spreadColumns", parts, [
    out.rows,
    out.cols,
    Math.min(group, out.cols),
    ...matWords(memory, x),
    ...matWords(memory, out),
    ...(add ? matWords(memory, add) : [0, 0]),
  ]);
}

function gatherRows(
  memory: WasmMemory,
  args: OperationArgs<"gatherRows">,
): void {
  const { table, ids, out } = args;
  wantIds(memory, "gatherRows: ids", {
    at: ids,
    count: out.rows,
    limit: table.rows,
  });
  memory.kernels.run("gatherRows", memory.parts(out.rows * out.cols, GRAIN), [
    out.rows,
    out.cols,
    ...matWords(memory, table),
    memory.address(ids),
    ...matWords(memory, out),
  ]);
}

function scatterRows(
  memory: WasmMemory,
  args: OperationArgs<"scatterRows">,
): void {
  const { x, ids, table } = args;
  wantIds(memory, "scatterRows: ids", {
    at: ids,
    count: x.rows,
    limit: table.rows,
  });
  memory.kernels.run("scatterRows", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols,
    ...matWords(memory, x),
    memory.address(ids),
    ...matWords(memory, table),
  ]);
}

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

function rope(memory: WasmMemory, args: OperationArgs<"rope">): void {
  const { x, out, positions, cos, sin, headDim, inverse = false } = args;
  wantIds(memory, "rope: positions", {
    at: positions,
    count: x.rows,
    limit: cos.rows,
  });
  memory.kernels.run("rope", memory.parts(x.rows * x.cols, GRAIN), [
    x.rows,
    x.cols / headDim,
    headDim / 2,
    ...matWords(memory, x),
    ...matWords(memory, out),
    memory.address(positions),
    ...matWords(memory, cos),
    ...matWords(memory, sin),
    inverse ? 1 : 0,
  ]);
}

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

function crossEntropy(
  memory: WasmMemory,
  args: OperationArgs<"crossEntropy">,
): void {
  const { logits, labels, losses, gradient } = args;
  const { rows, cols } = logits;
  wantIds(memory, "crossEntropy: labels", {
    at: labels,
    count: rows,
    limit: cols,
    negative: true,
  });
  // A chunk and the maximum of each, on whole cache lines.
  const scratchBytes = CHUNK * 4 + Math.ceil(cols / CHUNK / 16) * 64;
  memory.kernels.run("crossEntropy", memory.parts(rows * cols, SLOW_GRAIN), [
    rows,
    cols,
    ...matWords(memory, logits),
    memory.address(labels),
    memory.address(losses),
    gradient === undefined ? 0 : 1,
    f32(gradient ?? 0),
    memory.scratch(scratchBytes),
    scratchBytes,
  ]);
}

function dropout(memory: WasmMemory, args: OperationArgs<"dropout">): void {
  const { x, out, rate, seed } = args;
  if (isEmpty(x)) return;
  memory.kernels.run("dropout", memory.parts(x.rows * x.cols, SLOW_GRAIN), [
    ...pieceWords([x, out]),
    ...matWords(memory, x),
    ...matWords(memory, out),
    seed,
    dropoutThreshold(rate),
    f32(dropoutFactor(rate)),
  ]);
}

/** So few values that they are summed here. */
function clipScale(memory: WasmMemory, args: OperationArgs<"clipScale">): void {
  const { squares, count, most, out } = args;
  const values = memory.kernels.f32;
  const start = memory.address(squares) / 4;
  let sum = 0;
  for (let i = start; i < start + count; i++) sum += values[i];
  const norm = Math.sqrt(sum);
  values[memory.address(out) / 4] = Math.min(1, most / (norm + 1e-6));
  values[memory.address(out) / 4 + 1] = norm;
}

function adamw(memory: WasmMemory, args: OperationArgs<"adamw">): void {
  const { param, grad, mean, square, scale, step } = args;
  if (isEmpty(param)) return;
  const mats = [param, grad, mean, square];
  memory.kernels.run("adamw", memory.parts(param.rows * param.cols, GRAIN), [
    ...pieceWords(mats),
    ...mats.flatMap((x) => matWords(memory, x)),
    scale ? memory.address(scale) : 0,
    f32(step.beta1),
    f32(1 - step.beta1),
    f32(step.beta2),
    f32(1 - step.beta2),
    f32(1 - step.learningRate * step.weightDecay),
    f32(step.learningRate / step.bias1),
    f32(1 / Math.sqrt(step.bias2)),
    f32(step.epsilon),
  ]);
}

/** Transformers' operations in `memory`. */
export function networkOperations(memory: WasmMemory): NetworkOperations {
  return {
    combine: (args) => combine(memory, args),
    addRow: (args) => addRow(memory, args),
    columnSums: (args) => columnSums(memory, args),
    poolColumns: (args) => poolColumns(memory, args),
    spreadColumns: (args) => spreadColumns(memory, args),
    gatherRows: (args) => gatherRows(memory, args),
    scatterRows: (args) => scatterRows(memory, args),
    rmsNorm: (args) => rmsNorm(memory, args),
    rmsNormBackward: (args) => rmsNormBackward(memory, args),
    rope: (args) => rope(memory, args),
    swiglu: (args) => swiglu(memory, args),
    swigluBackward: (args) => swigluBackward(memory, args),
    attention: (args) => attention(memory, args),
    attentionBackward: (args) => attentionBackward(memory, args),
    crossEntropy: (args) => crossEntropy(memory, args),
    dropout: (args) => dropout(memory, args),
    clipScale: (args) => clipScale(memory, args),
    adamw: (args) => adamw(memory, args),
    ...encoderOperations(memory),
  };
}
