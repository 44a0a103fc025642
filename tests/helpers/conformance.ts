/**
 * Runs rows of the conformance table on a device of a test's own.
 *
 * @module
 */

import type { Device, PartialDevice } from "../../src/device/device.ts";
import { openReferenceDevice } from "../../src/device/reference.ts";
import type { Case } from "../conformance/table.ts";
import { Workspace } from "../conformance/workspace.ts";

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
