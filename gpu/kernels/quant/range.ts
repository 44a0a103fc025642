/**
 * Scales and biases on the WebGPU device. The kernels: `gpu/kernels/quant/range.wgsl.ts`.
 *
 * @module
 */

import { grid, type Span, type Word } from "../../context.ts";
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

/** How a matrix is cut. */
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

/** What is to be done. */
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
  const perBlock = [q.scales, ...(affine ? [q.biases!] : [])].map((buffer) =>
    memory.part(buffer, from * 4, count * 4)
  );
  const [scales, ...biases] = perBlock.map(({ span }) => span);
  const params = (
    part: { count: number; piece: number; origin: number },
  ): Word[] => [
    part.count,
    part.piece,
    part.piece - from * blockPieces,
    pieces.line,
    pieces.lineBlocks,
    pieces.block,
    blockPieces,
    pieces.piece,
    cols,
    w.stride,
    part.origin,
    perBlock[0].first >> 2,
    2 ** spec.bits - 1,
  ];
  const dispatches: {
    count: number;
    span: Span;
    params: Word[];
    shape: string;
  }[] = [];
  const shape = `${q.rows}x${cols}`;
  for (let p = from * blockPieces; p < to * blockPieces; p += most) {
    const end = Math.min(to * blockPieces, p + most);
    // The last pieces of a short block may be empty; they say so themselves.
    const first = Math.min(pieces.start(p), q.rows * cols - 1);
    const { span, origin } = bindElements(memory, w, {
      from: first,
      to: Math.max(first + 1, pieces.start(end)),
    });
    dispatches.push({
      count: end - p,
      span,
      params: params({ count: end - p, piece: p, origin }),
      shape,
    });
  }
  const ofBlocks = params({ count, piece: from * blockPieces, origin: 0 });
  const by = weight && memory.part(weight, 0, cols * 4).span;
  const search = rule === "mse";
  memory.enqueue(() => {
    const room = (bytes: number): Span => {
      const buffer = context.take(bytes);
      return { buffer, at: 0, bytes };
    };
    const extremes = room(count * blockPieces * EXTREMES_BYTES);
    for (const { span, ...rest } of dispatches) {
      context.run(extremesKernel(traits), {
        ...rest,
        reads: [span],
        writes: [extremes],
        groups: grid(Math.ceil(rest.count * teamOf(pieces.piece) / 64)),
      });
    }
    const ends = search ? [room(count * 8)] : [];
    context.run(rangesKernel(traits, rule), {
      params: ofBlocks,
      reads: [extremes],
      writes: [scales, ...biases, ...ends],
      groups: grid(Math.ceil(count / 64)),
      shape,
    });
    context.release(extremes.buffer);
    if (!search) return;
    const errors = room(count * blockPieces * ERRORS_BYTES);
    const kernel = errorsKernel(traits, {
      factors: SHRINK,
      weighted: by !== undefined,
      bits: spec.bits,
    });
    for (const { span, ...rest } of dispatches) {
      context.run(kernel, {
        ...rest,
        params: [
          ...levelsOf(spec),
          ...thresholdsOf(spec),
          ...rest.params,
        ],
        reads: [span, scales, ...ends, ...(by ? [by] : [])],
        writes: [errors],
        groups: grid(Math.ceil(rest.count / 2)),
      });
    }
    context.run(chooseKernel(traits, SHRINK), {
      params: ofBlocks,
      reads: [errors, ...ends],
      writes: [scales, ...biases],
      groups: grid(Math.ceil(count / 2)),
      shape,
    });
    context.release(errors.buffer);
    context.release(ends[0].buffer);
  });
}
