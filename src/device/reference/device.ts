/**
 * The reference device: plain TypeScript, f64 accumulation, one thread. It is the oracle of the conformance table
 * and the fallback where there is no WebAssembly; clear before fast.
 *
 * @module
 */

import { checked } from "../operations.ts";
import { ValueError } from "../../errors.ts";
import type { DeviceBuffer } from "../buffer.ts";
import type { PartialDevice } from "../device.ts";
import { Buffer, Memory, own, u8 } from "./memory.ts";
import { gemmOperations } from "./gemm.ts";
import { quantOperations } from "./quant.ts";
import { columnOperations } from "./columns.ts";
import { linalgOperations } from "./linalg.ts";
import { rowOperations } from "./rows.ts";
import { normOperations } from "./norm.ts";
import { ropeOperations } from "./rope.ts";
import { activationOperations } from "./activation.ts";
import { lossOperations } from "./loss.ts";
import { optimizerOperations } from "./optimizer.ts";
import { scoreOperations } from "./scores.ts";
import { attentionOperations } from "./attention.ts";

/** Opens the reference device. */
export function openReferenceDevice(): Promise<PartialDevice> {
  const memory = new Memory();
  return Promise.resolve({
    name: "reference",
    description: "reference (plain TypeScript, f64, 1 thread)",
    threads: 1,
    memory,
    ops: checked({
      ...gemmOperations,
      ...quantOperations,
      ...columnOperations,
      ...linalgOperations,
      ...attentionOperations,
      ...rowOperations,
      ...normOperations,
      ...ropeOperations,
      ...activationOperations,
      ...lossOperations,
      ...optimizerOperations,
      ...scoreOperations,
    }),
    alloc(bytes: number): DeviceBuffer {
      if (!Number.isInteger(bytes) || bytes < 0) {
        throw new ValueError(
          `Cannot allocate ${bytes} bytes: wanted a whole number >= 0`,
        );
      }
      try {
        return new Buffer(bytes, memory);
      } catch (cause) {
        throw new ValueError(`Cannot allocate ${bytes} bytes`, { cause });
      }
    },
    write(buffer: DeviceBuffer, data: ArrayBufferView, at = 0): void {
      checkRange(buffer, at, data.byteLength);
      u8(buffer).set(
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        at,
      );
    },
    read(
      buffer: DeviceBuffer,
      at = 0,
      bytes = buffer.bytes - at,
    ): Promise<Uint8Array<ArrayBuffer>> {
      checkRange(buffer, at, bytes);
      return Promise.resolve(
        new Uint8Array(own(buffer).data.slice(at, at + bytes)),
      );
    },
    [Symbol.dispose](): void {
      memory.end();
    },
  });
}

function checkRange(buffer: DeviceBuffer, at: number, bytes: number): void {
  if (at < 0 || bytes < 0 || at + bytes > buffer.bytes) {
    throw new ValueError(
      `Cannot reach bytes ${at} to ${
        at + bytes
      } of a buffer: it holds ${buffer.bytes}`,
    );
  }
}
