/**
 * Dequantisation: a thread takes four neighbours of a row.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import {
  quantReader,
  type QuantTraits,
  READER_PARAMS,
  readerBindings,
  readerConstants,
} from "./quant.wgsl.ts";

/** Elements of a row that a workgroup takes. */
export const DECODE_SPAN = 256;

/** Minuend of the dequantised values: none, a matrix, or the result itself. */
export type DecodeFrom = "none" | "other" | "out";

/**
 * `out = dequantise(q)`, or `source` less that. `rowGroups`: workgroups of a row; `nothing`: 0.
 *
 * Each value is rounded after the product and after each sum, as on the CPU: no compiler knows that `nothing` is 0,
 * so none can fuse what goes through it.
 */
export const decodeKernel = (traits: QuantTraits, from: DecodeFrom) => {
  const minuend = {
    none: "",
    other: "source[p.source + i * p.sourceStride + j + u] - ",
    out: "out[at] - ",
  }[from];
  return kernel({
    name: `dequantize ${traits.affine ? "affine" : "levels"}, from ${from}`,
    constants: readerConstants(traits),
    params: {
      ...READER_PARAMS,
      ...{ rowGroups: "u32", rows: "u32", nothing: "u32" },
    },
    reads: {
      ...readerBindings(traits),
      source: from === "other" && "matrix f32",
    },
    writes: { out: "matrix f32" },
    workgroup: DECODE_SPAN / 4,
    helpers: () => /* wgsl */ `
${quantReader(traits, { product: "rounded(scale * level)" })}
fn rounded(x: vec4<f32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ vec4<u32>(p.nothing));
}
`,
    body: /* wgsl */ `
  let number = group.x + group.y * groups.x;
  let i = number / p.rowGroups;
  let j = (number % p.rowGroups) * ${DECODE_SPAN}u + thread * 4u;
  if (i >= p.rows || j >= p.width) {
    return;
  }
  let values = ${from === "none" ? "quad_at(i, j)" : "rounded(quad_at(i, j))"};
  for (var u = 0u; u < min(4u, p.width - j); u += 1u) {
    let at = p.out + i * p.outStride + j + u;
    out[at] = ${minuend}values[u];
  }`,
  });
};
