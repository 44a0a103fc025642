/**
 * Attention of one query a sequence, as generation has it: ranges of keys, each read once and not packed, then their
 * results together.
 *
 * Results are for each range, sequence and head the maximum, the sum of weights, eight bytes free, the sum of values (a
 * line). Scratch of a thread: a line, a range of scores.
 */

import { share } from "../lib/args";
import { finishRow, stageRow } from "./attention";
import {
  clear,
  headAt,
  lineOf,
  logSumExpAt,
  seenFrom,
  seenTo,
  Attention,
} from "./attention_rows";
import { exp1, expSum, rowMax } from "../lib/exp";
import { combineRow, scaleRow } from "../elementwise/rows";
import { dotRows, sumLanes } from "../lib/vector";

/** Words of both jobs. */
// @ts-ignore: decorator
@unmanaged
class AttentionOne extends Attention {
  span: u32; // keys of a range
  ranges: u32;
  results: usize;
}

/** `out[j] = q · k[j, :]` for `count` rows of `n` values. */
export function dotKeys(
  q: usize,
  k: usize,
  stride: usize,
  count: i32,
  n: u32,
  out: usize,
): void {
  const wide = <usize> (n & ~3) << 2;
  const end = <usize> n << 2;
  let j = 0;
  for (; j + 4 <= count; j += 4, k += 4 * stride, out += 16) {
    const k1 = k + stride;
    const k2 = k1 + stride;
    const k3 = k2 + stride;
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let at: usize = 0;
    for (; at < wide; at += 16) {
      const x = v128.load(q + at);
      s0 = f32x4.relaxed_madd(x, v128.load(k + at), s0);
      s1 = f32x4.relaxed_madd(x, v128.load(k1 + at), s1);
      s2 = f32x4.relaxed_madd(x, v128.load(k2 + at), s2);
      s3 = f32x4.relaxed_madd(x, v128.load(k3 + at), s3);
    }
    let d0 = sumLanes(s0);
    let d1 = sumLanes(s1);
    let d2 = sumLanes(s2);
    let d3 = sumLanes(s3);
    for (; at < end; at += 4) {
      const x = load<f32>(q + at);
      d0 += x * load<f32>(k + at);
      d1 += x * load<f32>(k1 + at);
      d2 += x * load<f32>(k2 + at);
      d3 += x * load<f32>(k3 + at);
    }
    store<f32>(out, d0);
    store<f32>(out, d1, 4);
    store<f32>(out, d2, 8);
    store<f32>(out, d3, 12);
  }
  for (; j < count; j++, k += stride, out += 4) {
    store<f32>(out, dotRows(q, k, n));
  }
}

/** `out[c] = Σ_j weight[j] * v[j, c]` for `count` rows of `n` values. */
export function sumValues(
  weight: usize,
  v: usize,
  stride: usize,
  count: i32,
  n: u32,
  out: usize,
): void {
  const last = weight + (<usize> count << 2);
  const end = v + (<usize> n << 2);
  for (; v + 128 <= end; v += 128, out += 128) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let s4 = s0;
    let s5 = s0;
    let s6 = s0;
    let s7 = s0;
    let x = v;
    for (let w = weight; w < last; w += 4, x += stride) {
      const p = v128.load32_splat(w);
      s0 = f32x4.relaxed_madd(p, v128.load(x), s0);
      s1 = f32x4.relaxed_madd(p, v128.load(x, 16), s1);
      s2 = f32x4.relaxed_madd(p, v128.load(x, 32), s2);
      s3 = f32x4.relaxed_madd(p, v128.load(x, 48), s3);
      s4 = f32x4.relaxed_madd(p, v128.load(x, 64), s4);
      s5 = f32x4.relaxed_madd(p, v128.load(x, 80), s5);
      s6 = f32x4.relaxed_madd(p, v128.load(x, 96), s6);
      s7 = f32x4.relaxed_madd(p, v128.load(x, 112), s7);
    }
    v128.store(out, s0);
    v128.store(out, s1, 16);
    v128.store(out, s2, 32);
    v128.store(out, s3, 48);
    v128.store(out, s4, 64);
    v128.store(out, s5, 80);
    v128.store(out, s6, 96);
    v128.store(out, s7, 112);
  }
  for (; v + 16 <= end; v += 16, out += 16) {
    let s = f32x4.splat(0);
    let x = v;
    for (let w = weight; w < last; w += 4, x += stride) {
      s = f32x4.relaxed_madd(v128.load32_splat(w), v128.load(x), s);
    }
    v128.store(out, s);
  }
  for (; v < end; v += 4, out += 4) {
    let s: f32 = 0;
    let x = v;
    for (let w = weight; w < last; w += 4, x += stride) {
      s += load<f32>(w) * load<f32>(x);
    }
    store<f32>(out, s);
  }
}

/** Job: each unit is one range of keys of one sequence and key head. */
export function attentionOne(
  args: AttentionOne,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const capacity = args.capacity;
  const heads = args.heads;
  const kvHeads = args.kvHeads;
  const group = heads / kvHeads;
  const n = args.headDim;
  const line = lineOf(args);
  const span = <i32> args.span;
  const pairs = args.batch * kvHeads;
  const q = args.scratch + <usize> thread * args.scratchBytes;
  const scores = q + line;
  const units = pairs * args.ranges;
  const end = share(units, part + 1, parts);
  for (let u = share(units, part, parts); u < end; u++) {
    const range = u / pairs;
    const b = u % pairs / kvHeads;
    const h = u % kvHeads;
    const start = <i32> range * span;
    const from = max(seenFrom(args, b, 0), start);
    const count = min(seenTo(args, b, 0), start + span) - from;
    const row = b * capacity + <u32> from;
    for (let g: u32 = 0; g < group; g++) {
      const head = h * group + g;
      const result = args.results +
        <usize> ((range * args.batch + b) * heads + head) * (line + 16);
      if (count <= 0) {
        store<f32>(result, -Infinity);
        store<f32>(result, 0, 4);
        clear(result + 16, 0, <i32> (line >> 2));
        continue;
      }
      stageRow(
        headAt(args, args.q, args.qStride, b, head),
        q,
        <usize> n << 2,
        line,
        args.scale,
      );
      const ldk = args.kStride;
      dotKeys(q, headAt(args, args.k, args.kStride, row, h), ldk, count, n, scores);
      const most = max(rowMax(scores, count), -f32.MAX_VALUE);
      store<f32>(result, most);
      store<f32>(result, expSum(scores, count, most), 4);
      sumValues(
        scores,
        headAt(args, args.v, args.vStride, row, h),
        args.vStride,
        count,
        n,
        result + 16,
      );
    }
  }
}

/** Job: puts the ranges of each head together. */
export function attentionMerge(args: AttentionOne, part: u32, parts: u32): void {
  const line = lineOf(args);
  const bytes = <usize> args.headDim << 2;
  const heads = args.heads;
  const count = args.batch * heads;
  const ranges = args.ranges;
  const step = <usize> count * (line + 16);
  const end = share(count, part + 1, parts);
  for (let u = share(count, part, parts); u < end; u++) {
    const total = args.results + <usize> u * (line + 16);
    let most = load<f32>(total);
    for (let r: u32 = 1; r < ranges; r++) {
      most = max(most, load<f32>(total + <usize> r * step));
    }
    let sum: f32 = 0;
    for (let r: u32 = 0; r < ranges; r++) {
      const from = total + <usize> r * step;
      const own = load<f32>(from, 4);
      // An empty range, whose maximum is -infinity, has nothing to scale.
      const factor: f32 = own == 0 ? 0 : exp1(load<f32>(from) - most);
      if (r == 0) scaleRow(from + 16, total + 16, bytes, factor);
      else combineRow(total + 16, from + 16, total + 16, bytes, 1, factor);
      sum += own * factor;
    }
    finishRow(
      args,
      total + 16,
      headAt(args, args.out, args.outStride, u / heads, u % heads),
      logSumExpAt(args, u / heads, u % heads, 0),
      most,
      sum,
      // A range without a key has -infinity for its maximum, no other has.
      most != -Infinity,
    );
  }
}
