/**
 * Cholesky factors and triangular solves on the WebGPU device: blocks of columns, and between them products. The kernels:
 * `gpu/kernels/linalg/triangular.wgsl.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import { grid } from "../../context.ts";
import { record, run } from "../../kernel.ts";
import {
  copySquare,
  DAMPING,
  FACTOR_BLOCK,
  SOLVE_BLOCK,
  SOLVE_ROWS,
  TRIANGLE_BLOCK,
} from "./triangular.wgsl.ts";
import {
  type DeviceBuffer,
  type Mat,
  mat,
} from "../../../src/device/buffer.ts";
import { cpuWork } from "../../on_cpu.ts";
import { gemm } from "../gemm/gemm.ts";
import { part } from "../elementwise/map.ts";
import type { WebGpuMemory } from "../../buffers.ts";

/** Columns that are updated at once: what lies above the diagonal is left out strip by strip. */
const STRIP = 1024;

/** Cuts the rows of `x` into runs that one binding reaches. */
function* runs(memory: WebGpuMemory, x: Mat): Generator<Mat & { row: number }> {
  // 64 elements for the start of a binding, which is aligned.
  const elements = memory.context.mostBound / 4 - x.cols - 64;
  const most = Math.max(1, Math.floor(elements / x.stride));
  for (let row = 0; row < x.rows; row += most) {
    const rows = Math.min(most, x.rows - row);
    yield { ...part(x, { row, rows }), row };
  }
}

/**
 * In f32. Where a pivot is too small to be told from rounding the CPU does it over, with sums in
 * f64: to know that, the operation waits once.
 */
function cholesky(
  memory: WebGpuMemory,
  args: OperationArgs<"cholesky">,
): void {
  const { context } = memory;
  const { h, l, damping } = args;
  const n = h.rows;
  if (n === 0) return;
  using room = new DisposableStack();
  const alloc = (words: number): DeviceBuffer =>
    room.use(memory.alloc(words * 4));
  const a = mat(alloc(n * n), n, n);
  const panel = mat(alloc(n * TRIANGLE_BLOCK), n, TRIANGLE_BLOCK);
  const corner = mat(
    alloc(TRIANGLE_BLOCK ** 2),
    TRIANGLE_BLOCK,
    TRIANGLE_BLOCK,
  );
  const diagonal = alloc(n);
  const bad = alloc(1);
  memory.write(bad, new Uint32Array(1));
  copyDamped(memory, { h, a, damping, diagonal });
  for (let at = 0; at < n; at += TRIANGLE_BLOCK) {
    const cols = Math.min(TRIANGLE_BLOCK, n - at);
    const next = at + cols;
    run(memory, FACTOR_BLOCK, {
      params: { cols, col: at },
      bind: {
        diagonal: memory.whole(diagonal),
        a: memory.bind(part(a, { row: at, col: at, rows: cols, cols })),
        factor: memory.whole(corner.buffer),
        bad: memory.whole(bad),
      },
      groups: [1],
      shape: `${n}x${n}`,
    });
    if (next === n) break;
    solveBlock(memory, {
      x: part(a, { row: next, col: at, cols }),
      l: corner,
      panel,
      transpose: true,
    });
    const left = n - next;
    for (let strip = 0; strip < left; strip += STRIP) {
      const c = part(a, {
        row: next + strip,
        col: next + strip,
        cols: Math.min(STRIP, left - strip),
      });
      const rows = part(panel, { row: strip, rows: c.rows, cols });
      gemm(memory, {
        a: rows,
        b: { ...rows, rows: c.cols },
        c,
        transB: true,
        alpha: -1,
        beta: 1,
        add: c,
      });
    }
  }
  const done = copyLower(memory, { a, l });
  const again = cpuWork(memory, {
    args: { h, l },
    reads: ["h"],
    writes: ["l"],
    run: (ops, { h, l }) => ops.cholesky({ h, l, damping }),
  });
  const word = memory.gpu(bad);
  memory.enqueue(async () => {
    const [found] = new Uint32Array((await context.read(word, 0, 4)).buffer);
    if (found) await again();
    else done();
  });
}

/** `a = h` with its diagonal raised by the damping; the new diagonal also by itself. */
function copyDamped(
  memory: WebGpuMemory,
  { h, a, damping, diagonal }: {
    h: Mat;
    a: Mat;
    damping: number;
    diagonal: DeviceBuffer;
  },
): void {
  const n = h.rows;
  const shape = `${n}x${n}`;
  const pieces = [...runs(memory, h)].map(({ row, ...piece }) => ({
    ...{ row, rows: piece.rows },
    from: memory.bind(piece),
    to: memory.bind(part(a, { row, rows: piece.rows })),
  }));
  using added = memory.alloc(pieces.length * 4);
  const shares = memory.whole(added);
  for (const [share, { row, rows, from }] of pieces.entries()) {
    run(memory, DAMPING, {
      params: { n: rows, share, factor: damping / n },
      bind: { h: { ...from, first: from.first + row }, shares },
      groups: [1],
      shape,
    });
  }
  for (const { row, rows, from, to } of pieces) {
    run(memory, copySquare({ lower: false }), {
      params: { rows, cols: n, first: row, count: pieces.length },
      bind: {
        ...{ source: from, shares, copy: to },
        diagonal: memory.whole(diagonal),
      },
      groups: grid(Math.ceil(rows * n / 64)),
      shape,
    });
  }
}

/** A function that copies the lower triangle of `a` to `l`, with zeros above, when it is called. */
function copyLower(
  memory: WebGpuMemory,
  { a, l }: { a: Mat; l: Mat },
): () => void {
  const n = a.rows;
  const pieces = [...runs(memory, l)].map(({ row, ...piece }) => ({
    row,
    rows: piece.rows,
    from: memory.bind(part(a, { row, rows: piece.rows })),
    to: memory.bind(piece),
  }));
  return () => {
    for (const { row, rows, from, to } of pieces) {
      record(memory.context, copySquare({ lower: true }), {
        params: { rows, cols: n, first: row, count: 0 },
        bind: { source: from, copy: to },
        groups: grid(Math.ceil(rows * n / 64)),
        shape: `${n}x${n}`,
      });
    }
  };
}

function solveRight(
  memory: WebGpuMemory,
  args: OperationArgs<"solveRight">,
): void {
  const { x, l, transpose = false } = args;
  const n = x.cols;
  if (x.rows === 0 || n === 0) return;
  using buffer = memory.alloc(x.rows * TRIANGLE_BLOCK * 4);
  const panel = mat(buffer, x.rows, TRIANGLE_BLOCK);
  const blocks = Math.ceil(n / TRIANGLE_BLOCK);
  for (let step = 0; step < blocks; step++) {
    const col = (transpose ? step : blocks - 1 - step) * TRIANGLE_BLOCK;
    const cols = Math.min(TRIANGLE_BLOCK, n - col);
    solveBlock(memory, {
      x: part(x, { col, cols }),
      l: part(l, { row: col, col, rows: cols, cols }),
      panel,
      transpose,
    });
    const next = col + cols;
    const c = transpose ? part(x, { col: next }) : part(x, { cols: col });
    if (c.cols === 0) continue;
    gemm(memory, {
      a: part(panel, { cols }),
      b: transpose
        ? part(l, { row: next, col, cols })
        : part(l, { row: col, rows: cols, cols: col }),
      c,
      transB: transpose,
      alpha: -1,
      beta: 1,
      add: c,
    });
  }
}

/** Solves for the columns of one block, in place and into `panel`. */
function solveBlock(
  memory: WebGpuMemory,
  { x, l, panel, transpose }: {
    x: Mat;
    l: Mat;
    panel: Mat;
    transpose: boolean;
  },
): void {
  const triangle = memory.bind(l);
  for (const { row, ...piece } of runs(memory, x)) {
    const { rows, cols } = piece;
    run(memory, SOLVE_BLOCK, {
      params: { rows, cols, transposed: transpose ? 1 : 0 },
      bind: {
        l: triangle,
        x: memory.bind(piece),
        panel: memory.bind(part(panel, { row, rows })),
      },
      groups: grid(Math.ceil(rows / SOLVE_ROWS)),
      shape: `${rows}x${cols}`,
    });
  }
}

/** These operations, in a memory of the device. */
export const triangularOperations = {
  cholesky,
  solveRight,
} satisfies MemoryOperations<WebGpuMemory>;
