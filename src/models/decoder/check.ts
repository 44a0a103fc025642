/**
 * Check of a checkpoint's tensors against those of a decoder.
 *
 * @module
 */

import type { DecoderConfig } from "../../families/decoder.ts";
import { decoderTensors, IGNORED } from "../../families/decoder_block.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import { checkTensors } from "../parts/tensor_check.ts";

/**
 * Checks that a checkpoint holds the tensors of its config, and no others.
 *
 * @throws {SyntaxError} That lists every tensor that is missing, of another shape, or unknown.
 */
export function checkDecoderTensors(
  checkpoint: Checkpoint,
  config: DecoderConfig,
): void {
  checkTensors(checkpoint, decoderTensors(config), IGNORED);
}
