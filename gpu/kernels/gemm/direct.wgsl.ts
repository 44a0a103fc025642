/**
 * The kernel of products for software adapters.
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
  times,
  zeroText,
} from "./text.wgsl.ts";

/** Rows and columns of a thread's tile. */
export const DIRECT_SIDE = 8;

/** Threads of a workgroup, each with a tile of its own. */
export const DIRECT_THREADS = 16;

/** Inner indices of a step. */
export const DIRECT_DEPTH = 4;

/** Declarations of {@linkcode directBody}. */
export function directHelpers(variant: GemmVariant): string {
  return `${operandsText(variant, variant)}
override RAGGED: bool;
${CUT_TEXT}`;
}

/** A kernel in which each thread reads what it needs from the matrices themselves. */
export function directBody(variant: GemmVariant): string {
  const tile = { rows: DIRECT_SIDE, cols: DIRECT_SIDE };
  const load = (name: "a" | "b", first: string) => (u: number, i: number) => {
    const along = variant[name];
    const k = `l + ${u}u`;
    const outer = `${first} + ${along === "k" ? i : 4 * i}u`;
    const value = `${name}Four(${placeText(name, { along, outer, k })})`;
    return `select(${value}, ${cutText(along, value, k)}, RAGGED)`;
  };
  const groups = DIRECT_SIDE / 4;
  // The stores are a loop, as a long text of them takes a software adapter seconds to compile.
  return `
  // Neighbours are below each other, and read the same of b: two to four times as fast in Mesa as the other way.
  let down = (p.m + ${DIRECT_SIDE - 1}u) / ${DIRECT_SIDE}u;
  let tile = (group.x + group.y * groups.x) * ${DIRECT_THREADS}u + thread;
  let row = tile % down * ${DIRECT_SIDE}u;
  let col = tile / down * ${DIRECT_SIDE}u;
  let aAt = p.a + group.z * p.aStep;
  let bAt = p.b + group.z * p.bStep;
  let end = p.k;
  ${zeroText(tile)}
  for (var l = 0u; l < end; l += ${DIRECT_DEPTH}u) {
    ${multiplyText(tile, variant, { a: load("a", "row"), b: load("b", "col") })}
  }
  var values: array<vec4f, ${DIRECT_SIDE * groups}>;
  ${
    times(DIRECT_SIDE, (i) =>
      range(groups).map((g) =>
        `values[${i * groups + g}] = c${i}_${g};`
      )
        .join(" "))
  }
  for (var i = 0u; i < ${DIRECT_SIDE * groups}u; i += 1u) {
    let y = row + i / ${groups}u;
    let x = col + i % ${groups}u * 4u;
    ${
    variant.vectors
      ? "put(group.z, y, x, values[i]);"
      : `for (var e = 0u; e < 4u; e += 1u) {
      put(group.z, y, x + e, values[i][e]);
    }`
  }
  }`;
}
