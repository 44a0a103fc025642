/**
 * Merging a LoRA or QA-LoRA adapter into a dense model.
 *
 * The factors are added to the backbone's decoded values, on which the adapter was trained, not to the weights it was
 * quantised from. The result is rounded to 16 bits (or not, with f32); the cost of that is reported.
 *
 * @module
 */

import { KindError } from "../errors.ts";
import { copySideFiles, copyTensor } from "../io/safetensors/copy.ts";
import type { Device } from "../device/device.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import type { Checkpoint } from "../io/checkpoint/checkpoint.ts";
import { fileSink, joinPath, makeFolder } from "../io/files/deno.ts";
import {
  type SafetensorsEntry,
  safetensorsHeader,
  SafetensorsWriter,
} from "../io/safetensors/write.ts";
import { checkWhole } from "../models/load/whole.ts";
import type { AdapterModuleFactors } from "../nn/adapter.ts";
import { isFloat, narrow, toF32, TORCH_DTYPES } from "../tensor/dtype.ts";

/** Element types of a merged model. */
export type MergedDType = "f16" | "bf16" | "f32";

/** Options of {@linkcode mergeDense}. */
export interface DenseMergeOptions {
  readonly device: Device;
  /** Folder to write; a finished one is a model in the Hugging Face layout. */
  readonly out: string;
  readonly factors: readonly AdapterModuleFactors[];
  readonly dtype: MergedDType;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, text: string) => void;
}

/** Rounding error of one layer. */
export interface MergedLayer {
  /** Module path. */
  readonly name: string;
  /** `‖rounded - exact‖ / ‖exact‖`. */
  readonly error: number;
  /** Largest difference of a weight. */
  readonly maxDifference: number;
}

/**
 * Writes `checkpoint` with the factors added, `W + scaling * B * A`, into the folder `out`; an A of groups counts for every
 * input of a group.
 *
 * @throws {TypeError} That lists every module which the model lacks or that has another shape.
 */
export async function mergeDense(
  checkpoint: Checkpoint,
  { device, out, factors, dtype, signal, onProgress }: DenseMergeOptions,
): Promise<MergedLayer[]> {
  checkWhole(checkpoint);
  const byTensor = checkFit(checkpoint, factors);
  const tensors = [...checkpoint.tensors.values()];
  const layout = safetensorsHeader(tensors.map((tensor): SafetensorsEntry => ({
    name: tensor.name,
    shape: tensor.shape,
    dtype: isFloat(tensor.dtype) ? dtype : tensor.dtype,
  })));
  // A tokenizer that cannot be made is reported before the work, not behind it.
  await checkpoint.sideFiles();
  await makeFolder(out);
  await using sink = await fileSink(joinPath(out, "model.safetensors"));
  const writer = await SafetensorsWriter.open(sink, layout);
  const layers: MergedLayer[] = [];
  for (const [i, { name, shape, dtype: to }] of layout.entries.entries()) {
    signal?.throwIfAborted();
    onProgress?.(i / layout.entries.length, name);
    const part = byTensor.get(name);
    if (part) {
      const exact = await added(checkpoint, device, { name, shape, part });
      const bytes = narrow(exact, dtype, name);
      layers.push({ name: part.module, ...loss(exact, toF32(bytes, dtype)) });
      await writer.write(name, bytes);
      continue;
    }
    const tensor = checkpoint.tensors.get(name)!;
    await copyTensor(checkpoint, writer, { ...tensor, as: to });
  }
  await writer.close();
  await writeSideFiles(checkpoint, out, dtype);
  return layers;
}

async function added(
  checkpoint: Checkpoint,
  device: Device,
  { name, shape: [rows, cols], part }: {
    name: string;
    shape: readonly number[];
    part: AdapterModuleFactors;
  },
): Promise<Float32Array> {
  using memory = new DisposableStack();
  const put = (data: Float32Array, m: number, n: number) => {
    const buffer = memory.use(device.alloc(data.byteLength));
    device.write(buffer, data);
    return mat(buffer, m, n);
  };
  const w = put(await checkpoint.readF32(name), rows, cols);
  let a = put(part.a, part.rank, part.a.length / part.rank);
  if (part.group !== undefined) {
    const buffer = memory.use(device.alloc(part.rank * cols * 4));
    const out = mat(buffer, part.rank, cols);
    device.ops.spreadColumns({ x: a, group: part.group, out });
    a = out;
  }
  device.ops.gemm({
    a: put(part.b, rows, part.rank),
    b: a,
    c: w,
    alpha: part.scaling,
    beta: 1,
    add: w,
  });
  return await readF32(device, w.buffer);
}

function loss(
  exact: Float32Array,
  rounded: Float32Array,
): { error: number; maxDifference: number } {
  let squares = 0;
  let norm = 0;
  let maxDifference = 0;
  for (let i = 0; i < exact.length; i++) {
    const difference = Math.abs(rounded[i] - exact[i]);
    squares += difference ** 2;
    norm += exact[i] ** 2;
    maxDifference = Math.max(maxDifference, difference);
  }
  return {
    error: squares === 0 ? 0 : Math.sqrt(squares / norm),
    maxDifference,
  };
}

function checkFit(
  checkpoint: Checkpoint,
  factors: readonly AdapterModuleFactors[],
): Map<string, AdapterModuleFactors> {
  const wrong: string[] = [];
  const byTensor = new Map<string, AdapterModuleFactors>();
  for (const part of factors) {
    const { module, rank, a, b, group = 1 } = part;
    const name = `${module}.weight`;
    const shape = checkpoint.tensors.get(name)?.shape;
    const wanted = [b.length / rank, a.length / rank];
    if (!shape) wrong.push(`the model has no layer ${module}`);
    else if (
      shape[0] !== wanted[0] || Math.ceil(shape[1] / group) !== wanted[1]
    ) {
      wrong.push(
        `${module} is ${shape.join(" x ")}, the adapter's ${
          wanted.join(" x ")
        }${group === 1 ? "" : ` groups of ${group}`}`,
      );
    }
    byTensor.set(name, part);
  }
  if (wrong.length > 0) {
    throw new KindError(
      `Cannot merge the adapter into ${checkpoint.name}: ${
        wrong.slice(0, 20).join("; ")
      }${wrong.length > 20 ? `; and ${wrong.length - 20} more` : ""}`,
    );
  }
  return byTensor;
}

async function writeSideFiles(
  checkpoint: Checkpoint,
  out: string,
  dtype: MergedDType,
): Promise<void> {
  const config: Record<string, unknown> = { ...checkpoint.config };
  delete config.quantization_config;
  delete config.quantization;
  delete config.torch_dtype;
  config.dtype = TORCH_DTYPES[dtype];
  await copySideFiles(checkpoint, out, config);
}
