/**
 * The linear layers of a run, with all that was decided for each.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import { hasGroups } from "../device/quant_mat.ts";
import { bnbHolds } from "../io/bnb/write.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { type PackedShape, packedShape } from "../io/packed/packed.ts";
import { type LayerPlan, planLayers } from "../loftq/plan.ts";
import { type DType, DTYPE_BYTES } from "../tensor/dtype.ts";
import { bitsPerWeight, format, scaleRules } from "../quant/formats.ts";
import { bnbProblem, checkExperts } from "./architecture.ts";
import type { BackboneKind, InitOptions } from "./options.ts";
import { findTargets, type Target, withEmbedding } from "./targets.ts";

/** A linear layer of a run. */
export interface Layer extends Target {
  readonly plan: LayerPlan;
  /** Shape of the quantised weight. */
  readonly shape: PackedShape;
}

/** The layers of a run. */
export interface Targets {
  readonly layers: readonly Layer[];
  /** Pre-quantised base, whose layers are taken; without one they are quantised. */
  readonly base?: Checkpoint;
}

/**
 * Finds and plans the layers of `checkpoint`. Those of `base`, a pre-quantised model, stay in its formats; so do those of
 * the checkpoint itself, if QA-LoRA is asked for without a format and all of them are affine groups.
 *
 * @throws {RangeError} If an option does not fit, or `base` lacks a layer or holds it in another form.
 */
export async function planTargets(
  checkpoint: Checkpoint,
  options: InitOptions,
  base?: Checkpoint,
): Promise<Targets> {
  const { method, block, scale, mixed } = options;
  const qalora = method === "qalora";
  const linears = findTargets(checkpoint, options.targets);
  const targets = options.quantEmbedding
    ? withEmbedding(checkpoint, linears)
    : linears;
  const plans = planLayers(targets.map(({ module }) => module), {
    ...options,
    format: options.format ?? (qalora ? "int4" : "nf4"),
  });
  if (base) {
    const { layers, wrong } = await keep(base, targets, plans);
    if (wrong.length === 0) return { layers, base };
    throw new ValueError(
      `Cannot use ${base.name} as the base of ${checkpoint.name}: ${
        wrong.slice(0, 5).join("; ")
      }${wrong.length > 5 ? `; and ${wrong.length - 5} more` : ""}`,
    );
  }
  if (qalora && [options.format, block, scale, mixed].every((o) => !o)) {
    const { layers, wrong } = await keep(checkpoint, targets, plans);
    const fits = wrong.length === 0 &&
      layers.every(({ shape }) => hasGroups(format(shape.format)));
    if (fits) return { layers, base: checkpoint };
  }
  const layers = targets.map((target): Layer => {
    const [rows, cols] = target.tensor.shape;
    const plan = plans.get(target.module)!;
    const spec = format(plan.format);
    const rules = scaleRules(spec);
    if (scale && !qalora && !rules.some((rule) => rule === scale)) {
      throw new ValueError(
        `Cannot quantize ${target.module}: scale "${scale}" does not fit ${plan.format}, wanted one of ${
          rules.join(", ")
        }`,
      );
    }
    return {
      ...target,
      plan,
      shape: {
        format: plan.format,
        rows,
        cols,
        block: block ?? spec.defaultBlock,
      },
    };
  });
  return { layers };
}

/** The layers as `base` has them, and the faults of those that it lacks. */
async function keep(
  base: Checkpoint,
  targets: readonly Target[],
  plans: ReadonlyMap<string, LayerPlan>,
): Promise<{ layers: Layer[]; wrong: string[] }> {
  const layers: Layer[] = [];
  const wrong: string[] = [];
  for (const target of targets) {
    const shape = await outside(base, target);
    if (typeof shape === "string") {
      wrong.push(shape);
      continue;
    }
    const { format } = shape;
    const plan = { ...plans.get(target.module)!, format };
    layers.push({ ...target, plan, shape });
  }
  return { layers, wrong };
}

/** The shape of `target` in `base`, or its fault. */
async function outside(
  base: Checkpoint,
  { tensor }: Target,
): Promise<PackedShape | string> {
  const there = base.tensors.get(tensor.name);
  if (!there) return `${tensor.name} is not there`;
  if (`${there.shape}` !== `${tensor.shape}`) {
    return `${tensor.name} is [${there.shape.join(", ")}], wanted [${
      tensor.shape.join(", ")
    }]`;
  }
  return await packedShape(base, there) ??
    `${tensor.name} is ${there.encoding}, wanted one of loqa's formats`;
}

/**
 * The backbone to write: as asked for, or bitsandbytes' where all layers are nf4, or dense where they are but transformers
 * could not load one of them so, else packed.
 *
 * @throws {RangeError} If bitsandbytes or transformers cannot hold a layer so, or PEFT its factors.
 */
export function chooseBackbone(
  checkpoint: Checkpoint,
  layers: readonly Layer[],
  wanted?: BackboneKind,
): BackboneKind {
  const modules = layers.map(({ module }) => module);
  const kind = backboneOf(checkpoint, layers, wanted);
  checkExperts(checkpoint, kind, modules);
  return kind;
}

function backboneOf(
  checkpoint: Checkpoint,
  layers: readonly Layer[],
  wanted?: BackboneKind,
): BackboneKind {
  const table = layers.find(({ embedding }) => embedding);
  if (wanted === "bnb" && table) {
    throw new ValueError(
      `Cannot write ${table.module} for bitsandbytes: it holds no embeddings; wanted --backbone packed or dense`,
    );
  }
  const other = layers.find(({ shape: { format } }) =>
    format !== "nf4" && format !== "nf2"
  );
  if (wanted === "bnb" && other) {
    throw new ValueError(
      `Cannot write ${other.module} in ${other.shape.format} for bitsandbytes: it holds nf4, and nf2 in nf4's codes; wanted --backbone packed or dense`,
    );
  }
  const problem = bnbProblem(checkpoint, layers.map(({ module }) => module));
  if (wanted === "bnb" && problem) {
    throw new ValueError(
      `Cannot write ${problem.module} of a ${checkpoint.config.model_type} for bitsandbytes: ${problem.why}; wanted --backbone dense, or --target without it`,
    );
  }
  if (wanted) return wanted;
  const fits = !table &&
    layers.every(({ shape: { format, block } }) =>
      format === "nf4" && bnbHolds(format, block)
    );
  if (!fits) return "packed";
  return problem ? "dense" : "bnb";
}

/**
 * The type that the scales of a run are rounded to: as asked for, or f16 where a packed backbone stores them.
 *
 * @throws {RangeError} If the backbone is bitsandbytes', whose scales are f32.
 */
export function chooseScaleDType(
  backbone: BackboneKind,
  wanted?: "f16" | "f32",
): "f16" | "f32" {
  if (wanted === "f16" && backbone === "bnb") {
    throw new ValueError(
      "Cannot keep scales in f16: those of bitsandbytes are f32; wanted --backbone packed, or --double-quant for scales in 8 bits",
    );
  }
  return wanted ?? (backbone === "packed" ? "f16" : "f32");
}

/** `layers` with the types that their scales and biases are stored in; those of a base have its own. */
export function withScaleTypes(
  layers: readonly Layer[],
  { scaleDType, kept, biases }: {
    scaleDType: "f16" | "f32";
    /** True if codes and scales are those of a base. */
    kept: boolean;
    /** True if its biases are calibrated. */
    biases: boolean;
  },
): Layer[] {
  return layers.map((layer) => {
    const { shape } = layer;
    const affine = format(shape.format).levels === null;
    return {
      ...layer,
      shape: {
        ...shape,
        ...(!kept && { scaleDType }),
        ...(affine && (!kept || biases) && { biasDType: scaleDType }),
      },
    };
  });
}

/**
 * Mean stored bits of a quantised weight, its scales and biases included: in a `bnb` backbone those of nf4's codes,
 * whatever the format, in a `dense` one those of `dtype`.
 */
export function storedBits(
  layers: readonly Layer[],
  { kind, dtype, doubleQuant }: {
    kind: BackboneKind;
    /** Element type of a dense backbone. */
    dtype?: DType;
    /** Scales of a `bnb` backbone in 8 bits. */
    doubleQuant?: boolean;
  },
): number {
  if (kind === "dense" && dtype) return 8 * DTYPE_BYTES[dtype];
  let bits = 0;
  let weights = 0;
  for (const { shape } of layers) {
    const { rows, cols } = shape;
    const codes = format(kind === "bnb" ? "nf4" : shape.format);
    bits += bitsPerWeight(codes, { ...shape, doubleQuant }) * rows * cols;
    weights += rows * cols;
  }
  return bits / weights;
}
