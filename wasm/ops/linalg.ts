/**
 * Factorisations on the WASM device. The kernels: `wasm/assembly/linalg/qr.ts`, `wasm/assembly/linalg/triangular.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { WasmMemory } from "../buffers.ts";
import { place } from "../words.ts";

/**
 * Squared condition up to which one pass of the Gram matrix method leaves an error below 1e-7: it is about the f64
 * rounding times this.
 */
const ONE_PASS = 1e8;

/** Columns of a block of the triangular kernels, and bytes of a row of their workspace. */
const BLOCK = 64;
const LINE = BLOCK * 8;

function qr(
  memory: WasmMemory,
  args: OperationArgs<"qr">,
): void {
  const { y, r } = args;
  if (y.cols === 0) return;
  const { kernels } = memory;
  const width = Math.ceil(y.cols / 4) * 4;
  const square = width * width * 8;
  // Sums over rows are made part by part: as many on one thread as on several, so that the results are the same.
  const parts = Math.max(
    1,
    Math.min(8, Math.floor(y.rows * y.cols * y.cols / (1 << 17))),
  );
  const inverse = kernels.scratch(
    (2 + parts) * square + (y.rows + 3) * width * 8,
  );
  const total = inverse + square;
  const gram = total + square;
  const work = gram + parts * square;
  const shape = {
    ...{ y: place(memory, y), rows: y.rows, cols: y.cols },
    ...{ work, width },
  };
  kernels.run("gram", parts, { ...shape, grams: gram, fill: 1 });
  const condition = kernels.steps.factor(
    gram,
    parts,
    width,
    inverse,
    total,
    1,
  );
  const again = condition > ONE_PASS;
  const last = again ? 0 : 1;
  kernels.run("applyInverse", parts, { ...shape, inverse, last });
  if (again) {
    kernels.run("gram", parts, { ...shape, grams: gram, fill: 0 });
    kernels.steps.factor(gram, parts, width, inverse, total, 0);
    kernels.run("applyInverse", parts, { ...shape, inverse, last: 1 });
  }
  const to = memory.origin(r) / 4;
  const { f32, f64 } = kernels;
  for (let i = 0; i < r.rows; i++) {
    for (let j = 0; j < r.cols; j++) {
      f32[to + i * r.stride + j] = f64[total / 8 + i * width + j];
    }
  }
}

function cholesky(
  memory: WasmMemory,
  args: OperationArgs<"cholesky">,
): void {
  const { h, l, damping } = args;
  const n = h.rows;
  const { kernels } = memory;
  const from = memory.origin(h);
  const to = memory.origin(l);
  let trace = 0;
  for (let i = 0; i < n; i++) {
    trace += kernels.f32[from / 4 + i * (h.stride + 1)];
  }
  const triangle = kernels.scratch(
    BLOCK * LINE + kernels.threads * 4 * LINE,
  );
  for (let at = 0; at < n; at += BLOCK) {
    kernels.steps.choleskyDiagonal(
      from,
      h.stride * 4,
      to,
      l.stride * 4,
      n,
      at,
      damping * trace / n,
      triangle,
    );
    const below = n - at - BLOCK;
    if (below <= 0) break;
    kernels.run(
      "choleskyRows",
      memory.parts(below * BLOCK * (at + BLOCK), 1 << 17),
      {
        ...{ h: place(memory, h), l: place(memory, l), n, from: at },
        triangle,
        scratch: triangle + BLOCK * LINE,
        scratchBytes: 4 * LINE,
      },
    );
  }
}

function solveRight(
  memory: WasmMemory,
  args: OperationArgs<"solveRight">,
): void {
  const { x, l, transpose } = args;
  const { kernels } = memory;
  const parts = memory.parts(x.rows * x.cols * x.cols, 1 << 17);
  const scratchBytes = (4 + BLOCK) * LINE;
  kernels.run("solveRight", parts, {
    ...{ x: place(memory, x), rows: x.rows, n: x.cols },
    l: place(memory, l),
    transpose: transpose ? 1 : 0,
    scratch: memory.scratch(scratchBytes),
    scratchBytes,
  });
}

/** These operations, in a memory of the device. */
export const linalgOperations = {
  qr,
  cholesky,
  solveRight,
} satisfies MemoryOperations<WasmMemory>;
