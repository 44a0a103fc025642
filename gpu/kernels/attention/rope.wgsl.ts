/**
 * Rotary positions.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";

/** Threads of a workgroup. */
export const ROPE_THREADS = 64;

/**
 * Turns the pairs of `x`, a thread a pair; `inPlace` for an out that is x.
 *
 * Groups: pairs by {@linkcode ROPE_THREADS}. Parameters: rows, pairs of a row, half of headDim, first and stride of x and
 * of out, first of positions, first and stride of cos and of sin, whether it turns back. Reads positions, cos, sin and,
 * unless it is in place, x; writes out.
 */
export function ropeKernel(inPlace: boolean): Kernel {
  const source = inPlace ? "y" : "x";
  return {
    name: inPlace ? "rope in place" : "rope",
    code: `
struct Params {
  rows: u32, pairs: u32, half: u32, x: u32, xStride: u32, y: u32, yStride: u32,
  positions: u32, cos: u32, cosStride: u32, sin: u32, sinStride: u32, inverse: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> positions: array<u32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;
${inPlace ? "" : "@group(0) @binding(4) var<storage, read> x: array<f32>;"}
@group(0) @binding(${inPlace ? 4 : 5}) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(${ROPE_THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = (group.x + group.y * groups.x) * ${ROPE_THREADS}u + thread;
  let row = i / p.pairs;
  if (row >= p.rows) { return; }
  let pair = i % p.pairs;
  let c = pair % p.half;
  let col = pair / p.half * 2u * p.half + c;
  let position = positions[p.positions + row];
  let cosine = cosines[p.cos + position * p.cosStride + c];
  var sine = sines[p.sin + position * p.sinStride + c];
  if (p.inverse == 1u) { sine = -sine; }
  let a = ${source}[p.x + row * p.xStride + col];
  let b = ${source}[p.x + row * p.xStride + col + p.half];
  y[p.y + row * p.yStride + col] = a * cosine - b * sine;
  y[p.y + row * p.yStride + col + p.half] = b * cosine + a * sine;
}
`,
  };
}
