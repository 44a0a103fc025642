/**
 * Weights and batches of encoders.json, bit for bit as make.py has them.
 *
 * @module
 */

import type { ParameterSet } from "../../../src/autograd/parameter.ts";
import type { Device } from "../../../src/device/device.ts";
import { Bert } from "../../../src/models/encoder/bert.ts";
import { Deberta } from "../../../src/models/encoder/deberta.ts";
import type { ClassBatch, SpanBatch } from "../../../src/data/example.ts";
import {
  type GoldenAdapter,
  goldenCheckpoint,
  type GoldenModel,
} from "../models/data.ts";

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
export interface GoldenEncoder extends GoldenModel {
  readonly name: string;
  readonly head: number | "span";
  readonly whole: GoldenBatch & { logits: string; loss: number };
  readonly padded: GoldenBatch & { logits: string; loss: number };
  readonly gradients: Record<string, string>;
  readonly lora: GoldenAdapter & {
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

/** Loads a model of any of the families. */
export async function loadEncoder(
  device: Device,
  row: GoldenEncoder,
  trained?: ParameterSet,
): Promise<Bert | Deberta> {
  await using checkpoint = await goldenCheckpoint(row, weightStart);
  return row.config.model_type === "deberta-v2"
    ? await Deberta.load(device, checkpoint, { trained })
    : await Bert.load(device, checkpoint, { trained });
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
