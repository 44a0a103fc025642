/**
 * Codes of a matrix whose scales are chosen, packed: a thread writes a word.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import {
  BLOCK_CONSTANTS,
  blockConstants,
  type QuantTraits,
} from "./quant.wgsl.ts";
import { NUMBERS } from "./number.wgsl.ts";

/** Parameters of {@linkcode encodeKernel}. */
const PARAMS = {
  /** Those that are missing as the largest number. */
  thresholds: "array<vec4f, 4>",
  /** Bytes of codes. */
  bytes: "u32",
  /** Elements and bytes of a stream of codes: all of this run's, or a row. */
  line: "u32",
  lineBytes: "u32",
  lineBlocks: "u32",
  block: "u32",
  /** Elements of the first block that lie before the first element. */
  phase: "u32",
  /** The first element, its place in the binding less its number. */
  first: "u32",
  cols: "u32",
  stride: "u32",
  origin: "u32",
} as const;

/** Codes of the matrix `w`, by its scales and biases. */
export const encodeKernel = (
  traits: QuantTraits,
  { dense }: { dense: boolean },
) => {
  const { affine } = traits;
  return kernel({
    name: `quantize ${affine ? "affine" : "levels"}`,
    constants: { ...blockConstants(traits), DENSE: dense ? 1 : 0 },
    params: PARAMS,
    reads: {
      w: "buffer u32",
      scales: "vector u32",
      biases: affine && "vector u32",
    },
    writes: { codes: "vector u32" },
    workgroup: 64,
    helpers: () => /* wgsl */ `
${BLOCK_CONSTANTS}
override DENSE: bool;
${NUMBERS}

/** A block's numbers, moved so that they are normal. */
struct Unit {
  way: i32,
  inverse: f32,
  bias: f32,
}

fn unit_of(block: u32) -> Unit {
  let scale = scales[p.scales + block];
  ${
      affine
        ? `let bias = biases[p.biases + block];
  let way = way_of(max(scale & MAGNITUDE, bias & MAGNITUDE));
  return Unit(way, reciprocal(scale, way), moved(bias, way));`
        : `let way = way_of(scale);
  return Unit(way, reciprocal(scale, way), 0.0);`
    }
}

fn code_of(value: u32, unit: Unit) -> u32 {
  let x = (moved_or_same(value, unit.way) - unit.bias) * unit.inverse;
  ${
      affine
        ? "return u32(round(clamp(x, 0.0, f32((1u << BITS) - 1u))));"
        : `var y = x;
  if (abs(x) < 0x1p-100f) {
    // A threshold of 0 tells the least number from 0, where the product may have lost it.
    let z = moved(value, unit.way + 100) * unit.inverse;
    y = select(0.0, sign(z) * 0x1p-100f, abs(z) > 0x1p-50f);
  }
  var code = 0u;
  for (var t = 0u; t < (1u << BITS) - 1u; t += 1u) {
    code += select(0u, 1u, y > p.thresholds[t >> 2u][t & 3u]);
  }
  return code;`
    }
}

fn moved_or_same(value: u32, way: i32) -> f32 {
  if (way == 0) {
    return bitcast<f32>(value);
  }
  return moved(value, way);
}
`,
    body: /* wgsl */ `
  let number = (group.x + group.y * groups.x) * 64u + thread;
  let begin = number * 4u;
  let end = min(begin + 4u, p.bytes);
  var word = 0u;
  var current = 0xffffffffu;
  var unit = Unit(0, 0.0, 0.0);
  // The bytes of a word may belong to several rows.
  for (var at = begin; at < end;) {
    let line = at / p.lineBytes;
    let byte = at % p.lineBytes;
    let count = min(end - at, p.lineBytes - byte);
    let firstBit = byte * 8u;
    let last_bit = firstBit + count * 8u;
    for (var j = firstBit / BITS; j < p.line && j * BITS < last_bit; j += 1u) {
      let inside = j + select(0u, p.phase, FLAT);
      let block = block_of(inside) + line * p.lineBlocks;
      if (block != current) {
        current = block;
        unit = unit_of(block);
      }
      let element = p.first + line * p.line + j;
      var place = element - p.origin;
      if (!DENSE) {
        place = (element / p.cols) * p.stride + element % p.cols -
          p.origin;
      }
      let code = code_of(w[place], unit);
      // A code of three or five bits may have begun in the word before, or go on in the next.
      let position = i32(j * BITS) - i32(firstBit) + i32(8u * (at - begin));
      if (position < 0) {
        word |= code >> u32(-position);
      } else {
        word |= code << (u32(position) ^ select(0u, 4u, HIGH));
      }
    }
    at += count;
  }
  if (begin < p.bytes) {
    codes[p.codes + number] = word;
  }`,
  });
};
