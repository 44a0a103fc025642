/**
 * Weights and factors of models.json and training.json, and of the models beside them, bit for bit as make.py has them.
 *
 * @module
 */

import type { Checkpoint } from "../../../src/io/checkpoint/checkpoint.ts";
import { moduleScaling } from "../../../src/io/peft/config.ts";
import type { BaseModel } from "../../../src/models/model.ts";
import type { AdapterModuleFactors } from "../../../src/nn/adapter.ts";
import { openModel } from "../../helpers/model.ts";
import { nearNormal } from "../loftq/data.ts";

/** Base and scale of a tensor's numbers, by its name. */
export type Start = (name: string) => readonly [base: number, scale: number];

/** Values by name: the seed of a tensor counts its place among the names in order. */
export function seeded(
  counts: ReadonlyMap<string, number>,
  { seed, start }: { seed: number; start: Start },
): Map<string, Float32Array<ArrayBuffer>> {
  return new Map(
    [...counts.keys()].sort().map((name, i) => {
      const [base, scale] = start(name);
      const { data } = nearNormal(
        1,
        counts.get(name)!,
        seed * 1000003 + i * 7919,
      );
      return [name, data.map((x) => base + Math.fround(scale * x))];
    }),
  );
}

function weightStart(name: string): readonly [number, number] {
  if (name.includes("norm")) return [1, 0.125];
  if (name.includes("embed_tokens")) return [0, 1];
  return name.includes("lm_head") || name.endsWith("bias")
    ? [0, 0.5]
    : [0, 0.25];
}

/** A model as transformers saved its config, and the seed of its weights. */
export interface GoldenModel {
  readonly config: Record<string, unknown>;
  readonly tensors: readonly (readonly [string, readonly number[]])[];
  readonly seed: number;
}

/** The checkpoint of a model. */
export function goldenCheckpoint(
  { config, tensors, seed }: GoldenModel,
  start: Start = weightStart,
): Promise<Checkpoint> {
  const counts = new Map(
    tensors.map(([name, shape]) => [name, shape.reduce((a, b) => a * b)]),
  );
  const values = seeded(counts, { seed, start });
  return openModel({
    config,
    tensors: Object.fromEntries(
      tensors.map(([name, shape]) => [name, {
        shape,
        values: values.get(name)!,
      }]),
    ),
  });
}

/** Options of an adapter. */
export interface GoldenAdapter {
  readonly rank: number;
  readonly alpha: number;
  readonly rslora?: boolean;
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly alphaPattern?: Readonly<Record<string, number>>;
  readonly targets?: readonly string[];
}

/** The factors of an adapter on a model. */
export function goldenFactors(
  model: Pick<BaseModel, "linears">,
  options: GoldenAdapter,
  { seed, scale = 1 }: { seed: number; scale?: number },
): AdapterModuleFactors[] {
  const layers = [...model.linears.values()].filter(({ module }) =>
    options.targets?.includes(module.split(".").at(-1)!) ?? true
  );
  const counts = new Map<string, number>();
  for (const { module, weight } of layers) {
    const { rank } = moduleScaling(options, module);
    counts.set(`${module}.lora_A`, rank * weight.cols);
    counts.set(`${module}.lora_B`, weight.rows * rank);
  }
  const values = seeded(counts, {
    seed,
    start: (name) => name.endsWith("A") ? [0, 0.25] : [0, 0.125],
  });
  return layers.map(({ module }) => ({
    module,
    ...moduleScaling(options, module),
    a: values.get(`${module}.lora_A`)!.map((x) => x * scale),
    b: values.get(`${module}.lora_B`)!.map((x) => x * scale),
  }));
}
