/**
 * Kernels that take the elements of some matrices of one shape each by itself.
 *
 * @module
 */

import type { Kernel } from "../../context.ts";

/** Threads of a workgroup. */
const THREADS = 64;

/** Elements that a workgroup takes, several a thread. */
export const MAP_SPAN = 256;

/** What is done with each element. */
export interface MapText {
  /** What errors call it. */
  readonly name: string;
  /** Matrices whose element the body finds under the matrix's name. */
  readonly reads: readonly string[];
  /** Matrices whose element the body makes, as a value of the matrix's name. */
  readonly writes: readonly string[];
  /** Vectors, `f32` arrays, whose first element the body finds under the vector's name. */
  readonly scalars?: readonly string[];
  /** Further parameters, as fields of a struct: what the body finds in `p`. */
  readonly fields?: string;
  /** Functions that the body calls. */
  readonly helpers?: string;
  /** Statements; `row` and `col` say where in the matrices it is. */
  readonly body: string;
}

// Making a text takes longer than recording a dispatch.
const kernels = new Map<string, Kernel>();

/**
 * The kernel of `text`. `places` names, for each matrix that is read, the one that is written in its place, if any.
 *
 * Groups: elements by {@linkcode MAP_SPAN}. Parameters: rows, cols, first and stride of each matrix that is read, then of
 * each that is written, first of each scalar, the further ones. Reads the matrices that no other takes the place of, and
 * the scalars; writes the others.
 */
export function mapKernel(
  text: MapText,
  places: Readonly<Record<string, string>>,
): Kernel {
  const marks = Object.entries(places).map(([x, y]) => `${y} is ${x}`);
  const name = [text.name, ...marks].join(", ");
  let kernel = kernels.get(name);
  if (!kernel) {
    kernel = { name, code: codeOf(text, places) };
    kernels.set(name, kernel);
  }
  return kernel;
}

function codeOf(
  { reads, writes, scalars = [], fields = "", helpers = "", body }: MapText,
  places: Readonly<Record<string, string>>,
): string {
  const own = reads.filter((name) => !(name in places));
  const bindings = [
    ...[...own, ...scalars].map((name) => `read> ${name}s`),
    ...writes.map((name) => `read_write> ${name}s`),
  ];
  const lines = <T>(
    items: readonly T[],
    line: (item: T, i: number) => string,
  ) => items.map(line).join("\n");
  return `
struct Params {
  rows: u32,
  cols: u32,
  ${lines([...reads, ...writes], (x) => `${x}First: u32, ${x}Stride: u32,`)}
  ${lines(scalars, (x) => `${x}First: u32,`)}
  ${fields}
}
@group(0) @binding(0) var<uniform> p: Params;
${
    lines(bindings, (x, i) =>
      `@group(0) @binding(${i + 1}) var<storage, ${x}: array<f32>;`)
  }
${helpers}

@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let first = (group.x + group.y * groups.x) * ${MAP_SPAN}u + thread;
  for (var u = 0u; u < ${MAP_SPAN}u; u += ${THREADS}u) {
    let row = (first + u) / p.cols;
    let col = (first + u) % p.cols;
    if (row >= p.rows) { return; }
    ${
    lines(reads, (x) =>
      `let ${x} = ${places[x] ?? x}s[p.${x}First + row * p.${x}Stride + col];`)
  }
    ${lines(scalars, (x) => `let ${x} = ${x}s[p.${x}First];`)}
    ${body}
    ${
    lines(
      writes,
      (x) => `${x}s[p.${x}First + row * p.${x}Stride + col] = ${x};`,
    )
  }
  }
}
`;
}
