/**
 * Products on the WebGPU device. The kernels: `gemm.wgsl.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../../src/device/operations.ts";
import {
  type GemmBatch,
  gemmSizes,
} from "../../../src/device/contract/gemm.ts";
import { grid } from "../../context.ts";
import { record, type Values } from "../../kernel.ts";
import type { BoundRows } from "../quant/parts.ts";
import type { narrowKernel } from "./quantized.wgsl.ts";
import { directGemm, gemmSum, SUM_THREADS, tiledGemm } from "./gemm.wgsl.ts";
import { DIRECT_DEPTH, DIRECT_SIDE, DIRECT_THREADS } from "./direct.wgsl.ts";
import type { Source } from "./text.wgsl.ts";
import type { Mat } from "../../../src/device/buffer.ts";
import { chooseTile, shareOut } from "./tiles.ts";
import { part, same } from "../elementwise/map.ts";
import type { BoundBatch, WebGpuMemory } from "../../buffers.ts";

type GemmArgs = OperationArgs<"gemm">;

/** The most rows or columns of a product, so that workgroups of the smallest tile stay within 65535 a dimension. */
const MOST_SIDE = 2 ** 18;

/** The most products of a dispatch: with their inner indices shared out they are a dimension of workgroups. */
const MOST_PRODUCTS = 1024;

/** The most workgroups of a dimension. */
const MOST_GROUPS = 65535;

/** The most inner indices of a dispatch: Mesa's software adapter leaves a kernel after 65536 turns of its loops. */
const MOST_INNER = 2 ** 17;

/** Splits are at multiples of this, if there is one. */
const SPLIT = 64;

/** A product with nothing left open, and a batch even for one. */
interface Product {
  readonly a: Mat;
  readonly b: Mat;
  readonly c: Mat;
  readonly add: Mat | undefined;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
  readonly beta: number;
  readonly batch: Required<GemmBatch>;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** As the contract says. */
export function gemm(memory: WebGpuMemory, args: GemmArgs): void {
  const { m, n, k } = gemmSizes(args);
  const { transA = false, transB = false, alpha = 1, beta = 0 } = args;
  const batch: GemmBatch = args.batch ?? { count: 1, a: 0, b: 0, c: 0 };
  if (m === 0 || n === 0 || batch.count === 0) return;
  const product = {
    ...args,
    ...{ transA, transB, alpha, beta, m, n, k },
    add: beta === 0 ? undefined : args.add,
    batch: { ...batch, add: batch.add ?? batch.c },
  };
  const runs = Array.from(
    fitting(memory, product),
    (fit) => prepare(memory, fit),
  );
  memory.enqueue(() => runs.forEach((run) => run()));
}

/** Bytes from the first to the last value of all matrices of a batch, and what a binding takes besides at its ends. */
function reach(memory: WebGpuMemory, x: Mat, step: number, count: number) {
  return memory.extent(x) + (count - 1) * step * 4 + 272;
}

/**
 * Cuts a product in halves until every binding reaches what it must: a matrix is cut across its rows, which are rows
 * of the product, columns, or inner indices, depending on the matrix.
 */
function* fitting(memory: WebGpuMemory, p: Product): Generator<Product> {
  const { a, b, c, add, transA, transB, batch, m, n, k } = p;
  const { count } = batch;
  const tooLong = (x: Mat, step: number) =>
    x.rows > 1 && reach(memory, x, step, count) > memory.context.mostBound;
  const longA = tooLong(a, batch.a);
  const longB = tooLong(b, batch.b);
  const longC = tooLong(c, batch.c) ||
    add !== undefined && tooLong(add, batch.add);
  const halves = (length: number) => {
    const half = Math.ceil(length / 2 / SPLIT) * SPLIT;
    const at = half < length ? half : Math.ceil(length / 2);
    return [[0, at], [at, length - at]];
  };
  if (count > 1 && (longA || longB || longC || count > MOST_PRODUCTS)) {
    for (const [at, many] of halves(count)) {
      const move = (x: Mat, step: number) => ({
        ...x,
        offset: x.offset + at * step,
      });
      yield* fitting(memory, {
        ...p,
        a: move(a, batch.a),
        b: move(b, batch.b),
        c: move(c, batch.c),
        add: add && move(add, batch.add),
        batch: { ...batch, count: many },
      });
    }
  } else if (longC || longA && !transA || m > MOST_SIDE) {
    for (const [row, rows] of halves(m)) {
      yield* fitting(memory, {
        ...p,
        m: rows,
        a: part(a, transA ? { col: row, cols: rows } : { row, rows }),
        c: part(c, { row, rows }),
        add: add && part(add, { row, rows }),
      });
    }
  } else if (longB && transB || n > MOST_SIDE) {
    for (const [col, cols] of halves(n)) {
      yield* fitting(memory, {
        ...p,
        n: cols,
        b: part(b, transB ? { row: col, rows: cols } : { col, cols }),
        c: part(c, { col, cols }),
        add: add && part(add, { col, cols }),
      });
    }
  } else if (longA || longB || k > MOST_INNER) {
    for (const [at, many] of halves(k)) {
      const [row, rows] = [at, many];
      const [col, cols] = [at, many];
      yield* fitting(memory, {
        ...p,
        k: many,
        a: part(a, transA ? { row, rows } : { col, cols }),
        b: part(b, transB ? { col, cols } : { row, rows }),
        ...(at > 0 && { add: c, beta: 1, batch: { ...batch, add: batch.c } }),
      });
    }
  } else yield p;
}

/** Matrices of a batch as a kernel takes them. */
interface Bound extends BoundBatch {
  /** True if a kernel may take them as vectors of four. */
  readonly vectors: boolean;
}

function bind(
  memory: WebGpuMemory,
  x: Mat,
  { step, count }: { step: number; count: number },
): Bound {
  const bytes = memory.extent(x) + (count - 1) * step * 4;
  const { span, first } = memory.part(
    x.buffer,
    x.offset * 4,
    Math.max(bytes, 4),
  );
  const wide = { ...span, bytes: Math.ceil(span.bytes / 16) * 16 };
  const vectors = first % 16 === 0 &&
    (x.rows <= 1 || x.stride % 4 === 0) && (count === 1 || step % 4 === 0) &&
    wide.at + wide.bytes <= span.buffer.size &&
    wide.bytes <= memory.context.mostBound;
  const { stride } = x;
  return {
    span: vectors ? wide : span,
    first: first / 4,
    stride,
    step,
    vectors,
  };
}

/** Bindings and parameters that a kernel reads b through, where it is no matrix. */
export interface BoundSource {
  readonly source: Source;
  readonly params: Values<Source["params"]>;
  readonly bind: BoundRows["bind"];
  /** The kernel to take in place of those for matrices. `vectors`: whether it may read a four values at a time. */
  kernel?(
    variant: { readonly vectors: boolean; readonly addend: boolean },
  ): {
    kernel: ReturnType<typeof narrowKernel>;
    groups: readonly [number, number, number];
  };
}

/** Binds a product's operands now; returns a function that records it. */
export function prepare(
  memory: WebGpuMemory,
  p: Omit<Product, "b"> & { readonly b: Mat | BoundSource },
): () => void {
  const { context } = memory;
  const { transA, transB, alpha, beta, batch, m, n, k } = p;
  const { count } = batch;
  const inC = p.add !== undefined && same(p.add, p.c) && batch.add === batch.c;
  const c = bind(memory, p.c, { step: batch.c, count });
  const own = p.add && !inC
    ? bind(memory, p.add, { step: batch.add, count })
    : undefined;
  const addend = own !== undefined;
  const shape = `${m}x${n}x${k}${count > 1 ? ` of ${count}` : ""}`;
  const finish = (parts: number, shares?: BoundBatch) =>
    record(context, gemmSum({ addend, empty: shares === undefined }), {
      params: { m, n, parts, alpha, beta },
      bind: { shares, addend: own, c },
      groups: [Math.ceil(n / SUM_THREADS), Math.min(m, MOST_GROUPS), count],
      shape,
    });
  if (k === 0) return () => finish(0);

  const a = bind(memory, p.a, { step: batch.a, count });
  const quantised = "source" in p.b ? p.b : undefined;
  const b = "source" in p.b
    ? undefined
    : bind(memory, p.b, { step: batch.b, count });
  const source = quantised?.source;
  const right = { ...quantised?.bind, b };
  const along = {
    a: transA ? "outer" : "k",
    b: transB ? "k" : "outer",
  } as const;
  const operands = n % 4 === 0 && a.vectors && (b?.vectors ?? true);
  const vectors = operands && c.vectors && (own?.vectors ?? true);
  const sized = { m, n, k, ...quantised?.params };
  const whole = {
    params: { ...sized, part: k, parts: 1, alpha, beta },
    bind: { a, ...right, addend: own, c },
    shape,
  };
  const special = quantised?.kernel?.({ vectors: a.vectors, addend });
  if (special) {
    const { kernel, groups } = special;
    return () =>
      record(context, kernel, {
        ...whole,
        params: { ...quantised!.params, ...whole.params },
        bind: { ...quantised!.bind, ...whole.bind },
        groups,
      });
  }
  if (context.software) {
    const tiles = Math.ceil(m / DIRECT_SIDE) * Math.ceil(n / DIRECT_SIDE);
    const [x, y] = grid(Math.ceil(tiles / DIRECT_THREADS));
    const ragged = k % DIRECT_DEPTH !== 0;
    const kernel = directGemm({ ...along, vectors, addend }, { ragged });
    return () => record(context, kernel, { ...whole, groups: [x, y, count] });
  }
  const sizes = { m, n, k, count };
  const tile = chooseTile(sizes);
  const { part, parts } = shareOut(sizes, tile, { most: context.mostBound });
  const groups = [
    Math.ceil(n / (tile.lanesX * tile.cols)),
    Math.ceil(m / (tile.lanesY * tile.rows)),
    count * parts,
  ] as const;
  if (parts === 1) {
    const kernel = tiledGemm({ ...along, vectors, addend, source }, tile);
    return () => record(context, kernel, { ...whole, groups });
  }
  const kernel = tiledGemm(
    { ...along, vectors: operands, addend: false, source },
    tile,
  );
  const bytes = count * parts * m * n * 4;
  return () => {
    const buffer = context.take(bytes);
    const shares = {
      span: { buffer, at: 0, bytes },
      ...{ first: 0, stride: n, step: m * n },
    };
    record(context, kernel, {
      params: { ...sized, part, parts, alpha: 1, beta: 0 },
      bind: { a, ...right, c: shares },
      groups,
      shape,
    });
    finish(parts, shares);
    context.release(buffer);
  };
}

/** These operations, in a memory of the device. */
export const gemmOperations = {
  gemm,
} satisfies MemoryOperations<WebGpuMemory>;
