/**
 * Kernels that take the elements of some matrices of one shape each by itself.
 *
 * @module
 */

import { type BindingType, kernel, type Params } from "../../kernel.ts";

/** Threads of a workgroup. */
const THREADS = 64;

/** Elements that a workgroup takes, several a thread. */
export const MAP_SPAN = 256;

/** Work on each element. `R`, `W`, `S`: names of what is read, of what is written, of scalars. */
export interface MapText<
  R extends string,
  W extends string,
  S extends string,
  P extends Params,
> {
  /** Name in errors. */
  readonly name: string;
  /** Matrices whose element the body finds under the matrix's name. */
  readonly reads: readonly R[];
  /** Matrices whose element the body makes, as a value of the matrix's name. */
  readonly writes: readonly W[];
  /** Vectors, `f32` arrays, whose first element the body finds under the vector's name. */
  readonly scalars?: readonly S[];
  /** Further parameters, which the body finds in `p`. */
  readonly params?: P;
  /** Functions that the body calls. */
  readonly helpers?: string;
  /** Statements; `row` and `col` say where in the matrices it is. */
  readonly body: string;
}

/** A text with its names. */
export function map<
  const R extends string,
  const W extends string,
  const S extends string = never,
  const P extends Params = Record<never, never>,
>(text: MapText<R, W, S, P>): MapText<R, W, S, P> {
  return text;
}

/** Name of the binding of a matrix or scalar: its element has the name itself. */
export const bindingOf = (name: string): string => `${name}s`;

/**
 * The kernel of `text`. `places` names, for each matrix that is read, the one that is written in its place, if any.
 * Groups: elements by {@linkcode MAP_SPAN}.
 */
export function mapKernel<P extends Params>(
  text: MapText<string, string, string, P>,
  places: Readonly<Record<string, string>>,
) {
  const { reads, writes, scalars = [], params, helpers, body } = text;
  const marks = Object.entries(places).map(([x, y]) => `${y} is ${x}`);
  const all = (names: readonly string[], type: BindingType) =>
    Object.fromEntries(names.map((name) => [bindingOf(name), type]));
  const place = (name: string) => {
    const x = bindingOf(name);
    return `${x}[p.${x} + row * p.${x}Stride + col]`;
  };
  const lines = (names: readonly string[], line: (name: string) => string) =>
    names.map(line).join("\n    ");
  return kernel({
    name: [text.name, ...marks].join(", "),
    params: { rows: "u32", cols: "u32", ...params! },
    reads: {
      ...all(reads.filter((name) => !(name in places)), "matrix f32"),
      ...all(scalars, "vector f32"),
    },
    writes: all(writes, "matrix f32"),
    workgroup: THREADS,
    helpers,
    body: () =>
      `  let first = (group.x + group.y * groups.x) * ${MAP_SPAN}u + thread;
  for (var u = 0u; u < ${MAP_SPAN}u; u += ${THREADS}u) {
    let row = (first + u) / p.cols;
    let col = (first + u) % p.cols;
    if (row >= p.rows) { return; }
    ${lines(reads, (x) => `let ${x} = ${place(places[x] ?? x)};`)}
    ${lines(scalars, (x) => `let ${x} = ${bindingOf(x)}[p.${bindingOf(x)}];`)}
    ${body}
    ${lines(writes, (x) => `${place(x)} = ${x};`)}
  }`,
  });
}
