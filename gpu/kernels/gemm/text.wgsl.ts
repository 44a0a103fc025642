/**
 * Pieces of text of the kernels of products.
 *
 * @module
 */

import { READER_PARAMS, type readerBindings } from "../quant/quant.wgsl.ts";

/**
 * The side along which an operand's elements are neighbours in memory: the inner indices (`k`: a, or bᵀ), or the rows
 * of a or columns of b (`outer`: aᵀ, or b).
 */
export type Along = "k" | "outer";

/** Traits that the text of a product's kernel depends on besides its tile. */
export interface GemmVariant {
  readonly a: Along;
  readonly b: Along;
  /** True if all matrices begin at, and have rows of, a multiple of four values. */
  readonly vectors: boolean;
  /** True if an addend is bound; without it `c` is added if beta is not 0. */
  readonly addend: boolean;
  /** Source of the values of b, if they are not in memory as such. */
  readonly source?: Source;
}

/** A quantised matrix in the place of b. */
export interface Source {
  /** Tells its text from others'. */
  readonly name: string;
  readonly params: typeof SOURCE_PARAMS;
  readonly bindings: ReturnType<typeof readerBindings>;
  /** Declares `bFour`. */
  readonly text: string;
  /** Values of its `override` constants. */
  readonly constants: Readonly<Record<string, number>>;
}

/** Parameters of a {@linkcode Source}: those of its reader, and where b would be. */
export const SOURCE_PARAMS = {
  ...READER_PARAMS,
  b: "u32",
  bStride: "u32",
  bStep: "u32",
} as const;

/** The values that a thread works out: `rows` and `cols` are multiples of four. */
export interface Tile {
  readonly rows: number;
  readonly cols: number;
}

/** Gives the text of a value. */
export type Text = (u: number, i: number) => string;

/** `0 … n - 1`. */
export function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** Repeats a line for each of `0 … n - 1`. */
export function times(n: number, line: (i: number) => string): string {
  return range(n).map(line).join("\n");
}

/** Parameters of every product. */
export const SIZES = {
  m: "u32",
  n: "u32",
  k: "u32",
  alpha: "f32",
  beta: "f32",
} as const;

/** Parameters of a product whose inner indices are shared out. */
export const PRODUCT_PARAMS = {
  ...SIZES,
  // Workgroup z does inner indices [z % parts * part, …) of product z / parts.
  part: "u32",
  parts: "u32",
} as const;

/** Type of the elements of a binding. */
const element = (vectors: boolean) => vectors ? "vec4f" : "f32";

/** The binding of an operand. */
export const operandBinding = (vectors: boolean) =>
  `batch ${element(vectors)}` as const;

/** The addend, where there is one, among what is read, and c. The step is from the result of workgroup z to that of z + 1. */
export const resultBindings = (
  { vectors, addend }: { vectors: boolean; addend: boolean },
) =>
  ({
    reads: { addend: addend && operandBinding(vectors) },
    writes: { c: operandBinding(vectors) },
  }) as const;

/** Parameters and bindings of a product of two operands. */
export const productOf = (
  { vectors, source }: Pick<GemmVariant, "vectors" | "source">,
  result: { vectors: boolean; addend: boolean },
) => {
  const { reads, writes } = resultBindings(result);
  return {
    params: source
      ? { ...source.params, ...PRODUCT_PARAMS } as const
      : PRODUCT_PARAMS,
    reads: {
      a: operandBinding(vectors),
      b: source ? false : operandBinding(vectors),
      codes: source ? source.bindings.codes : false,
      scales: source ? source.bindings.scales : false,
      biases: source ? source.bindings.biases : false,
      ...reads,
    },
    writes,
  } as const;
};

/** The functions that a kernel of a product reads operands with, and `put`. */
export function operandsText(
  { vectors, source }: GemmVariant,
  result: { vectors: boolean; addend: boolean },
): string {
  return `${operandText("a", { vectors })}
${source?.text ?? operandText("b", { vectors })}
${resultText(result)}`;
}

/** Declares a function that gives four neighbouring values of an operand. */
export function operandText(
  name: "a" | "b",
  { vectors }: { vectors: boolean },
): string {
  const four = vectors
    ? `${name}[i / 4u]`
    : `vec4f(${range(4).map((u) => `${name}[i + ${u}u]`).join(", ")})`;
  return `
fn ${name}Four(i: u32) -> vec4f { return ${four}; }`;
}

/** Declares `put`, which finishes one value (or four, with `vectors`) of result `z` and stores it if it is inside. */
export function resultText(
  { vectors, addend }: { vectors: boolean; addend: boolean },
): string {
  const type = element(vectors);
  const wide = vectors ? " / 4u" : "";
  return `
fn put(z: u32, row: u32, col: u32, value: ${type}) {
  // One condition after the other and no return: where no thread goes on, Mesa's software adapter turns a loop around
  // conditions within conditions 65536 times, and loses half a megabyte.
  let inside = row < p.m && col < p.n;
  let at = (p.c + z * p.cStep + row * p.cStride + col)${wide};
  var old = ${type}();
  if (inside && p.beta != 0.0) {
    old = ${
    addend
      ? `addend[(p.addend + z * p.addendStep + row * p.addendStride + col)${wide}]`
      : "c[at]"
  };
  }
  if (inside) { c[at] = p.alpha * value + p.beta * old; }
}`;
}

/** Begin of an operand's four values at inner index `k` and row (or column) `outer`. */
export function placeText(
  name: "a" | "b",
  { along, outer, k }: { along: Along; outer: string; k: string },
): string {
  const [slow, fast] = along === "k" ? [outer, k] : [k, outer];
  return `${name}At + (${slow}) * p.${name}Stride + ${fast}`;
}

/** Zero from inner index `end` on: what lies there may be anything, and NaN times zero is not zero. */
export const CUT_TEXT = `
fn cutAlong(v: vec4f, k: u32, end: u32) -> vec4f {
  return select(vec4f(), v, vec4u(k, k + 1u, k + 2u, k + 3u) < vec4u(end));
}
fn cutAcross(v: vec4f, k: u32, end: u32) -> vec4f {
  return select(vec4f(), v, k < end);
}`;

/** {@linkcode CUT_TEXT} applied to four values that begin at inner index `k`. */
export function cutText(along: Along, value: string, k: string): string {
  return `${along === "k" ? "cutAlong" : "cutAcross"}(${value}, ${k}, end)`;
}

/** Declares the tile `c{row}_{group of four columns}`. */
export function zeroText({ rows, cols }: Tile): string {
  return times(
    rows,
    (i) => range(cols / 4).map((g) => `var c${i}_${g} = vec4f();`).join(" "),
  );
}

/**
 * The products of four inner indices, added to the tile. `a` and `b` give four values: of an operand along `outer`
 * those of inner index u and group i of four rows or columns, of one along `k` those of row or column i.
 */
export function multiplyText(
  { rows, cols }: Tile,
  variant: Pick<GemmVariant, "a" | "b">,
  { a, b }: { a: Text; b: Text },
): string {
  const lines: string[] = [];
  if (variant.b === "k") {
    lines.push(times(cols, (j) => `let t${j} = ${b(0, j)};`));
  }
  if (variant.a === "k") {
    lines.push(times(rows, (i) => `let a${i} = ${a(0, i)};`));
  }
  const column = (u: number, g: number) =>
    `vec4f(${range(4).map((e) => `t${4 * g + e}[${u}]`).join(", ")})`;
  for (const u of range(4)) {
    for (const g of range(cols / 4)) {
      const value = variant.b === "k" ? column(u, g) : b(u, g);
      lines.push(`let b${u}_${g} = ${value};`);
    }
    if (variant.a === "outer") {
      lines.push(times(rows / 4, (g) => `let a${u}_${g} = ${a(u, g)};`));
    }
    for (const i of range(rows)) {
      const value = variant.a === "k"
        ? `a${i}[${u}]`
        : `a${u}_${i >> 2}[${i & 3}]`;
      for (const g of range(cols / 4)) {
        lines.push(
          `c${i}_${g} = fma(vec4f(${value}), b${u}_${g}, c${i}_${g});`,
        );
      }
    }
  }
  return lines.join("\n");
}
