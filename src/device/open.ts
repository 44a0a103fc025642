/**
 * Opens a device by name: a table of them, each reached by a dynamic import.
 *
 * @module
 */

import type {
  Device,
  DeviceName,
  OperationName,
  PartialDevice,
} from "./device.ts";
import { OPERATIONS } from "./device.ts";

/** Options of {@linkcode openDevice}. */
export interface OpenOptions {
  /** Threads to work with, the calling one included (1). Devices without threads ignore it. */
  readonly threads?: number;
  /** Takes one line for a person when `auto` had to settle for less. */
  readonly onNote?: (line: string) => void;
}

type Opener = (options: OpenOptions) => Promise<PartialDevice>;

/** The devices of this build. Adding one is its folder and a line here. */
const DEVICES: Partial<Record<DeviceName, Opener>> = {
  wasm: async ({ threads }) =>
    (await import("./wasm.ts")).openWasmDevice({ threads }),
  reference: async () => (await import("./reference.ts")).openReferenceDevice(),
};

/** What `auto` tries, best first. */
const AUTO: readonly DeviceName[] = ["wasm", "reference"];

/** Names of the devices that this build has, best first. */
export const DEVICE_NAMES: readonly DeviceName[] = Object.keys(
  DEVICES,
) as DeviceName[];

/** Operations of the contract that `device` lacks. */
export function missingOperations(device: PartialDevice): OperationName[] {
  return OPERATIONS.filter((name) => device.ops[name] === undefined);
}

async function openByName(
  name: DeviceName,
  options: OpenOptions,
): Promise<Device> {
  const open = Object.hasOwn(DEVICES, name) ? DEVICES[name] : undefined;
  if (open === undefined) {
    throw new RangeError(
      `Cannot open device "${name}": this build has ${DEVICE_NAMES.join(", ")}`,
    );
  }
  const device = await open(options);
  const missing = missingOperations(device);
  if (missing.length > 0) {
    device[Symbol.dispose]();
    throw new RangeError(
      `Cannot open device "${name}": it lacks ${missing.join(", ")}`,
    );
  }
  return device as Device;
}

/**
 * Opens a device. `auto` takes the best that works here and never fails: without WebAssembly or relaxed SIMD
 * it is the plain TypeScript one, with a line to `onNote`.
 *
 * @throws {RangeError} If a device asked for by name is not in this build, cannot run here, or lacks operations
 * (the message lists them).
 */
export async function openDevice(
  name: "auto" | DeviceName = "auto",
  options: OpenOptions = {},
): Promise<Device> {
  if (name !== "auto") return await openByName(name, options);
  const notes: string[] = [];
  for (const candidate of AUTO) {
    try {
      const device = await openByName(candidate, options);
      if (notes.length > 0) {
        options.onNote?.(`${notes.join("; ")}; using ${device.description}`);
      }
      return device;
    } catch (error) {
      notes.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new RangeError(`Cannot open a device: ${notes.join("; ")}`);
}
