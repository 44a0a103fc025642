/**
 * Conformance cases of products with a quantised matrix: every format, both orientations, odd shapes and blocks.
 *
 * @module
 */

import { hasGroups } from "../../src/device/quant_mat.ts";
import { format, type FormatName } from "../../src/quant/formats.ts";
import { ROW_BLOCK } from "../../src/device/int8.ts";
import { matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import { assertAllClose } from "../helpers/assert.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import {
  quantise,
  type Quantised,
  USED_FORMATS,
  values,
} from "./quant_cases.ts";
import type { Case } from "./table.ts";
import { INNER, type View } from "./workspace.ts";

/** Unit roundoff of f32. */
const U = 2 ** -24;

interface Product {
  format: FormatName;
  m: number;
  n: number;
  k: number;
  transQ?: boolean;
  block?: number;
  alpha?: number;
  beta?: number;
  inPlace?: boolean;
  view?: View;
  /** The left side may be rounded to 8 bits. */
  int8?: boolean;
}

/** Half a step of each value of `a` times the magnitudes that it meets: the most that rounding to 8 bits changes. */
function int8Limit(
  { format: name, m, n, k, transQ }: Product,
  { a, size, scales, block }: {
    a: Float32Array;
    /** Magnitudes of the values of `q`. */
    size: Float64Array;
    scales: Float32Array;
    block: number;
  },
): Float64Array {
  const limit = new Float64Array(m * n);
  const width = transQ ? block : ROW_BLOCK;
  const middle = 2 ** (format(name).bits - 1);
  const groups = Math.ceil((transQ ? k : n) / block);
  const most = (length: number, value: (i: number) => number) => {
    let x = 0;
    for (let i = 0; i < length; i++) x = Math.max(x, Math.abs(value(i)));
    return x;
  };
  for (let first = 0; first < k; first += width) {
    const count = Math.min(width, k - first);
    // Bound of the factors of a value of `a` in each column: codes less their middle.
    const meets = Float64Array.from({ length: n }, (_, j) => {
      if (!transQ) {
        const g = Math.floor(j / block);
        return middle * count *
          most(count, (o) => scales[(first + o) * groups + g]);
      }
      let sum = 0;
      for (let l = 0; l < count; l++) sum += size[j * k + first + l];
      return sum;
    });
    for (let i = 0; i < m; i++) {
      const half = most(count, (l) => a[i * k + first + l]) / 254;
      for (let j = 0; j < n; j++) limit[i * n + j] += half * meets[j];
    }
  }
  return limit;
}

/** Magnitudes to which the roundings of each value are relative: of an affine one both its parts, which may nearly cancel. */
function sizes(result: Quantised): Float64Array {
  const { q, codes, scales, biases } = result;
  if (!biases) return values(result).map(Math.abs);
  const top = 2 ** q.spec.bits - 1;
  const largest = scales.map((s, i) => top * Math.abs(s) + Math.abs(biases[i]));
  // Levels of 0 and the sizes as biases.
  return values({
    q,
    codes: new Uint8Array(codes.length),
    scales: new Float32Array(scales.length),
    biases: largest,
  });
}

function productCase(p: Product): Case {
  const { m, n, k, transQ, alpha = 1, beta, inPlace, view, int8 } = p;
  const spec = format(p.format);
  const block = p.block ?? spec.defaultBlock;
  const [rows, cols] = transQ ? [n, k] : [k, n];
  const marks = [
    transQ && "qᵀ",
    alpha !== 1 && `alpha ${alpha}`,
    beta !== undefined && `beta ${beta}`,
    inPlace && "add is c",
    view && "views",
  ].filter(Boolean).join(", ");
  return {
    op: int8 ? "gemmInt8" : "gemmQuantized",
    name: `${p.format} block ${block} ${m}x${k} * ${k}x${n}${
      marks && ` (${marks})`
    }`,
    why: int8
      ? "half a step of 8 bits of each value of a, then as gemmQuantized"
      : "(k + 5) roundings of f32 on the sum of magnitudes",
    async run({ w, device, oracle, oracleWorkspace }) {
      const random = new Random(m * 10007 + n * 101 + k);
      const a = normalMatrix(random, m, k);
      const added = normalMatrix(random, m, n);
      const result = await quantise(oracleWorkspace, oracle, {
        format: p.format,
        scale: spec.defaultScale,
        block,
        w: matrix(rows, cols, random.normals(rows * cols)),
      });
      const q = w.quant(p.format, { rows, cols, block });
      device.write(q.codes, result.codes);
      device.write(q.scales, result.scales);
      if (q.biases) device.write(q.biases, result.biases!);
      const c = inPlace ? w.put(added, view) : w.room(m, n, view);
      const add = beta === undefined
        ? undefined
        : inPlace
        ? c
        : w.put(added, view);
      device.ops[int8 ? "gemmInt8" : "gemmQuantized"]({
        a: w.put(a, view),
        q,
        c,
        transQ,
        alpha: p.alpha,
        beta,
        add,
      });
      const dense = values(result);
      const size = sizes(result);
      const expected = new Float64Array(m * n);
      const limit = int8
        ? int8Limit(p, { a: a.data, size, scales: result.scales, block })
          .map((x) => x * Math.abs(alpha))
        : new Float64Array(m * n);
      const [down, right] = transQ ? [1, k] : [n, 1];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          let magnitude = 0;
          for (let l = 0; l < k; l++) {
            const at = l * down + j * right;
            sum += a.data[i * k + l] * dense[at];
            magnitude += Math.abs(a.data[i * k + l]) * size[at];
          }
          const plus = (beta ?? 0) * added.data[i * n + j];
          expected[i * n + j] = alpha * sum + plus;
          limit[i * n + j] += (k + 5) * U *
            (Math.abs(alpha) * magnitude + Math.abs(plus));
        }
      }
      assertAllClose((await w.get(c)).data, expected, {
        atol: (i) => limit[i] + 1e-37,
      });
    },
  };
}

const SHAPES: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [1, 70, 131],
  [7, 1, 3],
  [3, 5, 70],
  [8, 96, 64],
  [13, 37, 33],
  [65, 130, 96],
];

/** Products with a quantised matrix. */
export function gemmQuantizedTable(): Case[] {
  const table: Case[] = [];
  for (const name of USED_FORMATS) {
    for (const transQ of [false, true]) {
      const base = { format: name, transQ };
      for (const [m, n, k] of SHAPES) {
        table.push(productCase({ ...base, m, n, k }));
      }
      for (const block of [64, 8, 5, 0]) {
        table.push(productCase({ ...base, m: 5, n: 43, k: 77, block }));
      }
      const sizes = { m: 11, n: 39, k: 68 };
      table.push(
        productCase({ ...base, ...sizes, alpha: -1, beta: 1, view: INNER }),
        productCase({
          ...base,
          ...sizes,
          alpha: 0.5,
          beta: -2,
          inPlace: true,
          view: INNER,
        }),
      );
    }
  }
  for (const transQ of [false, true]) {
    const base = { format: "nf4", transQ } as const;
    table.push(
      productCase({ ...base, m: 0, n: 4, k: 3 }),
      productCase({ ...base, m: 5, n: 6, k: 0, alpha: 2, beta: -1 }),
      productCase({ ...base, m: 5, n: 6, k: 40, alpha: 0.25 }),
      // Large enough that threads share the work, and for several tiles.
      productCase({ ...base, m: 9, n: 523, k: 677 }),
      productCase({ ...base, format: "int3", m: 33, n: 612, k: 576 }),
    );
  }
  return table;
}

/** Products that may be taken in 8 bits, and others that may not. */
export function gemmInt8Table(): Case[] {
  const table: Case[] = [];
  for (const name of USED_FORMATS.filter((name) => hasGroups(format(name)))) {
    for (const transQ of [true, false]) {
      const base = { format: name, transQ, int8: true };
      // Few rows, whole and partial tiles, a short last group, several turns.
      for (const m of [1, 3, 5, 13]) {
        table.push(
          productCase({ ...base, m, n: 48, k: 96, block: 32 }),
          productCase({ ...base, m, n: 112, k: 80, block: 64 }),
        );
      }
      table.push(
        productCase({ ...base, m: 6, n: 32, k: 16, block: 16 }),
        productCase({ ...base, m: 70, n: 592, k: 576, block: 32 }),
        productCase({
          ...base,
          ...{ m: 7, n: 64, k: 160, block: 32 },
          ...{ alpha: -0.5, beta: 2, view: INNER },
        }),
        productCase({
          ...base,
          ...{ m: 2, n: 64, k: 160, block: 128 },
          ...{ alpha: 0.5, beta: 1, inPlace: true, view: INNER },
        }),
        productCase({
          ...base,
          ...{ m: 9, n: 64, k: 64, block: 32 },
          ...{ beta: -1, inPlace: true },
        }),
        // The rows are no whole sixteen.
        productCase({ ...base, m: 4, n: 21, k: 32, block: 32 }),
        productCase({ ...base, m: 4, n: 32, k: 21, block: 32 }),
        productCase({ ...base, m: 0, n: 16, k: 32, block: 32 }),
      );
    }
  }
  for (const transQ of [true, false]) {
    table.push(
      productCase({ format: "nf4", m: 3, n: 64, k: 64, transQ, int8: true }),
    );
  }
  return table;
}
