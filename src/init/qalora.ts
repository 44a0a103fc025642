/**
 * QA-LoRA's conditions on the layers of a run: affine groups of one size, whose biases take the adapter up exactly.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { hasGroups } from "../device/quant_mat.ts";
import { type QaloraGroups, qaloraGroups } from "../io/peft/qalora.ts";
import { BASE_QUANTIZERS } from "../qalora/quantizer.ts";
import { format, GROUP_FORMATS } from "../quant/formats.ts";
import type { Layer } from "./layers.ts";
import type { InitOptions } from "./options.ts";

/**
 * Checks that the options go together.
 *
 * @throws {RangeError} If they do not.
 */
export function checkQaloraOptions(
  options: InitOptions,
): void {
  const { scale, biases, iterations, svd } = options;
  const { metric = "identity", backbone = "packed" } = options;
  const fail = (why: string): never => {
    throw new ValueError(`Cannot initialise QA-LoRA: ${why}`);
  };
  if (scale && !BASE_QUANTIZERS.some((name) => name === scale)) {
    fail(`wanted the scale ${BASE_QUANTIZERS.join(", ")}, got ${scale}`);
  }
  if (scale === "gptq" && metric !== "full") {
    fail(`the scale gptq needs the full metric, got ${metric}`);
  }
  if (biases && metric === "identity") {
    fail("calibrated biases need the diag or full metric, got identity");
  }
  if (biases && iterations > 0) {
    fail(
      `calibrated biases leave nothing to find, got ${iterations} iterations`,
    );
  }
  if (svd) fail(`it has one kind of svd, got ${svd}`);
  if (backbone !== "packed") {
    fail(`its backbone is packed, got ${backbone}`);
  }
}

/**
 * The groups of an adapter on `layers`.
 *
 * @throws {RangeError} If a layer has no groups, or theirs differ in size; the error lists them.
 */
export function adapterGroups(layers: readonly Layer[]): QaloraGroups {
  const others = layers.filter(({ shape }) => !hasGroups(format(shape.format)));
  if (others.length > 0) {
    const [{ module, shape }] = others;
    throw new ValueError(
      `Cannot initialise QA-LoRA: wanted affine groups (${GROUP_FORMATS}), ${module} is ${shape.format}${
        others.length > 1
          ? `, and ${others.length - 1} more have none either`
          : ""
      }`,
    );
  }
  const sizes = new Map<number, string>();
  for (const { module, shape: { block, cols } } of layers) {
    if (!sizes.has(block || cols)) sizes.set(block || cols, module);
  }
  if (sizes.size > 1) {
    throw new ValueError(
      `Cannot initialise QA-LoRA: wanted groups of one size, got ${
        [...sizes].map(([size, module]) => `${size} (${module})`).join(", ")
      }`,
    );
  }
  const [[group]] = sizes;
  return qaloraGroups(group, layers.map(({ shape }) => shape.cols));
}
