import assert from "node:assert/strict";
import { assertConforms, RUNS } from "../helpers/conformance.ts";
import { CORE_OPERATIONS } from "../../src/device/operations.ts";
import { gpuTest } from "../helpers/gpu.ts";
import { TABLE } from "./table.ts";
import { Workspace } from "./workspace.ts";

for (const { name, title, threads, open } of RUNS) {
  const test = name === "webgpu" ? gpuTest : Deno.test;
  test(`conformance: ${title}`, async (t) => {
    using device = await open();
    assert.equal(device.threads, threads);
    for (const op of CORE_OPERATIONS) {
      const cases = TABLE.filter((row) => row.op === op);
      assert.ok(cases.length > 0, `no case for ${op}`);
      await t.step(
        `${op}: ${cases.length} cases`,
        () => assertConforms(device, cases),
      );
    }

    await t.step("memory: write and read in parts", async () => {
      const before = device.memory.bytes;
      {
        using buffer = device.alloc(37);
        assert.equal(buffer.bytes, 37);
        assert.ok(device.memory.bytes >= before + 37);
        const bytes = Uint8Array.from({ length: 40 }, (_, i) => i);
        device.write(buffer, bytes.subarray(1, 38));
        device.write(buffer, bytes.subarray(3, 6), 30);
        const all = await device.read(buffer);
        assert.equal(all.length, 37);
        assert.deepEqual([...all.subarray(28, 35)], [29, 30, 3, 4, 5, 34, 35]);
        assert.deepEqual([...await device.read(buffer, 5, 2)], [6, 7]);
        all.fill(0);
        assert.equal((await device.read(buffer, 0, 1))[0], 1);
        assert.throws(() => device.write(buffer, bytes), RangeError);
      }
      assert.equal(device.memory.bytes, before);
      assert.ok(device.memory.peakBytes >= before + 37);
      using empty = device.alloc(0);
      assert.equal((await device.read(empty)).length, 0);
    });

    await t.step("shapes are checked before anything runs", () => {
      using w = new Workspace(device);
      assert.throws(
        () =>
          device.ops.gemm({
            a: w.room(2, 3),
            b: w.room(2, 3),
            c: w.room(2, 3),
          }),
        TypeError,
      );
      assert.throws(
        () => device.ops.qr({ y: w.room(2, 3), r: w.room(3, 3) }),
        TypeError,
      );
      assert.throws(
        () =>
          device.ops.quantize({
            w: w.room(2, 3),
            q: w.quant("nf4", { rows: 3, cols: 2 }),
            scale: "absmax",
          }),
        TypeError,
      );
    });
  });
}
