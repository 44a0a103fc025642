/**
 * Quantisation of a matrix: runs of whole blocks that fit the L1 cache, each in three steps (scales, codes one a
 * byte, bit stream).
 *
 * A run starts where the bit stream is at a byte: at every row for `row` grouping, at every multiple of eight codes
 * for `flat`. Parts are whole runs, so no byte has two writers.
 */

import { share } from "../lib/args";
import { packCodes } from "./pack";
import {
  chooseScale,
  chosenBias,
  chosenScale,
  encode,
  setFormat,
} from "./quantize_scale";

/** Quantises the blocks of `n` consecutive values; returns the next block's number. */
function quantizeBlocks(
  w: usize,
  n: u32,
  weight: usize,
  block: u32,
  rule: u32,
  affine: bool,
  codes: usize,
  scales: usize,
  biases: usize,
): void {
  for (let i: u32 = 0; i < n; i += block) {
    const count = min(block, n - i);
    const at = w + (i << 2);
    chooseScale(at, count, weight ? weight + (i << 2) : 0, rule);
    store<f32>(scales, chosenScale);
    scales += 4;
    if (affine) {
      store<f32>(biases, chosenBias);
      biases += 4;
    }
    encode(at, count, codes + i);
  }
}

/** Copies `n` values that start at flat index `e` of rows `cols` wide and `stride` bytes apart. */
function gather(
  out: usize,
  from: usize,
  stride: usize,
  cols: u32,
  e: u32,
  n: u32,
): void {
  let row = e / cols;
  let col = e % cols;
  while (n > 0) {
    const count = min(n, cols - col);
    memory.copy(
      out,
      from + <usize> row * stride + (<usize> col << 2),
      <usize> count << 2,
    );
    out += <usize> count << 2;
    n -= count;
    col = 0;
    row++;
  }
}

/**
 * Words of {@linkcode quantize}. `block` is not 0; `levels` 0: affine; `weight` 0: none; `unit`: blocks in a unit, `run`: units in a run.
 */
// @ts-ignore: decorator
@unmanaged
class Quantize {
  w: usize;
  wStride: usize;
  rows: u32;
  cols: u32;
  block: u32;
  bits: u32;
  levels: usize;
  thresholds: usize;
  high: u32;
  codes: usize;
  scales: usize;
  biases: usize;
  rule: u32;
  weight: usize;
  scratch: usize;
  scratchBytes: u32;
  flat: u32;
  unit: u32;
  run: u32;
}

export function quantize(
  args: Quantize,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const w = args.w;
  const stride = args.wStride;
  const rows = args.rows;
  const cols = args.cols;
  const block = args.block;
  const bits = args.bits;
  const affine = args.levels == 0;
  const high = args.high != 0;
  const codes = args.codes;
  const scales = args.scales;
  const biases = args.biases;
  const rule = args.rule;
  const weight = args.weight;
  const scratch = args.scratch + <usize> thread * args.scratchBytes;
  const flat = args.flat != 0;
  setFormat(bits, args.levels, args.thresholds);

  if (!flat) {
    const perRow = (cols + block - 1) / block;
    const rowBytes = (cols * bits + 7) >> 3;
    const end = share(rows, part + 1, parts);
    for (let i = share(rows, part, parts); i < end; i++) {
      const first = <usize> (i * perRow) << 2;
      quantizeBlocks(
        w + <usize> i * stride,
        cols,
        weight,
        block,
        rule,
        affine,
        scratch,
        scales + first,
        biases + first,
      );
      packCodes(scratch, cols, bits, high, codes + <usize> i * rowBytes);
    }
    return;
  }

  const total = rows * cols;
  const blocks = (total + block - 1) / block;
  const unit = args.unit;
  const run = args.run;
  const units = (blocks + unit - 1) / unit;
  const end = share(units, part + 1, parts);
  // Behind the codes: values and weights, where they must be gathered.
  const longest = min(total, unit * run * block);
  const values = scratch + ((longest + 31) & ~15);
  const weights = values + (<usize> longest << 2);
  const dense = stride == <usize> cols << 2;
  for (let u = share(units, part, parts); u < end; u += run) {
    const first = u * unit;
    const start = first * block;
    const stop = <u32> min<u64>(total, <u64> min(u + run, end) * unit * block);
    const n = stop - start;
    let from = w + (<usize> start << 2);
    if (!dense) {
      gather(values, w, stride, cols, start, n);
      from = values;
    }
    if (weight) gather(weights, weight, 0, cols, start, n);
    quantizeBlocks(
      from,
      n,
      weight ? weights : 0,
      block,
      rule,
      affine,
      scratch,
      scales + (<usize> first << 2),
      biases + (<usize> first << 2),
    );
    packCodes(
      scratch,
      n,
      bits,
      high,
      codes + <usize> (start >> 3) * bits,
    );
  }
}
