/**
 * Dequantisation: a thread takes four neighbours of a row.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";
import { kept } from "../../kernel_cache.ts";
import {
  quantReader,
  type QuantTraits,
  READER_FIELDS,
  readerConstants,
} from "./quant.wgsl.ts";

/** Elements of a row that a workgroup takes. */
export const DECODE_SPAN = 256;

/** Where the values come from that the dequantised ones are taken from: nowhere, a matrix, or the result itself. */
export type DecodeFrom = "none" | "other" | "out";

/**
 * `out = dequantise(q)`, or `from` less that. Bindings: those of `quantReader`, from (other), out. Parameters:
 * `READER_FIELDS`, workgroups of a row, where `out` begins and its stride, the same of `from`, rows, 0.
 *
 * Each value is rounded after the product and after each sum, as on the CPU: no compiler knows that `nothing` is 0,
 * so none can fuse what goes through it.
 */
export function decodeKernel(traits: QuantTraits, from: DecodeFrom): Kernel {
  const next = traits.affine ? 4 : 3;
  const minuend = {
    none: "",
    other: "source[p.from_first + i * p.from_stride + j + u] - ",
    out: "out[at] - ",
  }[from];
  const name = `dequantize ${
    traits.affine ? "affine" : "levels"
  }, from ${from}`;
  const constants = readerConstants(traits);
  return kept({ name, constants }, () => /* wgsl */ `
struct Params {
  ${READER_FIELDS}
  row_groups: u32,
  first: u32,
  stride: u32,
  from_first: u32,
  from_stride: u32,
  rows: u32,
  nothing: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
${quantReader(traits, { binding: 1, product: "rounded(scale * level)" })}
${
    from === "other"
      ? `@group(0) @binding(${next}) var<storage, read> source: array<f32>;`
      : ""
  }
@group(0) @binding(${
    from === "other" ? next + 1 : next
  }) var<storage, read_write> out: array<f32>;

fn rounded(x: vec4<f32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ vec4<u32>(p.nothing));
}

@compute @workgroup_size(${DECODE_SPAN / 4})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = group.x + group.y * groups.x;
  let i = number / p.row_groups;
  let j = (number % p.row_groups) * ${DECODE_SPAN}u + thread * 4u;
  if (i >= p.rows || j >= p.width) {
    return;
  }
  let values = ${from === "none" ? "quad_at(i, j)" : "rounded(quad_at(i, j))"};
  for (var u = 0u; u < min(4u, p.width - j); u += 1u) {
    let at = p.first + i * p.stride + j + u;
    out[at] = ${minuend}values[u];
  }
}
`);
}
