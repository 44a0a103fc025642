/**
 * The kernel of products for GPUs.
 *
 * @module
 */

import {
  CUT_TEXT,
  cutText,
  type GemmVariant,
  multiplyText,
  operandsText,
  placeText,
  range,
  type Tile,
  times,
  zeroText,
} from "./text.wgsl.ts";

/** Of one operand: its block's side, the threads along it, a thread's place there. */
const NAMES = {
  a: { side: "ROWS", lanes: "LANES_Y", mine: "y" },
  b: { side: "COLS", lanes: "LANES_X", mine: "x" },
} as const;

/** Vectors of four that a thread brings into the workgroup's memory a block; below 1, some threads bring none. */
export interface Shares {
  readonly a: number;
  readonly b: number;
}

/**
 * The text of a kernel that works on blocks of both matrices in the workgroup's memory. While it works on one pair,
 * the next is on its way in registers, and then goes to the other half of that memory: one barrier a block.
 *
 * A block lies in vectors of four. Along the outer side, it is one inner index after the other, and a thread's groups
 * of four rows (or columns) are `lanes` groups apart, so that neighbouring threads read neighbouring vectors. Along k,
 * it is one row (or column) after the other; a thread's rows are `lanes` apart, and the vectors of each row are rotated
 * by an amount that depends on the row: eight threads that read eight rows find them in different banks.
 */
export function tiledBody(
  variant: GemmVariant,
  tile: Tile,
  shares: Shares,
): string {
  const parts = { variant, shares };
  const both = (text: (name: "a" | "b") => string) => text("a") + text("b");
  const bring = both((name) => bringText(name, parts));
  const keep = both((name) => keepText(name, parts));
  return `
  let product = group.z / p.parts;
  let begin = group.z % p.parts * p.part;
  let end = min(p.k, begin + p.part);
  let aAt = p.a + product * p.aStep;
  let bAt = p.b + product * p.bStep;
  let x = thread % LANES_X;
  let y = thread / LANES_X;
  let aFirst = group.y * ROWS;
  let bFirst = group.x * COLS;
  ${zeroText(tile)}
  ${
    both((name) =>
      times(Math.ceil(shares[name]), (q) => `var ${name}Next${q} = vec4f();`)
    )
  }
  var l = begin;
  var turn = 0u;
  ${bring}
  ${keep}
  workgroupBarrier();
  while (l < end) {
    ${both((name) => baseText(name, variant))}
    l += DEPTH;
    if (l < end) {
      ${bring}
    }
    for (var v = 0u; v < DEPTH4; v += 1u) {
      ${
    multiplyText(tile, variant, {
      a: (u, i) => fragmentText("a", variant, { u, i }),
      b: (u, i) => fragmentText("b", variant, { u, i }),
    })
  }
    }
    turn = 1u - turn;
    ${keep}
    workgroupBarrier();
  }
  ${storeText(tile, variant, storedAs(variant))}`;
}

/** Vectors and addend of a thread's stores: one that takes b along k has columns that are no neighbours. */
export function storedAs(
  { vectors, b, addend }: GemmVariant,
): { vectors: boolean; addend: boolean } {
  return { vectors: vectors && b === "outer", addend };
}

/** Declarations of such a kernel. */
export function tiledHelpers(variant: GemmVariant, tile: Tile): string {
  return `${operandsText(variant, storedAs(variant))}
override LANES_X: u32;
override LANES_Y: u32;
override DEPTH: u32;
override DEPTH4: u32 = DEPTH / 4u;
override ROWS: u32 = LANES_Y * ${tile.rows}u;
override COLS: u32 = LANES_X * ${tile.cols}u;
${CUT_TEXT}
var<workgroup> aBlock: array<vec4f, 2u * ROWS * DEPTH4>;
var<workgroup> bBlock: array<vec4f, 2u * COLS * DEPTH4>;`;
}

/** `(thread + …)`: the vector of a block that is a thread's `q`-th. */
function sharedOut(q: number): string {
  return q === 0 ? "thread" : `(thread + ${q}u * LANES_X * LANES_Y)`;
}

/** Only the threads that bring something. */
function some(name: "a" | "b", share: number, text: string): string {
  return share < 1
    ? `if (thread < ${NAMES[name].side} * DEPTH4) { ${text} }`
    : text;
}

/** From the matrix into registers: vectors of the block that begins at inner index `l`. */
function bringText(
  name: "a" | "b",
  { variant, shares }: { variant: GemmVariant; shares: Shares },
): string {
  const along = variant[name];
  const { side } = NAMES[name];
  return times(Math.ceil(shares[name]), (q) => {
    const t = sharedOut(q);
    const [i, u] = along === "k"
      ? [`${t} / DEPTH4`, `${t} % DEPTH4 * 4u`]
      : [`${t} % (${side} / 4u) * 4u`, `${t} / (${side} / 4u)`];
    const k = `(l + ${u})`;
    const at = placeText(name, { along, outer: `${name}First + ${i}`, k });
    const value = cutText(along, `${name}Four(${at})`, k);
    return some(name, shares[name], `${name}Next${q} = ${value};\n`);
  });
}

/** From registers into the workgroup's memory. */
function keepText(
  name: "a" | "b",
  { variant, shares }: { variant: GemmVariant; shares: Shares },
): string {
  return times(Math.ceil(shares[name]), (q) => {
    const t = sharedOut(q);
    const row = `${t} / DEPTH4`;
    const at = variant[name] === "k"
      ? `${row} * DEPTH4 + (${t} % DEPTH4 + ${row} * DEPTH4 / 8u) % DEPTH4`
      : t;
    const to = `${name}Block[turn * ${NAMES[name].side} * DEPTH4 + ${at}]`;
    return some(name, shares[name], `${to} = ${name}Next${q};\n`);
  });
}

/** Where a thread's part of the present block begins. */
function baseText(name: "a" | "b", variant: GemmVariant): string {
  const { side, mine } = NAMES[name];
  const times = variant[name] === "k" ? " * DEPTH4" : "";
  return `let ${name}Base = turn * ${side} * DEPTH4 + ${mine}${times};\n`;
}

/** Four values of the present block, at inner indices from 4 v on: see {@linkcode multiplyText}. */
function fragmentText(
  name: "a" | "b",
  variant: GemmVariant,
  { u, i }: { u: number; i: number },
): string {
  const { side, lanes, mine } = NAMES[name];
  const at = variant[name] === "k"
    ? `${i}u * ${lanes} * DEPTH4 + (v + ${mine} * DEPTH4 / 8u) % DEPTH4`
    : `(v * 4u + ${u}u) * (${side} / 4u) + ${i}u * ${lanes}`;
  return `${name}Block[${name}Base + ${at}]`;
}

/** The row (or column) of the result that is a thread's `i`-th. */
function placeOf(name: "a" | "b", variant: GemmVariant, i: number): string {
  const { lanes, mine } = NAMES[name];
  return variant[name] === "k"
    ? `${name}First + ${mine} + ${i}u * ${lanes}`
    : `${name}First + 4u * (${mine} + ${i >> 2}u * ${lanes}) + ${i & 3}u`;
}

function storeText(
  { rows, cols }: Tile,
  variant: GemmVariant,
  { vectors }: { vectors: boolean },
): string {
  const each = range(cols).filter((j) => !vectors || j % 4 === 0);
  return times(rows, (i) =>
    each.map((j) => {
      const value = `c${i}_${j >> 2}${vectors ? "" : `[${j & 3}]`}`;
      const row = placeOf("a", variant, i);
      return `put(group.z, ${row}, ${placeOf("b", variant, j)}, ${value});`;
    }).join("\n"));
}
