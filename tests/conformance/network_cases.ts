/**
 * Conformance cases of transformers' row operations, and the table of all that transformers need.
 *
 * @module
 */

import { assertAllClose } from "../helpers/assert.ts";
import { integer, normalMatrix } from "../helpers/inputs.ts";
import { readF32 } from "../../src/device/device.ts";
import { dropoutHash } from "../../src/device/dropout.ts";
import { matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import { attentionTable } from "./attention_cases.ts";
import { encoderTable } from "./encoder_cases.ts";
import { groupTable } from "./group_cases.ts";
import { lossTable } from "./loss_cases.ts";
import { normTable } from "./norm_cases.ts";
import type { Case } from "./table.ts";
import { INNER, named, type View, WHOLE } from "./workspace.ts";

/** Unit roundoff of f32. */
const U = 2 ** -24;

/** Shapes of the element-wise operations; the last is large enough that threads share the work. */
const SHAPES: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 131],
  [131, 1],
  [7, 13],
  [0, 3],
  [203, 307],
];

interface Combine {
  rows: number;
  cols: number;
  view?: View;
  alpha?: number;
  beta?: number;
  /** The argument that is `out` too. */
  out?: "x" | "y";
  alone?: boolean;
}

function combineCase(c: Combine): Case {
  const { rows, cols, view, alpha, beta, out, alone } = c;
  return {
    op: "combine",
    name: named(
      `${rows}x${cols}`,
      alone && "no y",
      alpha !== undefined && `alpha ${alpha}`,
      beta !== undefined && `beta ${beta}`,
      out && `out is ${out}`,
      view && "views",
    ),
    why: "a factor, its product and the sum rounded: 3 roundings of magnitudes",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      const y = normalMatrix(random, rows, cols);
      const args = {
        x: w.put(x, view),
        y: alone ? undefined : w.put(y, view),
      };
      const to = (out && args[out]) ?? w.room(rows, cols, view);
      device.ops.combine({ ...args, out: to, alpha, beta });
      const terms = Array.from(x.data, (v, i) => [
        (alpha ?? 1) * v,
        alone ? 0 : (beta ?? 1) * y.data[i],
      ]);
      assertAllClose((await w.get(to)).data, terms.map(([a, b]) => a + b), {
        atol: (i) => 3 * U * (Math.abs(terms[i][0]) + Math.abs(terms[i][1])),
      });
      if (out !== "x") {
        assertAllClose((await w.get(args.x)).data, x.data, { what: "x" });
      }
    },
  };
}

function* combineCases(): Generator<Case> {
  for (const [rows, cols] of SHAPES) yield combineCase({ rows, cols });
  const sizes = { rows: 7, cols: 13 };
  for (const view of [undefined, INNER]) {
    yield combineCase({ ...sizes, view, alone: true, alpha: -0.5 });
    yield combineCase({ ...sizes, view, alone: true, alpha: 0 });
    yield combineCase({ ...sizes, view, alone: true, alpha: 2, out: "x" });
    for (const out of [undefined, "x", "y"] as const) {
      yield combineCase({ ...sizes, view, alpha: 0.1, beta: -2, out });
      yield combineCase({ ...sizes, view, beta: 0.3, out });
    }
  }
}

function addRowCase(
  rows: number,
  cols: number,
  { view, inPlace = false }: { view?: View; inPlace?: boolean } = {},
): Case {
  return {
    op: "addRow",
    name: named(`${rows}x${cols}`, view && "views", inPlace && "in place"),
    why: "exact: one sum, rounded once",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      const row = random.normals(cols);
      const on = w.put(x, view);
      const out = inPlace ? on : w.room(rows, cols, view);
      device.ops.addRow({ x: on, row: w.vector(row), out });
      assertAllClose(
        (await w.get(out)).data,
        x.data.map((v, i) => v + row[i % cols]),
      );
    },
  };
}

function columnSumsCase(
  rows: number,
  cols: number,
  { view, beta, square }: { view?: View; beta?: 0 | 1; square?: boolean } = {},
): Case {
  return {
    op: "columnSums",
    name: named(
      `${rows}x${cols}`,
      view && "view",
      beta !== undefined && `beta ${beta}`,
      square && "squares",
    ),
    why: "(m + 2) roundings of f32 on the sum of magnitudes",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const x = normalMatrix(random, rows, cols);
      const before = random.normals(cols);
      const out = w.guarded(
        beta ? before : new Float32Array(cols).fill(NaN),
      );
      device.ops.columnSums({ x: w.put(x, view), out, beta, square });
      const sums = Float64Array.from(before, (v) => beta ? v : 0);
      const size = sums.map(Math.abs);
      x.data.forEach((v, i) => {
        const term = square ? v * v : v;
        sums[i % cols] += term;
        size[i % cols] += Math.abs(term);
      });
      assertAllClose(await w.values(out), sums, {
        atol: (i) => (rows + 2) * U * size[i],
      });
    },
  };
}

/** Row numbers below `rows`, with repetitions where there are more of them. */
function someIds(random: Random, count: number, rows: number): Uint32Array {
  return Uint32Array.from(
    { length: count },
    () => integer(random, 0, rows - 1),
  );
}

function gatherCase(
  count: number,
  { rows, cols, view }: { rows: number; cols: number; view?: View },
): Case {
  return {
    op: "gatherRows",
    name: named(`${count} of ${rows}x${cols}`, view && "views"),
    why: "exact: a copy",
    async run({ w, device }) {
      const random = new Random(count * 1009 + cols);
      const table = normalMatrix(random, rows, cols);
      const ids = someIds(random, count, rows);
      const out = w.room(count, cols, view);
      device.ops.gatherRows({
        table: w.put(table, view),
        ids: w.vector(ids),
        out,
      });
      const expected = Array.from(
        ids,
        (id) => [...table.data.subarray(id * cols, (id + 1) * cols)],
      );
      assertAllClose((await w.get(out)).data, expected.flat());
    },
  };
}

function scatterCase(
  count: number,
  { rows, cols, view }: { rows: number; cols: number; view?: View },
): Case {
  return {
    op: "scatterRows",
    name: named(`${count} into ${rows}x${cols}`, view && "views"),
    why: "one rounding an addend on the sum of magnitudes, none elsewhere",
    async run({ w, device }) {
      const random = new Random(count * 1009 + cols);
      const x = normalMatrix(random, count, cols);
      const table = normalMatrix(random, rows, cols);
      const ids = someIds(random, count, rows);
      const on = w.put(table, view);
      device.ops.scatterRows({
        x: w.put(x, view),
        ids: w.vector(ids),
        table: on,
      });
      const sums = Float64Array.from(table.data);
      const size = sums.map(Math.abs);
      const terms = new Float64Array(rows);
      ids.forEach((id, i) => {
        terms[id]++;
        for (let j = 0; j < cols; j++) {
          sums[id * cols + j] += x.data[i * cols + j];
          size[id * cols + j] += Math.abs(x.data[i * cols + j]);
        }
      });
      assertAllClose((await w.get(on)).data, sums, {
        atol: (e) => terms[Math.floor(e / cols)] * U * size[e],
      });
    },
  };
}

interface Dropout {
  rows: number;
  cols: number;
  rate: number;
  seed?: number;
  view?: View;
  inPlace?: boolean;
}

function dropoutCase(d: Dropout): Case {
  const { rows, cols, rate, seed = 7, view, inPlace } = d;
  return {
    op: "dropout",
    name: named(
      `${rows}x${cols}, rate ${rate}, seed ${seed}`,
      view && "views",
      inPlace && "in place",
    ),
    why: "exact: the same elements, one product rounded once",
    async run({ w, device }) {
      const x = normalMatrix(new Random(rows + cols), rows, cols);
      if (x.data.length > 2) x.data[1] = Infinity;
      const on = w.put(x, view);
      const out = inPlace ? on : w.room(rows, cols, view);
      device.ops.dropout({ x: on, out, rate, seed });
      const factor = Math.fround(1 / (1 - rate));
      assertAllClose(
        (await w.get(out)).data,
        x.data.map((v, e) =>
          dropoutHash(seed, e) >= rate * 2 ** 32 ? v * factor : 0
        ),
      );
    },
  };
}

function* dropoutCases(): Generator<Case> {
  for (const [rows, cols] of SHAPES) {
    yield dropoutCase({ rows, cols, rate: 0.1 });
  }
  const sizes = { rows: 9, cols: 37 };
  for (const rate of [0, 0.05, 0.5, 1 / 3, 0.9, 0.9999]) {
    yield dropoutCase({ ...sizes, rate });
  }
  for (const seed of [0, 1, 0x8000_0000, 0xffff_ffff]) {
    yield dropoutCase({ ...sizes, rate: 0.3, seed });
  }
  for (const inPlace of [false, true]) {
    yield dropoutCase({ ...sizes, rate: 0.25, view: INNER, inPlace });
  }
  yield dropoutCase({ ...sizes, rate: 0.25, inPlace: true });
}

function* rowCases(): Generator<Case> {
  for (const [rows, cols] of SHAPES) {
    for (const view of [WHOLE, INNER]) {
      for (const inPlace of [false, true]) {
        yield addRowCase(rows, cols, { view, inPlace });
      }
      yield columnSumsCase(rows, cols, { view });
      for (const beta of [0, 1] as const) {
        yield columnSumsCase(rows, cols, { view, beta });
        yield columnSumsCase(rows, cols, { view, beta, square: true });
      }
    }
  }
  for (
    const [count, rows, cols] of [
      [1, 1, 1],
      [7, 3, 13],
      [5, 40, 1],
      [0, 4, 3],
      [301, 211, 67],
    ]
  ) {
    for (const view of [WHOLE, INNER]) {
      yield gatherCase(count, { rows, cols, view });
      yield scatterCase(count, { rows, cols, view });
    }
  }
  yield {
    op: "scatterRows",
    name: "one row again and again",
    why: "exact: whole numbers",
    async run({ w, device }) {
      const table = w.put(matrix(3, 5));
      device.ops.scatterRows({
        x: w.put(matrix(67, 5, new Float32Array(67 * 5).fill(2))),
        ids: w.vector(new Uint32Array(67).fill(1)),
        table,
      });
      assertAllClose(
        (await w.get(table)).data,
        Array.from({ length: 15 }, (_, e) => Math.floor(e / 5) === 1 ? 134 : 0),
      );
    },
  };
  yield {
    op: "columnSums",
    name: "no columns",
    why: "exact: nothing to write",
    async run({ w, device }) {
      const out = w.vector(Float32Array.of(3));
      device.ops.columnSums({ x: w.put(matrix(2, 0)), out });
      assertAllClose(await readF32(device, out), [3]);
    },
  };
}

/** All that transformers need. */
export function networkTable(): Case[] {
  return [
    ...combineCases(),
    ...rowCases(),
    ...dropoutCases(),
    ...groupTable(),
    ...normTable(),
    ...encoderTable(),
    ...lossTable(),
    ...attentionTable(),
  ];
}
