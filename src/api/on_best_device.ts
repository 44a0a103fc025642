/**
 * The place of a piece of maths where the caller may leave it open: the device given, or the best one.
 *
 * @module
 */

import type { OptionTable } from "../arguments.ts";
import { onBestDevice } from "../backend/fallback.ts";
import { openDevice } from "../backend/open.ts";
import type { Device } from "../device/device.ts";

/** Where to work. */
export interface DeviceOptions {
  /** Where to work; by default a device opened for this call, and the CPU after all if that is a GPU and fails. */
  readonly device?: Device;
  /** Takes a line about a GPU that failed, where no device is given. */
  readonly onWarning?: (line: string) => void;
}

/** The names of {@linkcode DeviceOptions}, for a table of options. */
export const DEVICE_OPTIONS: OptionTable<DeviceOptions> = {
  device: false,
  onWarning: false,
};

/** Does `work` on the device given, or on the best one. */
export async function onDevice<T>(
  { device, onWarning }: DeviceOptions,
  work: (device: Device) => Promise<T>,
): Promise<T> {
  return device ? await work(device) : await onBestDevice(work, { onWarning });
}

let shared: Promise<Device> | undefined;

/**
 * The one-thread CPU device of calls that name none and handle one matrix, opened once and kept for the life of the
 * module: on a GPU, most of their work would be carrying it there and back.
 */
export function sharedDevice(): Promise<Device> {
  return shared ??= openDevice("auto", { threads: 1, gpu: null });
}
