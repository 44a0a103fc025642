/**
 * Whether a checkpoint has the tensors of a decoder.
 *
 * @module
 */

import type { LlamaConfig } from "../../families/decoder.ts";
import { IGNORED, llamaTensors } from "../../families/decoder_tensors.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { checkTensors } from "../parts/tensor_check.ts";

/**
 * Checks that a checkpoint holds the tensors of its config, and no others.
 *
 * @throws {SyntaxError} That lists every tensor that is missing, of another shape, or unknown.
 */
export function checkLlamaTensors(
  checkpoint: Checkpoint,
  config: LlamaConfig,
): void {
  checkTensors(checkpoint, llamaTensors(config), IGNORED);
}
