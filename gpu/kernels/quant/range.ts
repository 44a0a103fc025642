/**
 * Scales and biases on the WebGPU device. The kernels: `gpu/kernels/quant/range.wgsl.ts`.
 *
 * @module
 */

import { grid, type Span } from "../../context.ts";
import { record, type Values } from "../../kernel.ts";
import {
  CANDIDATES,
  chooseKernel,
  errorsKernel,
  extremesKernel,
  pieceOf,
  type RangeRule,
  rangesKernel,
  teamOf,
} from "./range.wgsl.ts";
import type { DeviceBuffer, Mat } from "../../../src/device/buffer.ts";
import type { QuantMat } from "../../../src/device/quant_mat.ts";
import { quantSizes } from "../../../src/device/quant_mat.ts";
import { SHRINK } from "../../../src/device/reference/quant.ts";
import type { WebGpuMemory } from "../../buffers.ts";
import {
  bindElements,
  blockSize,
  elementsBound,
  levelsOf,
  thresholdsOf,
} from "./parts.ts";

/** Bytes of a piece's extremes. */
const EXTREMES_BYTES = 8;

/** Bytes of a piece's errors. */
const ERRORS_BYTES = 4 * CANDIDATES;

type PieceParams = Values<ReturnType<typeof extremesKernel>["params"]>;

/** Cut of a matrix. */
class Pieces {
  readonly block: number;
  readonly piece: number;
  readonly line: number;
  readonly lineBlocks: number;
  readonly blockPieces: number;
  readonly blocks: number;
  readonly #size: number;

  constructor(q: QuantMat) {
    this.#size = q.rows * q.cols;
    this.block = blockSize(q);
    this.piece = pieceOf(this.block);
    this.line = q.spec.grouping === "flat" ? this.#size : q.cols;
    this.lineBlocks = Math.ceil(this.line / this.block);
    this.blockPieces = Math.ceil(this.block / this.piece);
    this.blocks = quantSizes(q.spec, q.rows, q.cols, q.block).blocks;
  }

  /** First element of piece `number`; the number of elements for the one after the last. */
  start(number: number): number {
    const b = Math.floor(number / this.blockPieces);
    const line = Math.floor(b / this.lineBlocks);
    const at = (b % this.lineBlocks) * this.block +
      (number % this.blockPieces) * this.piece;
    return Math.min(this.#size, line * this.line + Math.min(at, this.line));
  }
}

/** Matrices and rule of a choice of scales. */
export interface RangeWork {
  readonly w: Mat;
  readonly q: QuantMat;
  readonly rule: RangeRule;
  readonly weight?: DeviceBuffer;
}

/** Chooses the scales and biases of `q`. */
export function chooseRanges(memory: WebGpuMemory, work: RangeWork): void {
  const { w, q } = work;
  const pieces = new Pieces(q);
  // Pieces of one dispatch: one binding must reach their elements and their errors.
  const most = Math.max(
    1,
    Math.floor(
      Math.min(
        elementsBound(memory, w) / pieces.piece,
        memory.context.mostBound / ERRORS_BYTES,
      ),
    ),
  );
  // Blocks need the results of all of their pieces at once.
  const step = Math.max(
    1,
    Math.floor(
      memory.context.mostBound / ERRORS_BYTES / pieces.blockPieces,
    ),
  );
  for (let from = 0; from < pieces.blocks; from += step) {
    const to = Math.min(pieces.blocks, from + step);
    chooseBlocks(memory, { ...work, pieces, most, from, to });
  }
}

/** Chooses those of blocks `[from, to)`, with at most `most` pieces in a dispatch. */
function chooseBlocks(
  memory: WebGpuMemory,
  { w, q, rule, weight, pieces, most, from, to }: RangeWork & {
    pieces: Pieces;
    most: number;
    from: number;
    to: number;
  },
): void {
  const { context } = memory;
  const { blockPieces } = pieces;
  const { spec, cols } = q;
  const affine = spec.levels === null;
  const traits = { affine, dense: w.stride === cols, piece: pieces.piece };
  const count = to - from;
  const ranges = { at: from, count };
  const scales = memory.vector(q.scales, ranges);
  const biases = affine ? memory.vector(q.biases!, ranges) : undefined;
  const top = 2 ** spec.bits - 1;
  const shape = `${q.rows}x${cols}`;
  const dispatches: { span: Span; params: PieceParams; shape: string }[] = [];
  for (let p = from * blockPieces; p < to * blockPieces; p += most) {
    const end = Math.min(to * blockPieces, p + most);
    // The last pieces of a short block may be empty; they say so themselves.
    const first = Math.min(pieces.start(p), q.rows * cols - 1);
    const { span, origin } = bindElements(memory, w, {
      from: first,
      to: Math.max(first + 1, pieces.start(end)),
    });
    dispatches.push({
      span,
      params: {
        count: end - p,
        firstPiece: p,
        firstResult: p - from * blockPieces,
        line: pieces.line,
        lineBlocks: pieces.lineBlocks,
        block: pieces.block,
        blockPieces,
        piece: pieces.piece,
        ...{ cols, stride: w.stride, origin },
      },
      shape,
    });
  }
  const ofBlocks = { count, blockPieces };
  const by = weight && memory.vector(weight, { count: cols });
  const search = rule === "mse";
  memory.enqueue(() => {
    const room = (bytes: number): Span => {
      const buffer = context.take(bytes);
      return { buffer, at: 0, bytes };
    };
    const extremes = room(count * blockPieces * EXTREMES_BYTES);
    for (const { span, ...rest } of dispatches) {
      record(context, extremesKernel(traits), {
        ...rest,
        bind: { w: span, pieces: extremes },
        groups: grid(
          Math.ceil(rest.params.count * teamOf(pieces.piece) / 64),
        ),
      });
    }
    const ends = search ? room(count * 8) : undefined;
    record(context, rangesKernel(traits, rule), {
      params: { ...ofBlocks, top },
      bind: { pieces: extremes, scales, biases, ends },
      groups: grid(Math.ceil(count / 64)),
      shape,
    });
    context.release(extremes.buffer);
    if (!ends) return;
    const errors = room(count * blockPieces * ERRORS_BYTES);
    const kernel = errorsKernel(traits, {
      factors: SHRINK,
      weighted: by !== undefined,
      bits: spec.bits,
    });
    const tables = { levels: levelsOf(spec), thresholds: thresholdsOf(spec) };
    for (const { span, ...rest } of dispatches) {
      record(context, kernel, {
        ...rest,
        params: { ...tables, ...rest.params, top },
        bind: { w: span, scales, ends, by, errors },
        groups: grid(Math.ceil(rest.params.count / 2)),
      });
    }
    record(context, chooseKernel(traits, SHRINK), {
      params: ofBlocks,
      bind: { errors, ends, scales, biases },
      groups: grid(Math.ceil(count / 2)),
      shape,
    });
    context.release(errors.buffer);
    context.release(ends.buffer);
  });
}
