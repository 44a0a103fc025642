/**
 * Merging a QA-LoRA adapter into the biases of a base that is quantised in affine groups.
 *
 * The adapter adds one number to all weights of a group, `scaling * (B A)[o, g]`, which the group's bias takes up; codes and
 * scales stay as they are (Xu et al., 2309.14717, section 3.3). The biases of merged layers are stored in f32, so that
 * nothing is lost but the rounding of that one sum; all else in the type that it had.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import { copySideFiles, copyTensor } from "../io/safetensors/copy.ts";
import { hasGroups } from "../device/quant_mat.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { fileSink, joinPath, makeFolder } from "../io/files/deno.ts";
import { digest } from "../io/files/digest.ts";
import {
  keptEntry,
  packedEntries,
  packedMetadata,
  type PackedShape,
  packedShape,
  packedTensors,
} from "../io/packed/packed.ts";
import { packedConfig } from "../io/packed/config.ts";
import {
  type SafetensorsEntry,
  safetensorsHeader,
  SafetensorsWriter,
} from "../io/safetensors/write.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";
import { merge } from "../qalora/merge.ts";
import { format } from "../quant/formats.ts";
import type { QuantizedMatrix, QuantizedShape } from "../quant/quantized.ts";
import { nonFiniteAt } from "../tensor/finite.ts";
import { type Matrix, matrix } from "../tensor/matrix.ts";

/** Options of {@linkcode mergeExact}. */
export interface ExactMergeOptions {
  /** Folder to write; a finished one is a model in the packed layout. */
  readonly out: string;
  readonly factors: readonly AdapterModuleFactors[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, text: string) => void;
}

/** Change of one layer by merging. */
export interface ExactLayer {
  /** Module path. */
  readonly name: string;
  /** Weights that share a bias. */
  readonly group: number;
  /** Largest change of a bias. */
  readonly maxChange: number;
}

/** A merged model. */
export interface ExactMerge {
  readonly layers: ExactLayer[];
  /** SHA-256 over the quantised weights, as `base` of loqa.json. */
  readonly base: string;
}

/** Problems that one error lists. */
const SHOWN = 20;

/** True if a weight is quantised with a scale and a bias for each group along its input. */
function isGrouped<T extends QuantizedShape>(q: T | undefined): q is T {
  return q !== undefined && hasGroups(format(q.format));
}

/** True if `factors` are QA-LoRA's and any of their layers is quantised in affine groups, for {@linkcode mergeExact}. */
export function mergesExactly(
  { tensors }: Checkpoint,
  factors: readonly AdapterModuleFactors[],
): boolean {
  return factors.some(({ module, group }) =>
    group !== undefined &&
    isGrouped(tensors.get(`${module}.weight`)?.quantized)
  );
}

/**
 * Writes `checkpoint` with the factors added to the biases of its groups into the folder `out`, in the packed layout.
 *
 * @throws {TypeError} That lists every module which the model lacks, that has another shape, is not in affine groups or in
 * groups that the adapter's are no multiple of.
 * @throws {RangeError} If a factor is not finite; the error lists the modules. If a scale or a bias is not, which is found out
 * where the weight is merged.
 */
export async function mergeExact(
  checkpoint: Checkpoint,
  { out, factors, signal, onProgress }: ExactMergeOptions,
): Promise<ExactMerge> {
  const byTensor = new Map(factors.map((f) => [`${f.module}.weight`, f]));
  const weights = await checkFit(checkpoint, byTensor);
  const tensors = [...checkpoint.tensors.values()];
  const layout = safetensorsHeader(
    tensors.flatMap((tensor): SafetensorsEntry[] => {
      const weight = weights.get(tensor.name);
      return weight ? packedEntries(tensor.name, weight) : [keptEntry(tensor)];
    }),
    packedMetadata(weights, tensors),
  );
  // A tokenizer that cannot be made is reported before the work, not behind it.
  await checkpoint.sideFiles();
  await makeFolder(out);
  await using sink = await fileSink(joinPath(out, "model.safetensors"));
  const writer = await SafetensorsWriter.open(sink, layout);
  const layers: ExactLayer[] = [];
  const marks: string[] = [];
  for (const [i, tensor] of tensors.entries()) {
    signal?.throwIfAborted();
    const { name } = tensor;
    onProgress?.(i / tensors.length, name);
    const weight = weights.get(name);
    if (!weight) {
      await copyTensor(checkpoint, writer, tensor);
      continue;
    }
    const q = (await checkpoint.readQuantized!(name))!;
    const part = byTensor.get(name);
    if (part) checkFinite(checkpoint, part.module, q);
    const merged = part ? merge(q, factorsOn(q, part)) : q;
    for (const { name: key, bytes } of packedTensors(name, merged, weight)) {
      await writer.write(key, bytes);
    }
    if (part) layers.push(layerOf(part.module, q, merged));
    const module = name.replace(/\.weight$/, "");
    const { codes, scales, biases } = merged;
    marks.push(await digest(module, codes, scales, biases));
  }
  await writer.close();
  await writeSideFiles(checkpoint, out);
  return { layers, base: await digest(...marks) };
}

/** @throws {RangeError} If a scale or a bias of the weight of a module is not finite. */
function checkFinite(
  { name }: Checkpoint,
  module: string,
  q: QuantizedMatrix,
): void {
  for (const key of ["scales", "biases"] as const) {
    const at = nonFiniteAt(q[key]!);
    if (at < 0) continue;
    throw new ValueError(
      `Cannot merge the adapter into ${name}: ${module} has ${
        q[key]![at]
      } in its ${key}`,
    );
  }
}

/** The factors with a column of A for each group of `q`; one group of the adapter's may hold several. */
function factorsOn(
  { cols, block }: QuantizedMatrix,
  { rank, a, b, scaling, group }: AdapterModuleFactors,
): { a: Matrix; b: Matrix; scaling: number } {
  const groups = Math.ceil(cols / (block || cols));
  const columns = a.length / rank;
  const times = group! / (block || cols);
  const wide = times === 1 ? a : Float32Array.from(
    { length: rank * groups },
    (_, e) =>
      a[Math.floor(e / groups) * columns + Math.floor(e % groups / times)],
  );
  return {
    a: matrix(rank, groups, wide),
    b: matrix(b.length / rank, rank, b),
    scaling,
  };
}

function layerOf(
  name: string,
  before: QuantizedMatrix,
  after: QuantizedMatrix,
): ExactLayer {
  let maxChange = 0;
  after.biases!.forEach((bias, i) => {
    maxChange = Math.max(maxChange, Math.abs(bias - before.biases![i]));
  });
  return { name, group: before.block || before.cols, maxChange };
}

/** Shapes of all quantised weights, after a look at those that get factors. */
async function checkFit(
  checkpoint: Checkpoint,
  byTensor: ReadonlyMap<string, AdapterModuleFactors>,
): Promise<Map<string, PackedShape>> {
  const wrong: string[] = [];
  const bad: string[] = [];
  for (const [name, { module }] of byTensor) {
    if (!checkpoint.tensors.has(name)) {
      wrong.push(`the model has no layer ${module}`);
    }
  }
  const weights = new Map<string, PackedShape>();
  for (const tensor of checkpoint.tensors.values()) {
    const { name, shape, encoding } = tensor;
    const part = byTensor.get(name);
    const q = shape.length === 2
      ? await packedShape(checkpoint, tensor, part && "f32")
      : undefined;
    if (q) weights.set(name, q);
    if (!part) continue;
    const { module, rank, a, b, group } = part;
    if (group === undefined || !isGrouped(q)) {
      wrong.push(
        group === undefined
          ? `the factors of ${module} are of every input, wanted sums over groups`
          : `${module} is ${encoding}, wanted affine groups`,
      );
      continue;
    }
    const block = q.block || q.cols;
    const columns = a.length / rank;
    if (
      Math.ceil(q.cols / group) !== columns || q.rows * rank !== b.length
    ) {
      wrong.push(
        `${module} is ${q.rows} x ${q.cols}, the adapter's ${
          b.length / rank
        } x ${columns} groups of ${group}`,
      );
    } else if (group % block !== 0) {
      wrong.push(
        `${module} is quantised in groups of ${block}, the adapter's of ${group}`,
      );
    }
    for (const values of [a, b]) {
      const at = nonFiniteAt(values);
      if (at >= 0) bad.push(`${module} has ${values[at]} in its factors`);
    }
  }
  const list = (problems: readonly string[]) =>
    `Cannot merge the adapter into ${checkpoint.name}: ${
      problems.slice(0, SHOWN).join("; ")
    }${problems.length > SHOWN ? `; and ${problems.length - SHOWN} more` : ""}`;
  if (wrong.length > 0) throw new KindError(list(wrong));
  if (bad.length > 0) throw new ValueError(list(bad));
  return weights;
}

async function writeSideFiles(
  checkpoint: Checkpoint,
  out: string,
): Promise<void> {
  const { quantization_config: _, quantization: __, ...config } =
    checkpoint.config;
  await copySideFiles(checkpoint, out, packedConfig(config));
}
