/**
 * The conformance table of all devices: cases, each with its tolerance and the reason for it.
 *
 * @module
 */

import type { Device } from "../../src/device/device.ts";
import type { OperationName } from "../../src/device/operations.ts";
import { gemmTable } from "./gemm_cases.ts";
import { gemmInt8Table, gemmQuantizedTable } from "./gemm_quant_cases.ts";
import { linalgTable } from "./linalg_cases.ts";
import { quantTable } from "./quant_cases.ts";
import type { Workspace } from "./workspace.ts";

/** Context of a case. */
export interface Tools {
  /** The device under test. */
  readonly device: Device;
  /** Memory on it. */
  readonly w: Workspace;
  /** The reference device. */
  readonly oracle: Device;
  /** Memory there. */
  readonly oracleWorkspace: Workspace;
}

/** One row of the table. */
export interface Case {
  readonly op: OperationName;
  readonly name: string;
  /** Reason for the tolerance, one line. */
  readonly why: string;
  /** Throws where the device does not conform. */
  run(tools: Tools): Promise<void>;
}

/** Every case. The oracle runs them too: each also compares with a naive formula or a property. */
export const TABLE: readonly Case[] = [
  ...gemmTable(),
  ...quantTable(),
  ...gemmQuantizedTable(),
  ...gemmInt8Table(),
  ...linalgTable(),
];
