import assert from "node:assert/strict";
import type { WebGpuMemory } from "../../../gpu/buffers.ts";
import type { Dispatch, Kernel, Span } from "../../../gpu/context.ts";
import { kernel, run } from "../../../gpu/kernel.ts";

const THREADS = 8;

/** A kernel with every kind of binding and of parameter. */
const sample = (other: boolean) =>
  kernel({
    name: "sample",
    params: { table: "array<vec4f, 4>", rows: "u32", by: "f32" },
    reads: {
      ...{ x: "batch vec4f", ids: "vector u32" },
      other: other && "matrix f32",
    },
    writes: { out: "buffer f32" },
    workgroup: THREADS,
    helpers: () => "fn twice(x: f32) -> f32 { return x + x; }",
    body: "  out[group.x] = twice(p.by);",
  });

const span = (at: number): Span => ({ buffer: {} as GPUBuffer, at, bytes: 4 });

/** A memory that records the runs of its context. */
function memory(runs: [Kernel, Dispatch][]): WebGpuMemory {
  return {
    enqueue: (work: () => void) => work(),
    context: { run: (...args: [Kernel, Dispatch]) => runs.push(args) },
  } as unknown as WebGpuMemory;
}

const TABLE = Array.from({ length: 16 }, (_, i) => i / 2);
const BIND = {
  out: span(30),
  ids: { span: span(20), first: 7 },
  x: { span: span(10), first: 4, stride: 5, step: 6 },
};
const ORDINARY = { params: { by: 0.5, rows: 3, table: TABLE }, groups: [1] };

Deno.test("gpu kernel: parameters, bindings and builtins are declared from its description", () => {
  const { code } = sample(true);
  assert.match(
    code,
    /struct Params \{\n {2}table: array<vec4f, 4>,\n {2}rows: u32,\n {2}by: f32,\n {2}x: u32,\n {2}xStride: u32,\n {2}xStep: u32,\n {2}ids: u32,\n {2}other: u32,\n {2}otherStride: u32,\n\}/,
  );
  assert.deepEqual(code.match(/@binding\(.*;/g), [
    "@binding(0) var<uniform> p: Params;",
    "@binding(1) var<storage, read> x: array<vec4f>;",
    "@binding(2) var<storage, read> ids: array<u32>;",
    "@binding(3) var<storage, read> other: array<f32>;",
    "@binding(4) var<storage, read_write> out: array<f32>;",
  ]);
  assert.match(code, /workgroup_size\(8\)/);
  assert.match(code, /workgroup_id/);
  assert.doesNotMatch(code, /num_workgroups|local_invocation/);
  assert.doesNotMatch(sample(false).code, /other/);
});

Deno.test("gpu kernel: a call is packed in the order of the declarations", () => {
  const runs: [Kernel, Dispatch][] = [];
  run(memory(runs), sample(false), {
    ...ORDINARY,
    groups: [1],
    bind: BIND,
  });
  const [[, { params, reads, writes }]] = runs;
  assert.deepEqual(params, [
    ...TABLE.map((f32) => ({ f32 })),
    ...[3, { f32: 0.5 }, 4, 5, 6, 7],
  ]);
  assert.deepEqual(reads.map(({ at }) => at), [10, 20]);
  assert.deepEqual(writes.map(({ at }) => at), [30]);
});

Deno.test("gpu kernel: a call that does not fit is a compile error, and one of another variant throws", () => {
  const call = { ...ORDINARY, groups: [1] as [number], bind: BIND };
  const params = { by: 0.5, rows: 3, table: TABLE };
  const take = (_: () => void) => {};
  const it = memory([]);
  // @ts-expect-error: a parameter is missing
  take(() => run(it, sample(false), { ...call, params: { rows: 3, by: 1 } }));
  // @ts-expect-error: there is no such parameter
  take(() => run(it, sample(false), { ...call, params: { ...params, of: 1 } }));
  // @ts-expect-error: there is no such binding
  take(() => run(it, sample(false), { ...call, bind: { ...BIND, y: BIND.x } }));
  const flat = { ...BIND, x: BIND.ids };
  // @ts-expect-error: a matrix wants a stride
  take(() => run(it, sample(true), { ...call, bind: flat }));
  assert.throws(() => run(it, sample(true), call), /without other/);
});
