/**
 * Goes on elsewhere when a GPU fails in the middle of a piece of work.
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import { DeviceLostError, isDeviceFailure } from "../device/errors.ts";
import { openDevice, type OpenOptions } from "./open.ts";

/**
 * Opens the best device but the GPU in place of one that failed or lacks something; one line to `onWarning` says so.
 *
 * @example
 * ```ts
 * import { openInstead } from "@loqa/loqa/init";
 *
 * const failure = new Error("the GPU was lost");
 * using device = await openInstead(failure, { onWarning: console.error });
 * console.log(device.name);
 * ```
 */
export async function openInstead(
  failure: Error,
  options: OpenOptions = {},
): Promise<Device> {
  const device = await openDevice("auto", { ...options, gpu: null });
  options.onWarning?.(`${failure.message}; using ${device.description}`);
  return device;
}

/**
 * Does `work` on the best device, opened for it alone; if a GPU fails, does it once more on the CPU. A GPU that was
 * lost is passed over by `auto` from then on.
 */
export async function onBestDevice<T>(
  work: (device: Device) => Promise<T>,
  options: OpenOptions = {},
): Promise<T> {
  try {
    using device = await openDevice("auto", options);
    return await work(device);
  } catch (error) {
    const { gpu = globalThis.navigator?.gpu } = options;
    if (!gpu || !isDeviceFailure(error)) throw error;
    if (error instanceof DeviceLostError) {
      (await import("./choose.ts")).distrust(gpu, error.message);
    }
    using device = await openInstead(error, options);
    return await work(device);
  }
}
