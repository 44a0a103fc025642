/**
 * The linear layers of a run, with all that was decided for each.
 *
 * @module
 */

import type { ScaleRule } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint.ts";
import type { PackedShape } from "../io/packed.ts";
import { type LayerPlan, planLayers, type PlanOptions } from "../loftq/plan.ts";
import { bitsPerWeight, format, scaleRules } from "../quant/formats.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import type { BackboneKind } from "./backbone.ts";
import { findTargets, type Target } from "./targets.ts";

/** A linear layer of a run. */
export interface Layer extends Target {
  readonly plan: LayerPlan;
  /** Shape of the quantised weight. */
  readonly shape: PackedShape;
}

/** Options of {@linkcode planTargets}. */
export interface TargetOptions extends PlanOptions {
  readonly targets?: readonly string[];
  readonly block?: number;
  readonly scale?: ScaleRule;
}

/**
 * Finds and plans the layers of `checkpoint`. Those of `base`, a model quantised elsewhere, keep its formats.
 *
 * @throws {RangeError} If an option does not fit, or `base` lacks a layer or holds it in another form.
 */
export async function planTargets(
  checkpoint: Checkpoint,
  options: TargetOptions,
  base?: Checkpoint,
): Promise<Layer[]> {
  const targets = findTargets(checkpoint, options.targets);
  const plans = planLayers(targets.map(({ module }) => module), options);
  const layers: Layer[] = [];
  const missing: string[] = [];
  for (const target of targets) {
    const [rows, cols] = target.tensor.shape;
    const plan = plans.get(target.module)!;
    if (base) {
      const q = await outside(base, target);
      if (typeof q === "string") missing.push(q);
      else {
        layers.push({
          ...target,
          plan: { ...plan, format: q.format },
          shape: { format: q.format, rows, cols, block: q.block },
        });
      }
      continue;
    }
    const spec = format(plan.format);
    if (options.scale && !scaleRules(spec).includes(options.scale)) {
      throw new RangeError(
        `Cannot quantize ${target.module}: scale "${options.scale}" does not fit ${plan.format}, wanted one of ${
          scaleRules(spec).join(", ")
        }`,
      );
    }
    const block = options.block ?? spec.defaultBlock;
    layers.push({
      ...target,
      plan,
      shape: { format: plan.format, rows, cols, block },
    });
  }
  if (missing.length > 0) {
    throw new RangeError(
      `Cannot use ${base!.name} as the base of ${checkpoint.name}: ${
        missing.slice(0, 5).join("; ")
      }${missing.length > 5 ? `; and ${missing.length - 5} more` : ""}`,
    );
  }
  return layers;
}

/** The quantised matrix of `target` in `base`, or what is wrong with it. */
async function outside(
  base: Checkpoint,
  { tensor }: Target,
): Promise<QuantizedMatrix | string> {
  const there = base.tensors.get(tensor.name);
  if (!there) return `${tensor.name} is not there`;
  if (`${there.shape}` !== `${tensor.shape}`) {
    return `${tensor.name} is [${there.shape.join(", ")}], wanted [${
      tensor.shape.join(", ")
    }]`;
  }
  return await base.readQuantized?.(tensor.name) ??
    `${tensor.name} is ${there.encoding}, wanted one of loqa's formats`;
}

/**
 * The backbone to write: as asked for, or bitsandbytes' where all layers are nf4, else packed.
 *
 * @throws {RangeError} If bitsandbytes cannot hold a layer's format.
 */
export function chooseBackbone(
  layers: readonly Layer[],
  wanted?: BackboneKind,
): BackboneKind {
  const other = layers.find(({ shape: { format } }) =>
    format !== "nf4" && format !== "nf2"
  );
  if (wanted === "bnb" && other) {
    throw new RangeError(
      `Cannot write ${other.module} in ${other.shape.format} for bitsandbytes: it holds nf4, and nf2 in nf4's codes; wanted --backbone packed or dense`,
    );
  }
  if (wanted) return wanted;
  const fits = layers.every(({ shape: { format, block } }) =>
    format === "nf4" && block >= 32 && block <= 4096 &&
    Number.isInteger(Math.log2(block))
  );
  return fits ? "bnb" : "packed";
}

/** Mean stored bits of a quantised weight, its f32 scales and biases included. */
export function storedBits(layers: readonly Layer[]): number {
  let bits = 0;
  let weights = 0;
  for (const { shape } of layers) {
    const { rows, cols } = shape;
    bits += bitsPerWeight(format(shape.format), shape) * rows * cols;
    weights += rows * cols;
  }
  return bits / weights;
}
