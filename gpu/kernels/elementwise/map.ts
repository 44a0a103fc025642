/**
 * Parts of matrices that one binding reaches, and kernels that take each element by itself.
 *
 * @module
 */

import { grid } from "../../context.ts";
import { type Params, run, type Values } from "../../kernel.ts";
import { bindingOf, MAP_SPAN, mapKernel, type MapText } from "./map.wgsl.ts";
import { SCALE } from "./rows.wgsl.ts";
import {
  type DeviceBuffer,
  type Mat,
  mat,
} from "../../../src/device/buffer.ts";
import type { BoundMat, WebGpuMemory } from "../../buffers.ts";

/** Elements that a binding may lose at its ends: it begins and ends where WebGPU wants it to. */
const LOST = 68;

/** Rows and columns of a matrix. */
export interface Tile {
  readonly row: number;
  readonly rows: number;
  readonly col: number;
  readonly cols: number;
}

/** A part of a matrix. */
export function part(
  x: Mat,
  { row = 0, rows = x.rows - row, col = 0, cols = x.cols - col }: Partial<Tile>,
): Mat {
  return { ...x, rows, cols, offset: x.offset + row * x.stride + col };
}

/** A matrix as a binding; one without elements as whatever its buffer begins with. */
export function bindMat(memory: WebGpuMemory, x: Mat): BoundMat {
  if (memory.extent(x) > 0) return memory.bind(x);
  const { span } = memory.part(x.buffer, 0, 4);
  return { span, first: 0, stride: x.stride };
}

/** Rows of `x` that one binding reaches, at least one: one that is too wide fails at binding. */
export function rowsBound(memory: WebGpuMemory, x: Mat): number {
  const most = memory.context.mostBound / 4 - LOST - x.cols;
  return Math.max(
    1,
    x.stride === 0 ? Infinity : Math.floor(most / x.stride) + 1,
  );
}

/** Runs of whole rows of matrices that one binding each reaches. */
export function rowTiles(
  memory: WebGpuMemory,
  mats: readonly Mat[],
): { row: number; rows: number }[] {
  const { rows } = mats[0];
  const step = Math.min(...mats.map((x) => rowsBound(memory, x)));
  const out: { row: number; rows: number }[] = [];
  for (let row = 0; row < rows; row += step) {
    out.push({ row, rows: Math.min(step, rows - row) });
  }
  return out;
}

/** Parts of matrices of one shape that one binding each reaches: rows, or where one is too wide parts of rows. */
export function tiles(memory: WebGpuMemory, mats: readonly Mat[]): Tile[] {
  const { rows, cols } = mats[0];
  const width = Math.floor(memory.context.mostBound / 4) - LOST;
  if (cols <= width) {
    return rowTiles(memory, mats).map((tile) => ({ ...tile, col: 0, cols }));
  }
  const out: Tile[] = [];
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col += width) {
      out.push({ row, rows: 1, col, cols: Math.min(width, cols - col) });
    }
  }
  return out;
}

/** Matrices, scalars and parameters of a call of a {@linkcode MapText}. */
export interface MapCall<R extends string, S extends string, P extends Params> {
  /** The matrices by name, all of one shape. */
  readonly mats: Readonly<Record<R, Mat>>;
  /** Vectors by name, of whose values the first counts. */
  readonly scalars?: Readonly<Record<S, DeviceBuffer>>;
  /** The further parameters. */
  readonly params: (tile: Tile) => Values<P>;
}

/** No further parameters. */
export const NONE = () => ({});

/** Runs a kernel on each element of matrices; an output may be an input. */
export function runMap<
  R extends string,
  W extends string,
  S extends string,
  P extends Params,
>(
  memory: WebGpuMemory,
  text: MapText<R, W, S, P>,
  { mats, scalars, params }: NoInfer<MapCall<R | W, S, P>>,
): void {
  const { reads, writes } = text;
  const names = [...reads, ...writes];
  const all = names.map((name) => mats[name]);
  if (all[0].rows === 0 || all[0].cols === 0) return;
  const places: Record<string, string> = {};
  for (const x of reads) {
    const y = writes.find((y) => same(mats[x], mats[y]));
    if (y) places[x] = y;
  }
  const kernel = mapKernel(text, places);
  const firsts = Object.entries<DeviceBuffer>(scalars ?? {}).map((
    [name, x],
  ) => [bindingOf(name), memory.vector(x, { count: 1 })]);
  for (const tile of tiles(memory, all)) {
    const { rows, cols } = tile;
    const bound = names.map((name) => [
      bindingOf(name),
      memory.bind(part(mats[name], tile)),
    ]);
    run(memory, kernel, {
      params: { ...params(tile), rows, cols },
      bind: Object.fromEntries([...bound, ...firsts]),
      groups: grid(Math.ceil(rows * cols / MAP_SPAN)),
      shape: `${rows}x${cols}`,
    });
  }
}

/**
 * Calls `work` with `x`, or where `x` lies too near to `other` for both to be written by one kernel, with a place of its
 * own, whose values then go to `x`.
 */
export function writeApart(
  memory: WebGpuMemory,
  { x, other }: { x: Mat; other: Mat },
  work: (x: Mat) => void,
): void {
  const [a, b] = [x, other].map((m) => ({
    from: m.offset * 4 - m.offset * 4 % 256,
    to: m.offset * 4 + memory.extent(m),
  }));
  if (x.buffer !== other.buffer || a.to <= b.from || b.to <= a.from) {
    work(x);
    return;
  }
  using buffer = memory.alloc(x.rows * x.cols * 4);
  const own = mat(buffer, x.rows, x.cols);
  work(own);
  runMap(memory, SCALE, {
    mats: { x: own, out: x },
    params: () => ({ alpha: 1 }),
  });
}

/** True if two matrices of the same shape are one and the same. */
export function same(x: Mat, y: Mat): boolean {
  return x.buffer === y.buffer && x.offset === y.offset &&
    x.stride === y.stride;
}
