import assert from "node:assert/strict";
import { JOBS } from "../../../wasm/generated/jobs.ts";
import { jobExports, jobsModule, jobsOf } from "../../../wasm/jobs.ts";

const SHAPE = `/** Words. */
// @ts-ignore: decorator
@unmanaged
export class Shape {
  rows: u32;
  x: usize; // 0: none
  xStride: usize;
}
`;

const SCALE = `@unmanaged
class Scale extends Shape {
  by: f32;
  out: usize;
}

export function scale(
  args: Scale,
  part: u32,
  parts: u32,
): void {}

export function clear(args: Shape, part: u32, parts: u32, thread: u32): void {}

export function rowMax(x: usize, n: u32): f32 {
  return 0;
}
`;

Deno.test("wasm jobs: words come from a job's class and from what it extends, a matrix from two", () => {
  const jobs = jobsOf([["family/scale.ts", SCALE], ["shape.ts", SHAPE]]);
  const shape = [
    { name: "rows", kind: "u32" },
    { name: "x", kind: "place" },
  ];
  assert.deepEqual(jobs, [
    { name: "clear", file: "family/scale", fields: shape },
    {
      name: "scale",
      file: "family/scale",
      fields: [
        ...shape,
        { name: "by", kind: "f32" },
        { name: "out", kind: "u32" },
      ],
    },
  ]);
  assert.equal(
    jobExports(jobs),
    'export { clear } from "./family/scale";\nexport { scale } from "./family/scale";\n',
  );
  assert.match(
    jobsModule(jobs),
    / {2}readonly clear: Readonly<\{ rows: number; x: Place \}>;/,
  );
});

Deno.test("wasm jobs: a class that is not there, and a field of another type, are errors", () => {
  assert.throws(() => jobsOf([["scale.ts", SCALE]]), /class Shape of a job/);
  const wrong = SHAPE.replace("rows: u32", "rows: f64");
  assert.throws(() => jobsOf([["shape.ts", wrong]]), /Shape: {3}rows: f64/);
});

Deno.test("wasm jobs: words are written in order, where they are told to go", () => {
  const u = new Uint32Array(12);
  const f = new Float32Array(u.buffer);
  const [x, out] = [{ origin: 7, stride: 8 }, { origin: 9, stride: 10 }];
  const args = { epsilon: 0.5, rows: 3, cols: 4, x, out, weight: 5 };
  JOBS.rmsNorm({ ...args, inverse: 6 }, u, f, 1);
  assert.deepEqual([...u.subarray(0, 9)], [0, 3, 4, 7, 8, 5, 9, 10, 6]);
  assert.equal(f[9], 0.5);
  // @ts-expect-error: a word is missing
  const call = () => JOBS.rmsNorm(args, u, f, 1);
  assert.ok(call);
});
