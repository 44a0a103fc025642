import assert from "node:assert/strict";
import { mat } from "../../../src/device/buffer.ts";
import { openWebGpuDevice } from "../../../gpu/device.ts";
import { TABLE } from "../../conformance/table.ts";
import { assertConforms } from "../../helpers/conformance.ts";
import { faultyGpu, gpuTest, HARDWARE } from "../../helpers/gpu.ts";

/** Less than most matrices of the conformance table take; a binding needs 272 bytes besides a row. */
const MOST = 8192;

const OPS = ["gemm", "rowSquares", "scaleColumns"];

const limits = { maxStorageBufferBindingSize: MOST };

/** Rows whose products are not too many once they are split. */
function small(name: string): boolean {
  const [, m, k, n] = /(\d+)x(\d+) \* \d+x(\d+)/.exec(name) ?? [];
  return m === undefined || Number(m) * Number(k) * Number(n) < 2 ** 21;
}

gpuTest("matrices above one binding are split", async () => {
  using device = await openWebGpuDevice({ limits });
  assert.equal(device.context.mostBound, MOST);
  await assertConforms(
    device,
    TABLE.filter(({ op, name }) => OPS.includes(op) && small(name)),
  );
});

gpuTest("matrices above one binding are split, for hardware too", async () => {
  const gpu = faultyGpu({ info: HARDWARE });
  using device = await openWebGpuDevice({ limits, gpu });
  await assertConforms(
    device,
    TABLE.filter(({ op, name }) => op === "gemm" && small(name)),
  );
});

gpuTest("a row above one binding cannot be split: RangeError", async () => {
  using device = await openWebGpuDevice({ limits });
  using buffer = device.alloc(8 * MOST);
  const long = mat(buffer, 1, 2 * MOST);
  using result = device.alloc(4);
  assert.throws(
    () =>
      device.ops.gemm!({
        a: long,
        b: long,
        transB: true,
        c: mat(result, 1, 1),
      }),
    RangeError,
  );
});
