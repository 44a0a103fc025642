/**
 * Products with a quantised matrix: a source of values for the kernels of `gemm.ts`, and a kernel of its own for few rows,
 * where a tile of the result would be mostly empty.
 *
 * @module
 */

import { kernel } from "../../kernel.ts";
import {
  CUT_TEXT,
  operandBinding,
  operandText,
  resultBindings,
  resultText,
  SIZES,
  type Source,
  SOURCE_PARAMS,
  times,
} from "./text.wgsl.ts";
import {
  quantReader,
  type QuantTraits,
  READER_PARAMS,
  readerBindings,
  readerConstants,
} from "../quant/quant.wgsl.ts";

/**
 * A quantised matrix as the right operand of a product. Its rows are counted as if they were a power of two of elements
 * apart, so that a place tells row and column without a division.
 */
export function quantSource(traits: QuantTraits): Source {
  return {
    name: traits.affine ? "affine" : "levels",
    params: SOURCE_PARAMS,
    bindings: readerBindings(traits),
    constants: readerConstants(traits),
    text: `
${quantReader(traits, { product: "scale * level" })}
fn bFour(i: u32) -> vec4f {
  let bits = firstTrailingBit(p.bStride);
  return quad_at(i >> bits, i & (p.bStride - 1u));
}`,
  };
}

/** The most rows of a {@linkcode narrowKernel}. */
export const NARROW_ROWS = 8;

/** Threads of its workgroups. */
const THREADS = 64;

/** Traits that the text of a {@linkcode narrowKernel} depends on. */
export interface NarrowVariant {
  /** Rows that a thread takes, at most {@linkcode NARROW_ROWS}. */
  readonly rows: number;
  /** True if the quantised matrix is transposed: its rows are then columns of the result. */
  readonly transposed: boolean;
  /** True if `a` begins at, and has rows of, a multiple of four values. */
  readonly vectors: boolean;
  readonly addend: boolean;
  /** Threads that share the inner indices of a value: a power of two. */
  readonly lanes: number;
}

/** Columns of the result that a workgroup takes. */
export function narrowColumns(
  { transposed, lanes }: Pick<NarrowVariant, "transposed" | "lanes">,
): number {
  return THREADS / lanes * (transposed ? 1 : 4);
}

/**
 * A product with few rows on the left: each value of the quantised matrix is worked out once for all of them. Groups:
 * `grid` of columns by {@linkcode narrowColumns}, and rows.
 */
export const narrowKernel = (traits: QuantTraits, variant: NarrowVariant) => {
  const { rows, transposed, lanes, addend } = variant;
  const marks = [
    `${rows} rows by ${traits.affine ? "affine" : "levels"}`,
    transposed ? "transposed" : "as it is",
    ...(variant.vectors ? ["vectors"] : []),
    ...(addend ? ["addend"] : []),
    `${lanes} lanes`,
  ];
  // Neighbouring threads read what lies side by side: of a row its next values, of several rows the next columns.
  const vectors = transposed && variant.vectors;
  const result = { vectors: false, addend };
  const type = transposed ? "f32" : "vec4f";
  const { reads, writes } = resultBindings(result);
  return kernel({
    name: `gemm of ${marks.join(", ")}`,
    constants: readerConstants(traits),
    params: { ...READER_PARAMS, ...SIZES },
    reads: {
      a: operandBinding(vectors),
      ...readerBindings(traits),
      ...reads,
    },
    writes,
    workgroup: THREADS,
    helpers: () => `
${operandText("a", { vectors })}
${quantReader(traits, { product: "scale * level" })}
${resultText(result)}
${CUT_TEXT}
var<workgroup> sums: array<${type}, ${THREADS * rows}>;`,
    body: () => narrowText(variant),
  });
};

function narrowText(variant: NarrowVariant): string {
  const { rows, transposed, lanes } = variant;
  const teams = THREADS / lanes;
  const type = transposed ? "f32" : "vec4f";
  const step = transposed ? 1 : teams;
  return `
  let row = group.z * ${rows}u;
  let lane = thread ${transposed ? `% ${lanes}u` : `/ ${teams}u`};
  let team = (group.x + group.y * groups.x) * ${teams}u +
    thread ${transposed ? `/ ${lanes}u` : `% ${teams}u`};
  ${times(rows, (i) => `var sum${i} = ${type}();`)}
  ${transposed ? along(variant) : across(variant)}
  ${times(rows, (i) => `sums[${i * THREADS}u + thread] = sum${i};`)}
  for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) {
      for (var i = thread; i < ${THREADS * rows}u; i += ${THREADS}u) {
        sums[i] += sums[i + half * ${step}u];
      }
    }
  }
  if (lane == 0u) {
    for (var i = 0u; i < ${rows}u; i += 1u) {
      let sum = sums[i * ${THREADS}u + thread];
      ${
    transposed
      ? "put(0u, row + i, team, sum);"
      : `for (var e = 0u; e < 4u; e += 1u) {
        put(0u, row + i, team * 4u + e, sum[e]);
      }`
  }
    }
  }`;
}

/** Dot products with a row of the quantised matrix, four inner indices at a time. */
function along({ rows, lanes, vectors }: NarrowVariant): string {
  const cut = (value: string) => vectors ? value : `cutAlong(${value}, l, p.k)`;
  return `
  if (team < p.n) {
    for (var l = lane * 4u; l < p.k; l += ${lanes * 4}u) {
      let at = p.a + row * p.aStride + l;
      let value = ${cut("quad_at(team, l)")};
      ${
    times(
      rows,
      (i) => `sum${i} += dot(${cut(`aFour(at + ${i}u * p.aStride)`)}, value);`,
    )
  }
    }
  }`;
}

/** Sums of rows of the quantised matrix, four columns at a time. */
function across({ rows, lanes }: NarrowVariant): string {
  return `
  if (team * 4u < p.n) {
    for (var l = lane; l < p.k; l += ${lanes}u) {
      let at = p.a + row * p.aStride + l;
      let value = quad_at(l, team * 4u);
      ${
    times(
      rows,
      (i) => `sum${i} = fma(vec4f(a[at + ${i}u * p.aStride]), value, sum${i});`,
    )
  }
    }
  }`;
}
