/**
 * The device of a verb: `--device`, `--threads`, `--verbose`, and notes about them.
 *
 * @module
 */

import type { Device, DeviceName } from "../device/device.ts";
import { DeviceLacksError, isDeviceFailure } from "../device/errors.ts";
import { openInstead } from "../backend/fallback.ts";
import { openDevice, type OpenOptions } from "../backend/open.ts";
import { environment, setEnvironment } from "../io/files/deno.ts";
import type { COMMON } from "./common.ts";
import type { Values } from "./options.ts";

/** Where lines go. */
export interface Lines {
  /** Takes a line for those who asked for more of them. */
  note(line: string): void;
  /** Takes a line that is shown whatever the user asked for. */
  warn(line: string): void;
}

/** Device options of the command line. */
export interface DeviceChoice extends OpenOptions {
  readonly name: "auto" | DeviceName;
}

/** The options of a device; `network` where the verb runs a transformer on it. */
export function readDeviceOptions(
  { device, threads, verbose }: Pick<
    Values<typeof COMMON>,
    "device" | "threads" | "verbose"
  >,
  lines: Lines,
  { network = false }: { network?: boolean } = {},
): DeviceChoice {
  return {
    network,
    name: device,
    threads,
    onNote: verbose ? (line) => lines.note(line) : undefined,
    onWarning: (line) => lines.warn(line),
  };
}

/** Mesa's drivers, woken by the search for a GPU, complain on stderr where they know no such folder; no more than that. */
function quietDrivers(): void {
  if (Deno.build.os === "linux" && !environment("XDG_RUNTIME_DIR")) {
    setEnvironment("XDG_RUNTIME_DIR", "/tmp");
  }
}

/** Opens the device asked for. A GPU that is not there or does not work is no reason to fail: one line, and the CPU. */
export async function openChosen(choice: DeviceChoice): Promise<Device> {
  if (choice.name === "auto" || choice.name === "webgpu") quietDrivers();
  try {
    const device = await openDevice(choice.name, choice);
    if (choice.name !== "auto") choice.onNote?.(`using ${device.description}`);
    return device;
  } catch (error) {
    const another = isDeviceFailure(error) || error instanceof DeviceLacksError;
    if (choice.name !== "webgpu" || !another) throw error;
    return await openInstead(error, choice);
  }
}
