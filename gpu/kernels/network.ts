/**
 * Transformers' operations on the WebGPU device. The kernels: `gpu/shaders/{rows,groups,norm,rope,activation,loss,optimizer}.ts`;
 * attention is in `webgpu_attention.ts`.
 *
 * Row numbers, positions and labels are in buffers that nobody here reads: one out of range is not told, and WebGPU
 * itself sees to it that it reaches nothing outside the buffer.
 *
 * @module
 */

import type {
  NetworkOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import { grid } from "../context.ts";
import { SWIGLU, SWIGLU_BACKWARD } from "./elementwise/swiglu.wgsl.ts";
import {
  GROUPS_THREADS,
  POOL_COLUMNS,
  spreadColumnsKernel,
} from "./elementwise/groups.wgsl.ts";
import { crossEntropyKernel } from "./norm/cross_entropy.wgsl.ts";
import {
  rmsNormBackwardKernel,
  rmsNormKernel,
  rowThreads,
} from "./norm/rms_norm.wgsl.ts";
import { adamwText, CLIP_SCALE } from "./elementwise/adamw.wgsl.ts";
import { ROPE_THREADS, ropeKernel } from "./attention/rope.wgsl.ts";
import {
  columnSumsKernel,
  type ColumnTerm,
  COMBINE,
  DROPOUT,
  GATHER_ROWS,
  ROWS_THREADS,
  SCALE,
  SCATTER_ROWS,
  sumWidth,
} from "./elementwise/rows.wgsl.ts";
import type { DeviceBuffer, Mat } from "../../src/device/buffer.ts";
import { dropoutFactor, dropoutThreshold } from "../../src/device/dropout.ts";
import { attention, attentionBackward } from "./attention/attention.ts";
import { encoderOperations } from "./encoder.ts";
import {
  bindMat,
  part,
  rowTiles,
  runMap,
  same,
  tiles,
  writeApart,
} from "./elementwise/map.ts";
import type { WebGpuMemory } from "../buffers.ts";

/** Elements `[at, at + count)` of a vector as a binding, and where in it they begin, in elements. */
export function bindVector(
  memory: WebGpuMemory,
  x: DeviceBuffer,
  { at, count }: { at: number; count: number },
) {
  const { span, first } = memory.part(x, at * 4, count * 4);
  return { span, first: first / 4 };
}

function combine(memory: WebGpuMemory, args: OperationArgs<"combine">): void {
  const { x, y, out, alpha = 1, beta = 1 } = args;
  if (y) {
    runMap(memory, COMBINE, {
      mats: { x, y, out },
      words: () => [{ f32: alpha }, { f32: beta }],
    });
  } else {
    runMap(memory, SCALE, {
      mats: { x, out },
      words: () => [{ f32: alpha }],
    });
  }
}

function addRow(memory: WebGpuMemory, args: OperationArgs<"addRow">): void {
  const { x, row, out } = args;
  // A matrix in which each row begins where the last did.
  const y = { ...x, buffer: row, offset: 0, stride: 0 };
  combine(memory, { x, y, out });
}

/** Adds down the columns; the first part of the rows overwrites `out`, unless it grows. */
export function sumColumns(
  memory: WebGpuMemory,
  { term, x, other, inverse, mean, out, grow }: {
    term: ColumnTerm;
    x: Mat;
    /** The matrix, and the factors and means of its rows, of a norm's weight. */
    other?: Mat;
    inverse?: DeviceBuffer;
    mean?: DeviceBuffer;
    out: DeviceBuffer;
    grow: boolean;
  },
): void {
  const { rows, cols } = x;
  if (cols === 0) return;
  const width = sumWidth(cols);
  const kernel = columnSumsKernel(term, width);
  const all = x.rows > 0
    ? tiles(memory, other ? [x, other] : [x])
    : [{ row: 0, rows: 0, col: 0, cols }];
  const runs = all.map((tile) => {
    const on = bindMat(memory, part(x, tile));
    const at = bindVector(memory, out, { at: tile.col, count: tile.cols });
    const by = other && bindMat(memory, part(other, tile));
    const factors = inverse &&
      bindVector(memory, inverse, { at: tile.row, count: tile.rows });
    const means = mean &&
      bindVector(memory, mean, { at: tile.row, count: tile.rows });
    const vectors = [factors, means].filter((v) => v !== undefined);
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, tile.cols, on.first, on.stride, at.first],
          grow || tile.row > 0 ? 1 : 0,
          ...(by ? [by.first, by.stride] : []),
          ...vectors.map(({ first }) => first),
        ],
        reads: [on, ...(by ? [by] : []), ...vectors].map(({ span }) => span),
        writes: [at.span],
        groups: grid(Math.ceil(tile.cols / width)),
        shape: `${rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function columnSums(
  memory: WebGpuMemory,
  args: OperationArgs<"columnSums">,
): void {
  const { x, out, beta, square } = args;
  const term = square ? "squares" : "values";
  sumColumns(memory, { term, x, out, grow: beta === 1 });
}

function poolColumns(
  memory: WebGpuMemory,
  args: OperationArgs<"poolColumns">,
): void {
  const { cols } = args.x;
  const pooled = args.out.cols;
  if (pooled === 0) return;
  const runs = rowTiles(memory, [args.x, args.out]).map((tile) => {
    const x = memory.bind(part(args.x, tile));
    const out = memory.bind(part(args.out, tile));
    return () =>
      memory.context.run(POOL_COLUMNS, {
        params: [
          ...[tile.rows, cols, pooled, Math.min(args.group, cols)],
          ...[x.first, x.stride, out.first, out.stride],
        ],
        reads: [x.span],
        writes: [out.span],
        groups: grid(Math.ceil(tile.rows * pooled / GROUPS_THREADS)),
        shape: `${tile.rows}x${cols} by ${args.group}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function spreadColumns(
  memory: WebGpuMemory,
  args: OperationArgs<"spreadColumns">,
): void {
  const { cols } = args.out;
  if (cols === 0) return;
  const inOut = args.add !== undefined && same(args.add, args.out);
  const other = inOut ? undefined : args.add;
  const kernel = spreadColumnsKernel(inOut ? "out" : other ? "other" : "none");
  const mats = [args.x, args.out, ...(other ? [other] : [])];
  const runs = rowTiles(memory, mats).map((tile) => {
    const [x, out, add] = mats.map((m) => memory.bind(part(m, tile)));
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, Math.min(args.group, cols)],
          ...[x.first, x.stride, out.first, out.stride],
          ...[add?.first ?? 0, add?.stride ?? 0],
        ],
        reads: [x.span, ...(add ? [add.span] : [])],
        writes: [out.span],
        groups: grid(Math.ceil(tile.rows * cols / GROUPS_THREADS)),
        shape: `${tile.rows}x${cols} by ${args.group}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

/** Takes rows of `x` to or from those of a table that `ids` names, part by part of both. */
function lookUp(
  memory: WebGpuMemory,
  { x, ids, table, add }: {
    x: Mat;
    ids: DeviceBuffer;
    table: Mat;
    add: boolean;
  },
): void {
  const runs = tiles(memory, [x]).flatMap((tile) => {
    const columns = part(table, { col: tile.col, cols: tile.cols });
    const rows = memory.bind(part(x, tile));
    const names = bindVector(memory, ids, { at: tile.row, count: tile.rows });
    return rowTiles(memory, [columns]).map((piece) => {
      const from = memory.bind(part(columns, piece));
      const work = {
        params: [
          ...[tile.rows, tile.cols, piece.row, piece.rows, names.first],
          ...[from.first, from.stride, rows.first, rows.stride],
        ],
        shape: `${tile.rows}x${tile.cols} of ${table.rows}`,
      };
      return () =>
        add
          ? memory.context.run(SCATTER_ROWS, {
            ...work,
            reads: [names.span, rows.span],
            writes: [from.span],
            groups: grid(Math.ceil(tile.cols / ROWS_THREADS)),
          })
          : memory.context.run(GATHER_ROWS, {
            ...work,
            reads: [names.span, from.span],
            writes: [rows.span],
            groups: grid(Math.ceil(tile.rows * tile.cols / ROWS_THREADS)),
          });
    });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function gatherRows(
  memory: WebGpuMemory,
  args: OperationArgs<"gatherRows">,
): void {
  const { table, ids, out } = args;
  if (out.cols > 0) lookUp(memory, { x: out, ids, table, add: false });
}

function scatterRows(
  memory: WebGpuMemory,
  args: OperationArgs<"scatterRows">,
): void {
  if (args.x.cols > 0) lookUp(memory, { ...args, add: true });
}

function rmsNorm(memory: WebGpuMemory, args: OperationArgs<"rmsNorm">): void {
  const { cols } = args.x;
  if (cols === 0) return;
  const kernel = rmsNormKernel(rowThreads(cols));
  const weight = bindVector(memory, args.weight, { at: 0, count: cols });
  const runs = rowTiles(memory, [args.x, args.out]).map((tile) => {
    const x = memory.bind(part(args.x, tile));
    const out = memory.bind(part(args.out, tile));
    const inverse = bindVector(memory, args.inverse, {
      at: tile.row,
      count: tile.rows,
    });
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, x.first, x.stride, out.first, out.stride],
          ...[weight.first, inverse.first, { f32: args.epsilon }],
        ],
        reads: [x.span, weight.span],
        writes: [out.span, inverse.span],
        groups: grid(tile.rows),
        shape: `${tile.rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function rmsNormBackward(
  memory: WebGpuMemory,
  args: OperationArgs<"rmsNormBackward">,
): void {
  const { cols } = args.x;
  if (cols === 0) return;
  // First, while `dx` has not overwritten anything.
  if (args.dweight) {
    sumColumns(memory, {
      term: "weight",
      x: args.dy,
      other: args.x,
      inverse: args.inverse,
      out: args.dweight,
      grow: true,
    });
  }
  const inDx = args.add !== undefined && same(args.add, args.dx);
  const other = inDx ? undefined : args.add;
  const kernel = rmsNormBackwardKernel(
    rowThreads(cols),
    inDx ? "dx" : other ? "other" : "none",
  );
  const weight = bindVector(memory, args.weight, { at: 0, count: cols });
  const mats = [args.dy, args.x, args.dx, ...(other ? [other] : [])];
  const runs = rowTiles(memory, mats).map((tile) => {
    const [dy, x, dx, add] = mats.map((m) => memory.bind(part(m, tile)));
    const inverse = bindVector(memory, args.inverse, {
      at: tile.row,
      count: tile.rows,
    });
    return () =>
      memory.context.run(kernel, {
        params: [
          ...[tile.rows, cols, dy.first, dy.stride, x.first, x.stride],
          ...[dx.first, dx.stride, add?.first ?? 0, add?.stride ?? 0],
          ...[weight.first, inverse.first],
        ],
        reads: [
          ...[dy.span, x.span, weight.span, inverse.span],
          ...(add ? [add.span] : []),
        ],
        writes: [dx.span],
        groups: grid(tile.rows),
        shape: `${tile.rows}x${cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function rope(memory: WebGpuMemory, args: OperationArgs<"rope">): void {
  const { headDim, inverse = false } = args;
  const inPlace = same(args.x, args.out);
  const pairs = args.x.cols / 2;
  if (args.x.rows === 0 || pairs === 0) return;
  const cos = memory.bind(args.cos);
  const sin = memory.bind(args.sin);
  const runs = rowTiles(memory, [args.x, args.out]).map((tile) => {
    const x = memory.bind(part(args.x, tile));
    const out = memory.bind(part(args.out, tile));
    const positions = bindVector(memory, args.positions, {
      at: tile.row,
      count: tile.rows,
    });
    return () =>
      memory.context.run(ropeKernel(inPlace), {
        params: [
          ...[tile.rows, pairs, headDim / 2, x.first, x.stride],
          ...[out.first, out.stride, positions.first],
          ...[cos.first, cos.stride, sin.first, sin.stride, inverse ? 1 : 0],
        ],
        reads: [
          ...[positions.span, cos.span, sin.span],
          ...(inPlace ? [] : [x.span]),
        ],
        writes: [out.span],
        groups: grid(Math.ceil(tile.rows * pairs / ROPE_THREADS)),
        shape: `${tile.rows}x${args.x.cols}`,
      });
  });
  memory.enqueue(() => runs.forEach((run) => run()));
}

function swiglu(memory: WebGpuMemory, args: OperationArgs<"swiglu">): void {
  const { gate, up, out } = args;
  runMap(memory, SWIGLU, { mats: { gate, up, out } });
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
      }),
  );
}

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

function dropout(memory: WebGpuMemory, args: OperationArgs<"dropout">): void {
  const { x, out, rate, seed } = args;
  runMap(memory, DROPOUT, {
    mats: { x, out },
    words: ({ row, col }) => [
      (row * x.cols + col) % 2 ** 32,
      x.cols,
      seed,
      dropoutThreshold(rate),
      { f32: dropoutFactor(rate) },
    ],
  });
}

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

/** Transformers' operations in `memory`. */
export function networkOperations(memory: WebGpuMemory): NetworkOperations {
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
