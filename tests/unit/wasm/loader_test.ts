import assert from "node:assert/strict";
import { KERNELS_BASE64 } from "../../../wasm/generated/kernels.ts";
import { type Kernels, openKernels } from "../../../wasm/runtime/loader.ts";
import { withOwnMemory } from "../../../wasm/runtime/memory.ts";
import { relaxedIsExact, TRIAL_BYTES } from "../../../wasm/runtime/trial.ts";
import { replaced } from "../../helpers/globals.ts";

/** Sums of squares of `rows` rows of 100 values, by a job on `parts` threads. */
function sums(kernels: Kernels, rows: number, parts: number): number[] {
  const x = kernels.alloc(rows * 400);
  const out = kernels.alloc(rows * 4);
  for (let i = 0; i < rows * 100; i++) {
    kernels.f32[x / 4 + i] = Math.sin(i);
  }
  kernels.run("rowSquares", parts, {
    x: { origin: x, stride: 400 },
    ...{ rows, cols: 100, out },
  });
  const result = Array.from(
    kernels.f32.subarray(out / 4, out / 4 + rows),
  );
  kernels.free(x);
  kernels.free(out);
  return result;
}

/** Runs `body` with a global replaced. */
async function withGlobal(
  name: "Worker" | "SharedArrayBuffer" | "Blob",
  value: unknown,
  body: () => Promise<void>,
): Promise<void> {
  const before = Object.getOwnPropertyDescriptor(globalThis, name)!;
  Object.defineProperty(globalThis, name, { ...before, value });
  try {
    await body();
  } finally {
    Object.defineProperty(globalThis, name, before);
  }
}

Deno.test("loader: jobs give the same on one thread, on three, and without shared memory", async () => {
  using one = await openKernels({ threads: 1 });
  using three = await openKernels({ threads: 3 });
  using own = await openKernels({ threads: 3, shared: false });
  assert.deepEqual([one.threads, three.threads, own.threads], [1, 3, 1]);
  const expected = sums(one, 11, 1);
  assert.deepEqual(sums(three, 11, 3), expected);
  assert.deepEqual(sums(three, 11, 2), expected);
  assert.deepEqual(sums(own, 11, 1), expected);
});

Deno.test("loader: many small jobs in a row, with pauses that let threads fall asleep", async () => {
  using kernels = await openKernels({ threads: 2 });
  const expected = sums(kernels, 5, 1);
  for (let i = 0; i < 2000; i++) {
    assert.deepEqual(sums(kernels, 5, 2), expected);
    if (i % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
});

for (const shared of [true, false]) {
  Deno.test(`loader: memory grows and keeps what it holds (${shared ? "shared" : "unshared"})`, async () => {
    using kernels = await openKernels({ threads: 1, shared });
    const first = kernels.alloc(8);
    kernels.f32[first / 4] = 1.5;
    const before = kernels.u8;
    const large = kernels.alloc(50_000_000);
    assert.notEqual(kernels.u8, before);
    kernels.u8[large + 49_999_999] = 7;
    assert.equal(kernels.f32[first / 4], 1.5);
    assert.equal(kernels.u8[large + 49_999_999], 7);
    kernels.free(large);
    assert.equal(kernels.alloc(50_000_000), large);
  });
}

Deno.test("loader: what does not fit throws and names the size", async () => {
  using kernels = await openKernels({ threads: 1 });
  const used = kernels.bytes;
  assert.throws(
    () => kernels.alloc(5_000_000_000),
    (error) =>
      error instanceof RangeError && error.message.includes("5000000000"),
  );
  assert.throws(() => kernels.alloc(-1), RangeError);
  assert.throws(() => kernels.alloc(1.5), RangeError);
  assert.equal(kernels.bytes, used);
  kernels.free(kernels.alloc(1000));
});

Deno.test("loader: scratch memory is reused, and not counted", async () => {
  using kernels = await openKernels({ threads: 1 });
  const small = kernels.scratch(1000);
  assert.equal(kernels.scratch(2000), small);
  kernels.scratch(10_000_000);
  assert.equal(kernels.bytes, 0);
});

for (
  const [what, name, value] of [
    ["no Worker", "Worker", undefined],
    ["no SharedArrayBuffer", "SharedArrayBuffer", undefined],
    ["no Blob", "Blob", undefined],
    [
      "a Worker that throws",
      "Worker",
      class {
        constructor() {
          throw new DOMException("not here", "SecurityError");
        }
      },
    ],
    [
      "a Worker that fails to start",
      "Worker",
      class extends EventTarget {
        onerror: ((event: Event) => void) | null = null;
        postMessage(): void {
          queueMicrotask(() => this.onerror?.(new Event("error")));
        }
        terminate(): void {}
      },
    ],
  ] as const
) {
  Deno.test(`loader: with ${what} there is one thread`, async () => {
    await withGlobal(name, value, async () => {
      using kernels = await openKernels({ threads: 4 });
      assert.equal(kernels.threads, 1);
      assert.equal(sums(kernels, 3, 4).length, 3);
    });
  });
}

Deno.test("loader: where relaxed SIMD is not known, the plain build", async () => {
  const { compile } = WebAssembly;
  const asked: number[] = [];
  using _ = replaced(
    WebAssembly,
    "compile",
    (bytes: Uint8Array<ArrayBuffer>) => {
      asked.push(bytes.length);
      if (bytes.length === asked[0]) {
        throw new WebAssembly.CompileError("invalid simd opcode");
      }
      return compile(bytes);
    },
  );
  using kernels = await openKernels({ threads: 2 });
  assert.equal(kernels.relaxed, false);
  assert.equal(asked.length, 2);
  using usual = await openKernels({ threads: 1, relaxed: false });
  assert.deepEqual(sums(kernels, 4, 2), sums(usual, 4, 1));
});

Deno.test("loader: where relaxed SIMD rounds otherwise, the plain build", async () => {
  const memory = new Uint8Array(TRIAL_BYTES);
  for (const relaxed of [true, false]) {
    using kernels = await openKernels({ threads: 1, relaxed });
    const at = kernels.alloc(TRIAL_BYTES);
    const run = (wrong?: number) => (place: number): void => {
      assert.equal(place, 0);
      kernels.u8.set(memory, at);
      kernels.steps.relaxed(at);
      memory.set(kernels.u8.subarray(at, at + TRIAL_BYTES));
      if (wrong !== undefined) memory[wrong] ^= 1;
    };
    assert.ok(relaxedIsExact(run(), memory.buffer, 0));
    for (const wrong of [112, 127, 128, 144, 160, 176, 191]) {
      assert.ok(!relaxedIsExact(run(wrong), memory.buffer, 0), `${wrong}`);
    }
  }
  const { instantiate } = WebAssembly;
  using _ = replaced(
    WebAssembly,
    "instantiate",
    async (module: WebAssembly.Module, imports: WebAssembly.Imports) => {
      const { exports } = await instantiate(module, imports);
      return { exports: { ...exports, relaxed() {} } };
    },
  );
  using kernels = await openKernels({ threads: 1 });
  assert.equal(kernels.relaxed, false);
});

Deno.test("loader: a job's words may be f32", async () => {
  using kernels = await openKernels({ threads: 2 });
  const out = kernels.alloc(256);
  kernels.run("peakJob", 2, { n: 3, x: 2, y: 0.25, out });
  // Twelve sums of four lanes start at 0.5, 1.5 … 11.5 and take three times 2 * 0.25.
  assert.equal(kernels.f32[out / 4], 72 + 12 * 1.5);
  assert.equal(kernels.f32[out / 4 + 16], 72 + 12 * 1.5);
});

Deno.test("loader: after disposal nothing runs", async () => {
  const kernels = await openKernels({ threads: 2 });
  kernels[Symbol.dispose]();
  kernels[Symbol.dispose]();
  assert.throws(() => kernels.alloc(1), TypeError);
  assert.throws(
    () => kernels.run("peakJob", 1, { n: 1, x: 1, y: 1, out: 0 }),
    TypeError,
  );
});

Deno.test("memory: only the kernels' own import can be made unshared", () => {
  const bytes = Uint8Array.fromBase64(KERNELS_BASE64);
  const patched = withOwnMemory(bytes);
  const changed = [...bytes.keys()].filter((i) => bytes[i] !== patched[i]);
  assert.equal(changed.length, 1);
  assert.throws(() => withOwnMemory(patched), SyntaxError);
  assert.throws(
    () => withOwnMemory(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)),
    SyntaxError,
  );
});
