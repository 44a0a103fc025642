import assert from "node:assert/strict";
import { loftq } from "../../../src/api/loftq.ts";
import { dequantize, quantize, svd } from "../../../src/api/matrices.ts";
import { onDevice, sharedDevice } from "../../../src/api/on_best_device.ts";
import { biases, layer, start } from "../../../src/api/qalora.ts";
import * as qalora from "../../../src/api/qalora.ts";
import { openDevice } from "../../../src/backend/open.ts";
import { Random } from "../../../src/tensor/random.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { countWaits } from "../../helpers/waits.ts";

const weight = normalMatrix(new Random(0), 8, 64);

Deno.test("work is done on the device given, which stays open", async () => {
  using wasm = await openDevice("wasm", { threads: 1 });
  assert.equal(
    await onDevice({ device: wasm }, (x) => Promise.resolve(x)),
    wasm,
  );
  const int4 = { format: "int4", block: 32, rank: 2 } as const;
  const { rank: _, ...groups } = int4;
  const base = await qalora.quantize(weight, groups);
  const waits = async (work: (device: typeof wasm) => Promise<unknown>) => {
    const device = countWaits(wasm);
    await work(device);
    return device.waits;
  };
  for (
    const work of [
      (device) => quantize(weight, { format: "nf4", device }),
      (device) => dequantize(base, { device }),
      (device) => svd(weight, { rank: 2, device }),
      (device) => loftq(weight, { format: "nf4", rank: 2, device }),
      (device) => qalora.quantize(weight, { ...groups, device }),
      (device) => start(weight, { ...int4, device }),
      (device) => layer(weight, { ...int4, biases: true, device }),
      (device) => biases(weight, base, { device }),
    ] satisfies ((device: typeof wasm) => Promise<unknown>)[]
  ) assert.ok(await waits(work) > 0, String(work));
  assert.equal(wasm.memory.bytes, 0);
});

Deno.test("without a device the results are the same", async () => {
  using device = await openDevice("auto", { gpu: null });
  const int4 = { format: "int4", block: 32, rank: 2 } as const;
  assert.deepEqual(
    await layer(weight, int4),
    await layer(weight, { ...int4, device }),
  );
  const nf4 = { format: "nf4", block: 32 } as const;
  assert.deepEqual(
    await quantize(weight, nf4),
    await quantize(weight, { ...nf4, device }),
  );
  assert.equal(await sharedDevice(), await sharedDevice());
});

Deno.test("options are looked at before a device is opened", async () => {
  let opened = false;
  const navigator = globalThis.navigator as { gpu?: unknown };
  const gpu = Object.getOwnPropertyDescriptor(navigator, "gpu");
  Object.defineProperty(navigator, "gpu", {
    configurable: true,
    get: () => void (opened = true),
  });
  try {
    for (const call of [loftq, layer, start, qalora.quantize]) {
      await assert.rejects(
        (call as (...given: unknown[]) => Promise<unknown>)(weight),
        /wanted an object of options, got nothing/,
      );
    }
  } finally {
    if (gpu) Object.defineProperty(navigator, "gpu", gpu);
    else delete navigator.gpu;
  }
  assert.equal(opened, false);
});
