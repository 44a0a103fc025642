/**
 * Counts waits for a device.
 *
 * @module
 */

import type { Device } from "../../src/device/device.ts";

/** A device that counts. */
export interface CountedDevice extends Device {
  /** Waits so far: reads requested while one was under way count with it. */
  readonly waits: number;
}

/** `device`, counting; disposing of it leaves `device` open. */
export function countWaits(device: Device): CountedDevice {
  let waits = 0;
  let underWay = 0;
  return {
    name: device.name,
    description: device.description,
    threads: device.threads,
    ops: device.ops,
    get memory() {
      return device.memory;
    },
    get waits() {
      return waits;
    },
    alloc: (bytes) => device.alloc(bytes),
    write: (buffer, data, at) => device.write(buffer, data, at),
    async read(buffer, at, bytes) {
      if (underWay++ === 0) waits++;
      try {
        return await device.read(buffer, at, bytes);
      } finally {
        underWay--;
      }
    },
    [Symbol.dispose]() {},
  };
}
