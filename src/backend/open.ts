/**
 * Opens a device by name: a table of them, each reached by a dynamic import.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Device, DeviceName, PartialDevice } from "../device/device.ts";
import {
  CORE_OPERATIONS,
  NETWORK_OPERATIONS,
  type OperationName,
} from "../device/operations.ts";
import { DeviceLacksError } from "../device/errors.ts";

/** Options of {@linkcode openDevice}. */
export interface OpenOptions {
  /** Threads to work with, the calling one included (1). Devices without threads ignore it. */
  readonly threads?: number;
  /** True if the work needs the operations of a transformer too; not every device has them. */
  readonly network?: boolean;
  /** Entry to WebGPU: `navigator.gpu` without it, none if null. */
  readonly gpu?: GPU | null;
  /** Called with details, a line each: the GPU, and the reason for which `auto` takes it or not. */
  readonly onNote?: (line: string) => void;
  /** Called with warnings, a line each: a device that does not work, and its replacement. */
  readonly onWarning?: (line: string) => void;
}

type Opener = (options: OpenOptions) => Promise<PartialDevice>;

/** The devices of this build. Adding one is its folder and a line here. */
const DEVICES: Partial<Record<DeviceName, Opener>> = {
  wasm: async ({ threads }) =>
    (await import("../../wasm/device.ts")).openWasmDevice({ threads }),
  webgpu: async ({ gpu }) =>
    (await import("../../gpu/device.ts")).openWebGpuDevice({ gpu }),
  reference: async () =>
    (await import("../device/reference/device.ts")).openReferenceDevice(),
};

/** Devices that `auto` tries besides the GPU, best first. */
const CPU: readonly DeviceName[] = ["wasm", "reference"];

/** Names of the devices that this build has. */
export const DEVICE_NAMES: readonly DeviceName[] = Object.keys(
  DEVICES,
) as DeviceName[];

/** Operations of the contract that `device` lacks, those of a transformer counted only with `network`. */
export function missingOperations(
  device: PartialDevice,
  { network = false }: { network?: boolean } = {},
): OperationName[] {
  const wanted = network
    ? [...CORE_OPERATIONS, ...NETWORK_OPERATIONS]
    : CORE_OPERATIONS;
  return wanted.filter((name) => device.ops[name] === undefined);
}

async function openByName(
  name: DeviceName,
  options: OpenOptions,
): Promise<Device> {
  const open = Object.hasOwn(DEVICES, name) ? DEVICES[name] : undefined;
  if (open === undefined) {
    throw new ValueError(
      `Cannot open device "${name}": this build has ${DEVICE_NAMES.join(", ")}`,
    );
  }
  const device = await open(options);
  const missing = missingOperations(device, options);
  if (missing.length > 0) {
    device[Symbol.dispose]();
    throw new DeviceLacksError(
      `Cannot open device "${name}": it lacks ${missing.join(", ")}`,
    );
  }
  return device as Device;
}

async function openCpu(options: OpenOptions): Promise<Device> {
  const faults: string[] = [];
  for (const candidate of CPU) {
    try {
      const device = await openByName(candidate, options);
      if (faults.length > 0) {
        options.onWarning?.(
          `${faults.join("; ")}; using ${device.description}`,
        );
      }
      return device;
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new ValueError(`Cannot open a device: ${faults.join("; ")}`);
}

async function openBest(options: OpenOptions): Promise<Device> {
  const { gpu = globalThis.navigator?.gpu, onNote, onWarning } = options;
  if (!gpu) {
    const device = await openCpu(options);
    if (gpu === undefined) {
      onNote?.(
        `webgpu: this platform has no WebGPU; using ${device.description}`,
      );
    }
    return device;
  }
  const { choose } = await import("./choose.ts");
  const { device, why, broken } = await choose({
    gpu,
    openGpu: () => openByName("webgpu", options),
    openCpu: () => openCpu(options),
  });
  const tell = broken ? onWarning : onNote;
  tell?.(`webgpu: ${why}; using ${device.description}`);
  return device;
}

/**
 * Opens a device. `auto` takes the best that works here and never fails: a GPU in hardware that computes correctly and
 * faster than the CPU (a contest once a process, some tens of milliseconds), else WebAssembly, else plain TypeScript.
 * Any GPU, a software adapter too, is opened by name.
 *
 * @throws {RangeError} If a device asked for by name is not in this build or cannot run here, or
 * ({@linkcode DeviceLacksError}) lacks operations, which the message lists.
 * @throws {DeviceFaultError} If `webgpu` is asked for by name and there is none ({@linkcode DeviceAbsentError}), or it
 * does not open.
 *
 * @example
 * ```ts
 * import { openDevice } from "@loqa/loqa";
 *
 * using device = await openDevice("auto", { onWarning: console.error });
 * console.log(device.description);
 * ```
 */
export async function openDevice(
  name: "auto" | DeviceName = "auto",
  options: OpenOptions = {},
): Promise<Device> {
  return name === "auto"
    ? await openBest(options)
    : await openByName(name, options);
}
