/**
 * Rotary positions.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";

/** Threads of a workgroup. */
export const ROPE_THREADS = 64;

/** Turns the pairs of `x`, a thread a pair; `inPlace` for a `y` that is x. Groups: pairs by {@linkcode ROPE_THREADS}. */
export const ropeKernel = (inPlace: boolean) => {
  const [source, at] = inPlace
    ? ["y", "p.y + row * p.yStride"]
    : ["x", "p.x + row * p.xStride"];
  return kernel({
    name: inPlace ? "rope in place" : "rope",
    params: { rows: "u32", pairs: "u32", half: "u32", inverse: "u32" },
    reads: {
      positions: "vector u32",
      ...{ cosines: "matrix f32", sines: "matrix f32" },
      x: !inPlace && "matrix f32",
    },
    writes: { y: "matrix f32" },
    workgroup: ROPE_THREADS,
    body: `
  let i = (group.x + group.y * groups.x) * ${ROPE_THREADS}u + thread;
  let row = i / p.pairs;
  if (row >= p.rows) { return; }
  let pair = i % p.pairs;
  let c = pair % p.half;
  let col = pair / p.half * 2u * p.half + c;
  let position = positions[p.positions + row];
  let cosine = cosines[p.cosines + position * p.cosinesStride + c];
  var sine = sines[p.sines + position * p.sinesStride + c];
  if (p.inverse == 1u) { sine = -sine; }
  let a = ${source}[${at} + col];
  let b = ${source}[${at} + col + p.half];
  y[p.y + row * p.yStride + col] = a * cosine - b * sine;
  y[p.y + row * p.yStride + col + p.half] = b * cosine + a * sine;`,
  });
};
