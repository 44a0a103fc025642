/**
 * Failures of a device besides bad arguments.
 *
 * @module
 */

import { markMeant, ValueError } from "../errors.ts";

/**
 * The device is gone, with all that it held: reset, unplugged, destroyed. What was computed on it must be computed
 * again, elsewhere.
 */
export class DeviceLostError extends Error {
  /** For those who cannot ask for the class. */
  override readonly name = "DeviceLostError";
}

/** The device reported an error of its own: a shader it cannot compile, a dispatch it refuses, memory it has not. */
export class DeviceFaultError extends Error {
  /** For those who cannot ask for the class. */
  override readonly name: "DeviceFaultError" | "DeviceAbsentError" =
    "DeviceFaultError";
}

/** There is no such device on this machine. */
export class DeviceAbsentError extends DeviceFaultError {
  /** For those who cannot ask for the class. */
  override readonly name = "DeviceAbsentError";
}

/** More memory was asked of the device than it can give at once; another device may have it. */
export class DeviceMemoryError extends ValueError {
  /** For those who cannot ask for the class. */
  override readonly name = "DeviceMemoryError";
}

/** The device lacks operations that the work needs. */
export class DeviceLacksError extends ValueError {
  /** For those who cannot ask for the class. */
  override readonly name = "DeviceLacksError";
}

for (const Kind of [DeviceLostError, DeviceFaultError]) markMeant(Kind);

/** A failure of the device, not of its caller. */
export type DeviceFailure =
  | DeviceLostError
  | DeviceFaultError
  | DeviceMemoryError;

/** True if `error` is a failure of the device, so that the same work may succeed on another. */
export function isDeviceFailure(error: unknown): error is DeviceFailure {
  return error instanceof DeviceLostError ||
    error instanceof DeviceFaultError || error instanceof DeviceMemoryError;
}
