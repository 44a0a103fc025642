/**
 * Weights, factors and batches of encoders.json, bit for bit as make.py has them.
 *
 * @module
 */

import type { ParameterSet } from "../../../src/autograd/parameter.ts";
import type { Device } from "../../../src/device/device.ts";
import type { Checkpoint } from "../../../src/io/checkpoint.ts";
import { Bert } from "../../../src/models/bert.ts";
import { Deberta } from "../../../src/models/deberta.ts";
import type { AdapterModuleFactors } from "../../../src/nn/adapter.ts";
import type { Linear } from "../../../src/nn/linear.ts";
import type { ClassBatch, SpanBatch } from "../../../src/train/data/example.ts";
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
  if (name.endsWith("LayerNorm.weight")) return [1, 0.125];
  if (name.includes("embeddings") && !name.endsWith("bias")) return [0, 1];
  return name.endsWith("bias") ? [0, 0.5] : [0, 0.25];
}

/** A batch as make.py has it. */
export interface GoldenBatch {
  readonly ids: number[][];
  readonly typeIds: number[][];
  readonly lengths: number[];
  readonly answers: {
    readonly labels?: number[];
    readonly "start_positions"?: number[];
    readonly "end_positions"?: number[];
  };
}

/** A model of encoders.json. */
export interface GoldenEncoder {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly tensors: readonly (readonly [string, readonly number[]])[];
  readonly seed: number;
  readonly head: number | "span";
  readonly whole: GoldenBatch & { logits: string; loss: number };
  readonly padded: GoldenBatch & { logits: string; loss: number };
  readonly gradients: Record<string, string>;
  readonly lora: {
    readonly targets: string[];
    readonly rank: number;
    readonly alpha: number;
    readonly seed: number;
    readonly loss: number;
    readonly gradients: Record<string, string>;
  };
  readonly training?: {
    readonly learningRate: number;
    readonly weightDecay: number;
    readonly clip: number;
    readonly batches: GoldenBatch[];
    readonly losses: number[];
  };
}

/** A checkpoint of tensors whose values come from a seed. */
export function seededCheckpoint(
  { config, tensors, seed }: Pick<
    GoldenEncoder,
    "config" | "tensors" | "seed"
  >,
  start: Start = weightStart,
): Promise<Checkpoint> {
  const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b);
  const values = seeded(
    new Map(tensors.map(([name, shape]) => [name, size(shape)])),
    { seed, start },
  );
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

/** Loads a model of any of the families. */
export async function loadEncoder(
  device: Device,
  row: GoldenEncoder,
  trained?: ParameterSet,
): Promise<Bert | Deberta> {
  await using checkpoint = await seededCheckpoint(row);
  return row.config.model_type === "deberta-v2"
    ? await Deberta.load(device, checkpoint, { trained })
    : await Bert.load(device, checkpoint, { trained });
}

/** The factors of an adapter on a model. */
export function seededFactors(
  linears: ReadonlyMap<string, Linear>,
  { targets, rank, alpha, seed }: GoldenEncoder["lora"],
): AdapterModuleFactors[] {
  const layers = [...linears.values()].filter(({ module }) =>
    targets.includes(module.split(".").at(-1)!)
  );
  const counts = new Map(layers.flatMap(({ module, weight }) => [
    [`${module}.lora_A`, rank * weight.cols],
    [`${module}.lora_B`, weight.rows * rank],
  ]));
  const values = seeded(counts, {
    seed,
    start: (name) => name.endsWith("A") ? [0, 0.25] : [0, 0.125],
  });
  return layers.map(({ module }) => ({
    module,
    rank,
    scaling: alpha / rank,
    a: values.get(`${module}.lora_A`)!,
    b: values.get(`${module}.lora_B`)!,
  }));
}

/** A batch as training has it. */
export function batchOf(
  { ids, typeIds, lengths, answers }: GoldenBatch,
): ClassBatch | SpanBatch {
  const rows = {
    rows: ids.length,
    cols: ids[0].length,
    tokens: Int32Array.from(ids.flat()),
    lengths: Int32Array.from(lengths),
    typeIds: Int32Array.from(typeIds.flat()),
  };
  const { labels, start_positions: starts, end_positions: ends } = answers;
  return labels
    ? { kind: "class", ...rows, answers: Float32Array.from(labels) }
    : {
      kind: "span",
      ...rows,
      starts: Int32Array.from(starts!),
      ends: Int32Array.from(ends!),
    };
}
