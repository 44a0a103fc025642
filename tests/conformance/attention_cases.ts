/**
 * Conformance cases of attention and its backward, against the textbook formula.
 *
 * @module
 */

import assert from "node:assert/strict";
import { assertAllClose } from "../helpers/assert.ts";
import {
  type PlainAttention,
  plainAttention,
  plainAttentionBackward,
  sees,
} from "../helpers/attention.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import type { AttentionShape } from "../../src/device/contract/attention.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import type { Case } from "./table.ts";
import { INNER, named, type View, type Workspace } from "./workspace.ts";

/** Unit roundoff of f32. */
const U = 2 ** -24;

type Bounds = NonNullable<PlainAttention["bounds"]>;

/** Parts of a shape that a case names; the rest follows. */
interface Input {
  batch?: number;
  time: number;
  /** As many as queries and past keys, where not given. */
  keys?: number;
  /** As many as keys, where not given. */
  capacity?: number;
  heads?: number;
  kvHeads?: number;
  headDim: number;
  /** `1 / sqrt(headDim)` where not given. */
  scale?: number;
  causal?: boolean;
  past?: number;
  window?: number;
  bounds?: Bounds;
  /** Factor of queries and keys. */
  size?: number;
  view?: View;
  /** Leaves the log-sum-exp out. */
  bare?: boolean;
}

function plain(input: Input): PlainAttention {
  const { time, past = 0, heads = 1, headDim } = input;
  const keys = input.keys ?? past + time;
  return {
    batch: input.batch ?? 1,
    time,
    keys,
    capacity: input.capacity ?? keys,
    heads,
    kvHeads: input.kvHeads ?? heads,
    headDim,
    scale: input.scale ?? 1 / Math.sqrt(headDim),
    causal: input.causal ?? true,
    past,
    window: input.window ?? 0,
    bounds: input.bounds,
  };
}

function onDevice(w: Workspace, shape: PlainAttention): AttentionShape {
  return {
    ...shape,
    bounds: shape.bounds && w.vector(Uint32Array.from(shape.bounds.flat())),
  };
}

function nameOf(input: Input): string {
  const s = plain(input);
  const head =
    `${s.batch} x ${s.time} queries, ${s.keys} keys, ${s.heads}/${s.kvHeads} heads of ${s.headDim}`;
  return named(
    head,
    s.causal && "causal",
    s.past > 0 && `past ${s.past}`,
    s.capacity > s.keys && `capacity ${s.capacity}`,
    s.window > 0 && `window ${s.window}`,
    s.bounds && `bounds ${s.bounds.map(([a, b]) => `${a}-${b}`).join(" ")}`,
    input.scale !== undefined && `scale ${input.scale}`,
    input.size !== undefined && `size ${input.size}`,
    input.bare && "no log-sum-exp",
    input.view && "views",
  );
}

/** Queries and keys; NaN in the rows of keys and values that no query may look at. */
function inputs(input: Input, s: PlainAttention) {
  const random = new Random(s.time * 1009 + s.keys * 31 + s.headDim);
  const queries = [s.batch * s.time, s.heads * s.headDim] as const;
  const keys = [s.batch * s.capacity, s.kvHeads * s.headDim] as const;
  const scaled = (x: Matrix) =>
    matrix(x.rows, x.cols, x.data.map((y) => (input.size ?? 1) * y));
  const q = scaled(normalMatrix(random, ...queries));
  const k = scaled(normalMatrix(random, ...keys));
  const v = normalMatrix(random, ...keys);
  const dy = normalMatrix(random, ...queries);
  for (let row = 0; row < keys[0]; row++) {
    const b = Math.floor(row / s.capacity);
    const j = row % s.capacity;
    const [from, to] = s.bounds?.[b] ?? [0, s.keys];
    if (j >= from && j < to && j < s.keys) continue;
    for (const x of [k, v]) x.data.fill(NaN, row * x.cols, (row + 1) * x.cols);
  }
  return { q, k, v, dy };
}

/** Relative noise of a probability: a score's roundings and those of as many exponentials and sums as keys. */
function noiseOf(s: PlainAttention, scoreSize: number): number {
  return (2 * (s.headDim + 4) * scoreSize + 8 * s.keys + 32) * U;
}

function attentionCase(input: Input): Case {
  const { view, bare } = input;
  return {
    op: "attention",
    name: nameOf(input),
    why:
      "scores in d roundings, 8 a key for exponentials and sums, on magnitudes",
    async run({ w, device }) {
      const s = plain(input);
      const { q, k, v } = inputs(input, s);
      const out = w.room(q.rows, q.cols, view);
      const count = s.batch * s.heads * s.time;
      const logSumExp = bare
        ? undefined
        : w.guarded(new Float32Array(count).fill(NaN));
      device.ops.attention({
        q: w.put(q, view),
        k: w.put(k, view),
        v: w.put(v, view),
        out,
        shape: onDevice(w, s),
        logSumExp,
      });
      const expected = plainAttention(s, { q: q.data, k: k.data, v: v.data });
      const noise = noiseOf(s, expected.scoreSize);
      assertAllClose((await w.get(out)).data, expected.out, {
        atol: (e) => noise * expected.outSize[e],
        what: "out",
      });
      if (!logSumExp) return;
      assertAllClose(await w.values(logSumExp), expected.logSumExp, {
        atol: noise,
        what: "logSumExp",
      });
    },
  };
}

/** A value in one row of the queries or of the keys, from which no finite result may come. */
interface Poison {
  readonly of: "q" | "k";
  readonly row: number;
  readonly value: number;
  /** Features that have it. */
  readonly features: readonly number[];
}

/** True if softmax over the keys that query `i` of head `h` sees is no number. */
function isRuined(
  s: PlainAttention,
  { q, k }: { q: Matrix; k: Matrix },
  { h, i }: { h: number; i: number },
): boolean {
  const kv = Math.floor(h * s.kvHeads / s.heads);
  const scores = Array.from({ length: s.keys }, (_, j) => j)
    .filter((j) => sees(s, { b: 0, i, j }))
    .map((j) => {
      let sum = 0;
      for (let c = 0; c < s.headDim; c++) {
        sum += q.data[i * q.cols + h * s.headDim + c] *
          k.data[j * k.cols + kv * s.headDim + c];
      }
      return sum;
    });
  return !Number.isFinite(Math.max(...scores));
}

/** Nothing that is no number is hidden by the softmax, and it gets into no query that does not see it. */
function poisonedCase(input: Input, poison: Poison): Case {
  const { of, row, value, features } = poison;
  return {
    op: "attention",
    name: `${nameOf(input)}, ${value} in row ${row} of ${of}`,
    why: "whether a result is a number has no tolerance",
    async run({ w, device }) {
      const s = plain(input);
      const { q, k, v } = inputs(input, s);
      // Of one sign, so that the scores of an infinity are all of one sign too.
      for (const x of [q, k]) x.data.forEach((y, i) => x.data[i] = Math.abs(y));
      const x = of === "q" ? q : k;
      for (const f of features) x.data[row * x.cols + f] = value;
      const out = w.room(q.rows, q.cols);
      const count = s.heads * s.time;
      const logSumExp = w.guarded(new Float32Array(count));
      device.ops.attention({
        ...{ q: w.put(q), k: w.put(k), v: w.put(v), out, logSumExp },
        shape: onDevice(w, s),
      });
      const { data } = await w.get(out);
      let ruined = 0;
      for (let h = 0; h < s.heads; h++) {
        for (let i = 0; i < s.time; i++) {
          const wanted = isRuined(s, { q, k }, { h, i });
          if (wanted) ruined++;
          const at = i * q.cols + h * s.headDim;
          const got = data.subarray(at, at + s.headDim);
          assert.ok(
            got.every((y) => wanted ? Number.isNaN(y) : Number.isFinite(y)),
            `query ${i}, head ${h}: wanted ${
              wanted ? "no number" : "numbers"
            }, got ${got.join(", ")}`,
          );
        }
      }
      assert.ok(ruined > 0);
    },
  };
}

/** Values that are no number or become one, in tiles of queries, in one query, in all ranges of its keys and in one. */
function poisonedCases(): Case[] {
  const tiles = { time: 40, headDim: 6, heads: 2, kvHeads: 1 };
  const one = { time: 1, past: 299, headDim: 8, heads: 2, kvHeads: 1 };
  return [NaN, Infinity, -Infinity].flatMap((value) => [
    poisonedCase(tiles, { of: "q", row: 7, value, features: [2] }),
    poisonedCase(tiles, { of: "k", row: 0, value, features: [1, 3] }),
    poisonedCase(one, { of: "q", row: 0, value, features: [2] }),
    ...value === -Infinity
      ? []
      : [poisonedCase(one, { of: "k", row: 280, value, features: [5] })],
  ]);
}

function attentionBackwardCase(input: Input): Case {
  const { view } = input;
  return {
    op: "attentionBackward",
    name: nameOf(input),
    why: "as the forward, with the log-sum-exp's own rounding, on magnitudes",
    async run({ w, device }) {
      const s = plain(input);
      const { q, k, v, dy } = inputs(input, s);
      const values = { q: q.data, k: k.data, v: v.data, dy: dy.data };
      const forward = plainAttention(s, values);
      const room = (x: Matrix) => w.room(x.rows, x.cols, view);
      const gradients = { dq: room(q), dk: room(k), dv: room(v) };
      device.ops.attentionBackward({
        dy: w.put(dy, view),
        q: w.put(q, view),
        k: w.put(k, view),
        v: w.put(v, view),
        out: w.put(
          matrix(q.rows, q.cols, Float32Array.from(forward.out)),
          view,
        ),
        logSumExp: w.vector(Float32Array.from(forward.logSumExp)),
        shape: onDevice(w, s),
        ...gradients,
      });
      const expected = plainAttentionBackward(s, values);
      const sums = s.headDim + s.time * s.heads / s.kvHeads;
      const noise = noiseOf(s, forward.scoreSize) + (2 * sums + 32) * U;
      for (const name of ["dq", "dk", "dv"] as const) {
        assertAllClose((await w.get(gradients[name])).data, expected[name], {
          atol: (e) => noise * expected.size[name][e] + 1e-37,
          what: name,
        });
      }
    },
  };
}

/** Without past keys, so that they have a backward too. */
const TRAINING: readonly Input[] = [
  { time: 1, headDim: 1 },
  { time: 1, headDim: 8, heads: 3 },
  { time: 5, headDim: 6, batch: 2, heads: 4, kvHeads: 2 },
  { time: 5, headDim: 6, batch: 2, heads: 4, kvHeads: 2, causal: false },
  { time: 5, headDim: 6, batch: 2, heads: 4, kvHeads: 2, view: INNER },
  { time: 7, headDim: 5, heads: 6, kvHeads: 1 },
  { time: 7, headDim: 33, heads: 2, view: INNER },
  { time: 3, headDim: 8, keys: 7, causal: false },
  { time: 3, headDim: 8, keys: 7, batch: 2 },
  { time: 7, headDim: 8, keys: 3, batch: 2 },
  { time: 4, headDim: 8, batch: 3, capacity: 6, heads: 2 },
  { time: 4, headDim: 4, capacity: 6, view: INNER },
  { time: 11, headDim: 4, window: 3, heads: 2 },
  { time: 11, headDim: 4, window: 1 },
  { time: 11, headDim: 4, window: 40 },
  { time: 11, headDim: 4, window: 3, causal: false },
  // Padding on the left, on the right, none, and nothing but padding.
  {
    time: 6,
    headDim: 4,
    batch: 4,
    heads: 2,
    bounds: [[2, 6], [0, 4], [0, 6], [3, 3]],
  },
  {
    time: 6,
    headDim: 4,
    batch: 4,
    heads: 2,
    kvHeads: 1,
    causal: false,
    bounds: [[2, 6], [0, 4], [0, 6], [3, 3]],
    view: INNER,
  },
  {
    time: 6,
    keys: 5,
    headDim: 4,
    batch: 3,
    capacity: 7,
    bounds: [[1, 7], [4, 7], [6, 7]],
  },
  // Late queries, whose window lies in the padding, see nothing either.
  { time: 8, headDim: 4, batch: 2, window: 2, bounds: [[0, 3], [5, 8]] },
  { time: 5, headDim: 8, size: 30 },
  { time: 5, headDim: 8, heads: 2, scale: 0 },
  { time: 5, headDim: 8, heads: 2, scale: -1.5 },
  { time: 0, headDim: 4, heads: 2 },
  { time: 2, headDim: 4, keys: 0, capacity: 3, heads: 2 },
  // Several tiles of keys and queries, and the sizes of heads that models have.
  { time: 70, headDim: 64, heads: 3, kvHeads: 1 },
  { time: 131, headDim: 16, batch: 2, heads: 2, window: 50 },
  { time: 33, headDim: 80, causal: false },
  { time: 17, headDim: 128, heads: 2, kvHeads: 1 },
  { time: 9, headDim: 256 },
];

/** With a cache of keys. */
const DECODING: readonly Input[] = [
  { time: 1, past: 9, headDim: 8, heads: 6, kvHeads: 2, capacity: 16 },
  { time: 1, past: 9, headDim: 8, batch: 3, heads: 2, capacity: 16 },
  { time: 4, past: 5, headDim: 8, batch: 2, heads: 2, capacity: 12 },
  {
    time: 4,
    past: 5,
    headDim: 8,
    batch: 2,
    heads: 2,
    capacity: 12,
    view: INNER,
  },
  { time: 4, past: 9, headDim: 8, window: 3 },
  { time: 1, past: 9, headDim: 8, window: 4, capacity: 11 },
  { time: 3, past: 4, headDim: 8, causal: false, window: 5 },
  {
    time: 2,
    past: 6,
    headDim: 4,
    batch: 3,
    capacity: 9,
    bounds: [[3, 9], [0, 8], [8, 9]],
  },
  { time: 1, past: 299, headDim: 64, heads: 3, kvHeads: 1, capacity: 320 },
  { time: 1, past: 99, headDim: 128, batch: 2, heads: 4, kvHeads: 2 },
];

/** Attention and its backward. */
export function attentionTable(): Case[] {
  return [
    ...TRAINING.map(attentionCase),
    ...DECODING.map(attentionCase),
    attentionCase({ time: 5, headDim: 6, heads: 2, bare: true }),
    // Scores in the thousands: only the largest key counts, and nothing overflows.
    attentionCase({ time: 5, headDim: 8, size: 100 }),
    ...poisonedCases(),
    ...TRAINING.map(attentionBackwardCase),
  ];
}
