import assert from "node:assert/strict";
import { loftq } from "../../../src/api/loftq.ts";
import * as qalora from "../../../src/api/qalora.ts";
import { openDevice } from "../../../src/backend/open.ts";
import type { Device } from "../../../src/device/device.ts";
import { DeviceFaultError } from "../../../src/device/errors.ts";
import { Random } from "../../../src/tensor/random.ts";
import { normalMatrix } from "../../helpers/inputs.ts";
import { countWaits } from "../../helpers/waits.ts";

const wasm = await openDevice("wasm", { threads: 1 });
const weight = normalMatrix(new Random(1), 72, 96);

const WAYS: Readonly<Record<string, (device: Device) => Promise<unknown>>> = {
  "loftq()": (device) =>
    loftq(weight, { format: "nf4", rank: 8, iterations: 3, device }),
  "loftq() with exact SVDs": (device) =>
    loftq(weight, {
      ...{ format: "nf2", rank: 8, iterations: 2, device },
      svd: "exact",
    }),
  "qalora.layer()": (device) =>
    qalora.layer(weight, { format: "int3", rank: 4, iterations: 2, device }),
};

for (const [name, run] of Object.entries(WAYS)) {
  Deno.test(`${name}: a failure of its device at any read is the caller's, as it is`, async () => {
    let reads = 0;
    /** Rejects read number `at`, from 1. */
    const failing = (at: number, fault: Error): Device => {
      reads = 0;
      return {
        ...countWaits(wasm),
        read: async (...range: Parameters<Device["read"]>) => {
          if (++reads === at) throw fault;
          return await wasm.read(...range);
        },
        memory: wasm.memory,
      };
    };
    await run(failing(0, new Error("unused")));
    const all = reads;
    assert.ok(all > 3, `${all} reads`);
    for (let at = 1; at <= all; at++) {
      const fault = new DeviceFaultError(`read ${at} of ${all}`);
      await assert.rejects(run(failing(at, fault)), (error) => {
        assert.equal(error, fault);
        return true;
      });
    }
  });
}
