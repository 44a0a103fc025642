/**
 * Conformance cases of sums over groups of columns and of their backward.
 *
 * @module
 */

import { assertAllClose } from "../helpers/assert.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import { matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import type { Case } from "./table.ts";
import { INNER, named, type View, WHOLE } from "./workspace.ts";

/** Unit roundoff of f32. */
const U = 2 ** -24;

/** Rows, columns and columns of a group: short last groups, one group, groups of one, and enough for threads to share. */
const SHAPES: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [1, 1, 32],
  [1, 64, 32],
  [5, 71, 32],
  [3, 13, 5],
  [7, 13, 1],
  [4, 13, 13],
  [4, 13, 2 ** 40],
  [0, 9, 4],
  [2, 0, 4],
  [203, 307, 16],
  [1, 901, 64],
];

function poolCase(
  [rows, cols, group]: readonly [number, number, number],
  view: View,
): Case {
  return {
    op: "poolColumns",
    name: named(`${rows}x${cols} by ${group}`, view !== WHOLE && "views"),
    why: "one rounding an addend on the sum of magnitudes",
    async run({ w, device }) {
      const x = normalMatrix(new Random(rows * 1009 + cols), rows, cols);
      const groups = Math.ceil(cols / group);
      const on = w.put(x, view);
      const out = w.room(rows, groups, view);
      device.ops.poolColumns({ x: on, group, out });
      const sums = new Float64Array(rows * groups);
      const size = new Float64Array(rows * groups);
      x.data.forEach((v, e) => {
        const at = Math.floor(e / cols) * groups +
          Math.floor(e % cols / group);
        sums[at] += v;
        size[at] += Math.abs(v);
      });
      assertAllClose((await w.get(out)).data, sums, {
        atol: (e) => Math.min(group, cols) * U * size[e],
      });
    },
  };
}

function spreadCase(
  [rows, cols, group]: readonly [number, number, number],
  { view, add }: { view: View; add: "none" | "other" | "out" },
): Case {
  return {
    op: "spreadColumns",
    name: named(
      `${rows}x${cols} by ${group}`,
      view !== WHOLE && "views",
      add !== "none" && `add ${add}`,
    ),
    why: "exact: one sum, rounded once",
    async run({ w, device }) {
      const random = new Random(rows * 1009 + cols);
      const groups = Math.ceil(cols / group);
      const x = normalMatrix(random, rows, groups);
      const more = add === "none"
        ? matrix(rows, cols)
        : normalMatrix(random, rows, cols);
      const added = add === "none" ? undefined : w.put(more, view);
      const out = add === "out" ? added! : w.room(rows, cols, view);
      device.ops.spreadColumns({
        x: w.put(x, view),
        group,
        out,
        add: added,
      });
      assertAllClose(
        (await w.get(out)).data,
        more.data.map((v, e) => {
          const at = Math.floor(e / cols) * groups +
            Math.floor(e % cols / group);
          return v + x.data[at];
        }),
      );
    },
  };
}

/** Sums over groups of columns. */
export function* groupTable(): Generator<Case> {
  for (const shape of SHAPES) {
    for (const view of [WHOLE, INNER]) {
      yield poolCase(shape, view);
      for (const add of ["none", "other", "out"] as const) {
        yield spreadCase(shape, { view, add });
      }
    }
  }
}
