/**
 * The quantised weights of a checkpoint, as exporters look at them.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import type { TensorInfo } from "../io/checkpoint/checkpoint.ts";
import { format, type FormatName, GROUP_FORMATS } from "../quant/formats.ts";
import type { ExportDType } from "./exporter.ts";

/** The element type that holds a plain tensor's values without loss: f16 and bf16 where they are stored so, else f32. */
export function losslessDType({ encoding, dtype }: TensorInfo): ExportDType {
  return encoding === dtype.toUpperCase() &&
      (dtype === "f16" || dtype === "bf16")
    ? dtype
    : "f32";
}

/** The first of a list, and the number of the others. */
export function few(list: readonly string[]): string {
  const more = list.length - 3;
  return `${list.slice(0, 3).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** Collects weights that a target cannot hold, most of all by their format, so that one error can name them all. */
export class RefusedFormats {
  readonly #target: string;
  readonly #list: string[] = [];

  /** @param target Name of the target in errors: `GGUF`. */
  constructor(target: string) {
    this.#target = target;
  }

  /** Notes a weight. @param reason Its fault, with its name. */
  add(reason: string): void {
    this.#list.push(reason);
  }

  /** True if format `key` has affine groups along the row; notes the weight if not. */
  accepts(name: string, key: FormatName): boolean {
    const { levels, grouping } = format(key);
    const fine = levels === null && grouping === "row";
    if (!fine) this.add(`${name} is ${key}`);
    return fine;
  }

  /** @throws {TypeError} That names the weights and the way out, if any was noted. */
  throwIfAny(model: string): void {
    const list = this.#list;
    if (list.length === 0) return;
    throw new KindError(
      `Cannot export ${model} to ${this.#target}: ${
        few(list)
      }; wanted affine groups along the row (${GROUP_FORMATS}) that fit the target's blocks. A dense model can be exported too: "loqa merge", or "loqa init --backbone dense"`,
    );
  }
}
