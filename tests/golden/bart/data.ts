/**
 * Models, batches and settings of bart.json and words.json, as make.py has them.
 *
 * @module
 */

import type { ParameterSet } from "../../../src/autograd/parameter.ts";
import type { Device } from "../../../src/device/device.ts";
import type { Checkpoint } from "../../../src/io/checkpoint/checkpoint.ts";
import {
  type HeldTensor,
  overlaid,
} from "../../../src/io/checkpoint/overlay.ts";
import { Bart } from "../../../src/models/seq2seq/model.ts";
import type { WriteOptions } from "../../../src/models/generate/seq2seq.ts";
import { collate, type PairBatch } from "../../../src/data/example.ts";
import { golden } from "../../helpers/golden.ts";
import { type SmallTensors, writeModel } from "../../helpers/model.ts";
import type { GoldenEncoder } from "../encoders/data.ts";
import { goldenCheckpoint, seeded } from "../models/data.ts";

/** Sources and what is to be written of each. */
export interface Pairs {
  readonly sources: number[][];
  readonly targets: number[][];
}

/** Generated ids with some settings. */
export interface Run {
  readonly settings: Partial<WriteOptions>;
  readonly written: number[][];
}

/** A model of bart.json. */
export type GoldenBart =
  & Pick<GoldenEncoder, "name" | "config" | "tensors" | "seed" | "lora">
  & {
    readonly headBias: boolean;
    readonly whole: Pairs & { logits: string; loss: number };
    readonly padded: Pairs & { logits: string[]; loss: number };
    readonly gradients: Record<string, string>;
    readonly generate: {
      readonly sources: number[][];
      readonly runs: Run[];
      /** By the contents of a generation_config.json, or without one. */
      readonly byFile: {
        readonly file: Record<string, unknown> | null;
        readonly written: number[][];
      }[];
    };
    readonly training: {
      readonly learningRate: number;
      readonly weightDecay: number;
      readonly clip: number;
      readonly batches: Pairs[];
      readonly losses: number[];
    };
  };

/** The models of bart.json. */
export const { models } = golden<{ models: GoldenBart[] }>(
  import.meta,
  "bart.json",
);

function weightStart(name: string): readonly [number, number] {
  if (name.includes("norm") && name.endsWith("weight")) return [1, 0.125];
  return name.includes("embed") || name.includes("shared")
    ? [0, 0.5]
    : [0, 0.25];
}

/** A model's checkpoint; `rename` is what its tensors are called instead. */
export async function bartCheckpoint(
  row: GoldenBart,
  rename?: (name: string) => string,
): Promise<Checkpoint> {
  const checkpoint = await goldenCheckpoint(row, weightStart);
  const tensors = new Map<string, HeldTensor>();
  if (row.headBias) {
    const name = "final_logits_bias";
    const words = row.config.vocab_size as number;
    const values = seeded(new Map([[name, words]]), {
      seed: row.seed + 50,
      start: () => [0, 0.5],
    }).get(name)!;
    tensors.set(name, { shape: [1, words], values });
  }
  return overlaid(checkpoint, { rename, tensors });
}

/** Writes a model's checkpoint into a folder. */
export async function writeBart(
  folder: string,
  row: GoldenBart,
): Promise<void> {
  await using checkpoint = await bartCheckpoint(row);
  const tensors: SmallTensors = {};
  for (const [name, { shape }] of checkpoint.tensors) {
    tensors[name] = { shape, values: await checkpoint.readF32(name) };
  }
  await writeModel(folder, { config: row.config, tensors });
}

/** A model on a device. */
export async function loadBart(
  device: Device,
  row: GoldenBart,
  trained?: ParameterSet,
): Promise<Bart> {
  await using checkpoint = await bartCheckpoint(row);
  return await Bart.load(device, checkpoint, { trained });
}

/** Pairs as training has them. */
export function batchOf(
  { sources, targets }: Pairs,
  startId: number,
): PairBatch {
  return collate(
    sources.map((source, i) => ({
      kind: "pair" as const,
      source: Int32Array.from(source),
      target: Int32Array.from(targets[i]),
    })),
    { padId: 0, startId },
  );
}
