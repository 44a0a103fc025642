/**
 * The loss on the WASM device. The kernel: `wasm/assembly/norm/loss.ts`.
 *
 * @module
 */

import type {
  MemoryOperations,
  OperationArgs,
} from "../../src/device/operations.ts";
import type { WasmMemory } from "../buffers.ts";
import { place, SLOW_GRAIN, wantIds } from "../words.ts";

/** Values of a chunk of logits, as `wasm/assembly/norm/loss.ts` has it. */
const CHUNK = 2048;

function crossEntropy(
  memory: WasmMemory,
  args: OperationArgs<"crossEntropy">,
): void {
  const { logits, labels, losses, gradient } = args;
  const { rows, cols } = logits;
  wantIds(memory, "crossEntropy: labels", {
    at: labels,
    count: rows,
    limit: cols,
    negative: true,
  });
  // A chunk and the maximum of each, on whole cache lines.
  const scratchBytes = CHUNK * 4 + Math.ceil(cols / CHUNK / 16) * 64;
  memory.kernels.run("crossEntropy", memory.parts(rows * cols, SLOW_GRAIN), {
    rows,
    cols,
    logits: place(memory, logits),
    labels: memory.address(labels),
    losses: memory.address(losses),
    graded: gradient === undefined ? 0 : 1,
    factor: gradient ?? 0,
    scratch: memory.scratch(scratchBytes),
    scratchBytes,
  });
}

/** These operations, in a memory of the device. */
export const lossOperations = {
  crossEntropy,
} satisfies MemoryOperations<WasmMemory>;
