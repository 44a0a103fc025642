/**
 * Tests that need a GPU, and GPUs with faults.
 *
 * A test's name has the adapter that it ran on; without one it is reported as ignored, and with LOQA_REQUIRE_GPU=1 it
 * fails. Any adapter will do, one in software too.
 *
 * @module
 */

import { type AdapterFacts, findAdapter } from "../../gpu/adapter.ts";
import type { DeviceName } from "../../src/device/device.ts";
import { DEVICE_NAMES } from "../../src/backend/open.ts";
import { openWebGpuDevice, type WebGpuDevice } from "../../gpu/device.ts";

// Mesa's drivers complain on stderr where they know no such folder; the command line sets it too.
if (Deno.build.os === "linux" && !Deno.env.get("XDG_RUNTIME_DIR")) {
  Deno.env.set("XDG_RUNTIME_DIR", "/tmp");
}

/** Facts of the adapter; null where there is none. */
export const ADAPTER: AdapterFacts | null = await findAdapter().catch(() =>
  null
);

const REQUIRED = Deno.env.get("LOQA_REQUIRE_GPU") === "1";

/** True if tests on the GPU are left out. */
export const NO_GPU: boolean = ADAPTER === null && !REQUIRED;

/** `name` with the adapter's, or with why the test is left out. */
export function onAdapter(name: string): string {
  return `${name} [${ADAPTER?.description ?? "no WebGPU adapter here"}]`;
}

/** A test that needs an adapter. */
export function gpuTest(
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  Deno.test({ name: onAdapter(name), ignore: NO_GPU, fn });
}

/** A test of every device, that of the GPU as {@linkcode gpuTest} does it. */
export function eachDevice(
  nameOf: (device: DeviceName) => string,
  fn: (device: DeviceName, t: Deno.TestContext) => void | Promise<void>,
): void {
  for (const device of DEVICE_NAMES) {
    const test = device === "webgpu" ? gpuTest : Deno.test;
    test(nameOf(device), (t) => fn(device, t));
  }
}

/** Faults of a GPU. */
export interface Faults {
  /** Info of the adapter, in place of the true one. */
  readonly info?: Partial<GPUAdapterInfo>;
  /** Breaks a device, when the adapter gives it. */
  readonly device?: (device: GPUDevice) => void;
}

/** `navigator.gpu` with faults. */
export function faultyGpu({ info, device }: Faults): GPU {
  const real = navigator.gpu;
  const gpu: Pick<GPU, "requestAdapter" | "wgslLanguageFeatures"> = {
    wgslLanguageFeatures: real.wgslLanguageFeatures,
    async requestAdapter(options) {
      const adapter = await real.requestAdapter(options);
      return adapter && {
        info: info ?? adapter.info,
        limits: adapter.limits,
        features: adapter.features,
        async requestDevice(descriptor: GPUDeviceDescriptor) {
          const opened = await adapter.requestDevice(descriptor);
          device?.(opened);
          return opened;
        },
      } as unknown as GPUAdapter;
    },
  };
  return gpu as GPU;
}

/** An adapter that says it is hardware. */
export const HARDWARE: Partial<GPUAdapterInfo> = {
  description: "Test GPU 9000",
  vendor: "test",
};

/** A device on a GPU with this fault. */
export function openFaulty(
  device: (device: GPUDevice) => void,
): Promise<WebGpuDevice> {
  return openWebGpuDevice({ gpu: faultyGpu({ device }) });
}
