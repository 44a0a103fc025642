/**
 * Runs rows of the conformance table on a device of a test's own.
 *
 * @module
 */

import type {
  Device,
  DeviceName,
  PartialDevice,
} from "../../src/device/device.ts";
import { DEVICE_NAMES, openDevice } from "../../src/backend/open.ts";
import { openReferenceDevice } from "../../src/device/reference/device.ts";
import { openWasmDevice } from "../../wasm/device.ts";
import type { Case } from "../conformance/table.ts";
import { Workspace } from "../conformance/workspace.ts";

/** A device that the table is run on. */
export interface ConformanceRun {
  readonly name: DeviceName;
  /** Its name in tests. */
  readonly title: string;
  readonly threads: number;
  open(): Promise<Device>;
}

/** Every device of the build, on one thread and on three where it has them, and wasm without relaxed SIMD. */
export const RUNS: readonly ConformanceRun[] = [
  ...DEVICE_NAMES.flatMap((name) =>
    (name === "wasm" ? [1, 3] : [1]).map((threads): ConformanceRun => ({
      ...{ name, threads },
      title: `${name}, ${threads} threads`,
      open: () => openDevice(name, { threads }),
    }))
  ),
  {
    ...{ name: "wasm", threads: 2 },
    title: "wasm without relaxed SIMD, 2 threads",
    async open() {
      const options = { threads: 2, relaxed: false };
      return await openWasmDevice(options) as Device;
    },
  },
];

/** Runs `rows`; gives a line for each that does not hold or leaves memory behind. Only the operations of the rows are asked for. */
export async function failuresOf(
  device: PartialDevice,
  rows: readonly Case[],
): Promise<string[]> {
  const whole = device as Device;
  using oracle = await openReferenceDevice() as Device;
  const failures: string[] = [];
  for (const row of rows) {
    const before = whole.memory.bytes;
    using w = new Workspace(whole);
    using oracleWorkspace = new Workspace(oracle);
    try {
      await row.run({ device: whole, w, oracle, oracleWorkspace });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      failures.push(`${row.op} ${row.name} [${row.why}]: ${why}`);
    }
    w[Symbol.dispose]();
    if (whole.memory.bytes !== before) {
      failures.push(`${row.op} ${row.name} leaks`);
    }
  }
  return failures;
}

/** Asserts that there are rows and that all hold. */
export async function assertConforms(
  device: PartialDevice,
  rows: readonly Case[],
): Promise<void> {
  if (rows.length === 0) throw new Error("no rows to run");
  const failures = await failuresOf(device, rows);
  if (failures.length === 0) return;
  throw new Error(
    `${failures.length} of ${rows.length} cases fail on ${device.description}:\n${
      failures.slice(0, 20).join("\n")
    }`,
  );
}
