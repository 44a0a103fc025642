/**
 * Tests of every device that can run a model.
 *
 * @module
 */

import type { Device, DeviceName } from "../../src/device/device.ts";
import { NETWORK_OPERATIONS } from "../../src/device/operations.ts";
import { DEVICE_NAMES, openDevice } from "../../src/backend/open.ts";
import { gpuTest, NO_GPU } from "./gpu.ts";

/** Missing operations of each device for running a model. */
const MISSING = new Map<DeviceName, readonly string[]>();
for (const name of DEVICE_NAMES) {
  if (name === "webgpu" && NO_GPU) continue;
  using device = await openDevice(name);
  const { ops } = device as { ops: Partial<Device["ops"]> };
  MISSING.set(
    name,
    ([...NETWORK_OPERATIONS, "gemmQuantized"] as const).filter((op) =>
      ops[op] === undefined
    ),
  );
}

/**
 * A test of every device that can run a model; for the others it lists the missing operations. Many passes are for the CPU's
 * (`gpu` false): a GPU in software takes a minute for what they do in a second.
 */
export function networkTest(
  nameOf: (device: DeviceName) => string,
  fn: (device: Device, t: Deno.TestContext) => void | Promise<void>,
  { gpu = true }: { gpu?: boolean } = {},
): void {
  for (const name of DEVICE_NAMES) {
    if (name === "webgpu" && !gpu) continue;
    const missing = MISSING.get(name) ?? [];
    if (missing.length > 0) {
      const lacks = missing.length > 2
        ? `${missing.length} operations`
        : missing.join(", ");
      Deno.test({
        name: `${nameOf(name)} (it lacks ${lacks})`,
        ignore: true,
        fn() {},
      });
      continue;
    }
    const test = name === "webgpu" ? gpuTest : Deno.test;
    test(nameOf(name), async (t) => {
      using device = await openDevice(name);
      await fn(device, t);
    });
  }
}
