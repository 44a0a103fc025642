/**
 * Checkpoints of a training: everything that the next step depends on.
 *
 * `checkpoints/step-000120/` of a run holds the trained values (an adapter in PEFT's layout, or `model.safetensors`), the
 * moments of the optimiser and `state.json`. A checkpoint is built beside its place and renamed when it is whole.
 *
 * @module
 */

import { FormatError, ValueError } from "../errors.ts";
import type { ParameterSet } from "../autograd/parameter.ts";
import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import {
  exists,
  fileSink,
  fileSource,
  joinPath,
  kindOf,
  listFolder,
  makeFolder,
  readBytes,
  remove,
  rename,
  writeFileAtomic,
} from "../io/files/deno.ts";
import { isObject, MOST_TABLE, parseJsonObject } from "../io/files/json.ts";
import type { HeldTensor } from "../io/checkpoint/overlay.ts";
import { checkpointsFolder, listCheckpoints } from "../models/load/runs.ts";
import { openSafetensors } from "../io/safetensors/read.ts";
import {
  type SafetensorsEntry,
  safetensorsHeader,
  SafetensorsWriter,
} from "../io/safetensors/write.ts";
import { toF32 } from "../tensor/dtype.ts";
import { matrix, transposed } from "../tensor/matrix.ts";
import type { OrderState } from "./order.ts";

/** Contents of `state.json`. */
export interface TrainState {
  /** Hash of everything that decides the bytes of a step, {@linkcode start} apart. */
  readonly key: string;
  /** Hash of the values that the training started from. */
  readonly start: string;
  /** Updates so far. */
  readonly step: number;
  /** Position in the data. */
  readonly order: OrderState;
  /** Losses of the steps so far. */
  readonly losses: readonly number[];
  /** Evaluations so far: step, mean loss, and for classification the accuracy. */
  readonly evaluations: readonly (readonly [
    step: number,
    loss: number,
    accuracy?: number,
  ])[];
  /** Seconds of training so far. */
  readonly seconds: number;
  /** Tokens so far. */
  readonly tokens: number;
}

/** A tensor to write: a name and where its values are. */
export interface NamedMat {
  readonly name: string;
  /** Shape in the file; the matrix's own without it. */
  readonly shape?: readonly number[];
  readonly value: Mat;
  /** Factor of values on their way into the file (1); {@linkcode readTensors} does not undo it. */
  readonly factor?: number;
  /** True if the file has rows for columns. */
  readonly turned?: boolean;
}

/** Shape of a tensor in its file. */
function fileShape({ shape, value, turned }: NamedMat): readonly number[] {
  const { rows, cols } = value;
  return shape ?? (turned ? [cols, rows] : [rows, cols]);
}

/** File of a checkpoint with its training's state. */
export const STATE = "state.json";
const OPTIMIZER = "optimizer.safetensors";

/** NaN or infinite values are to be written: the training has diverged. */
export class NotFiniteError extends ValueError {
  override readonly name = "NotFiniteError";
}

/**
 * Writes tensors from a device into a safetensors file, one after the other; `held` are those that are in ordinary memory.
 *
 * @throws {NotFiniteError} If a value is not finite; the message names the tensor.
 */
export async function writeTensors(
  path: string,
  parameters: ParameterSet,
  tensors: readonly NamedMat[],
  held: ReadonlyMap<string, HeldTensor> = new Map(),
): Promise<void> {
  const shapes = [
    ...tensors.map((tensor) => [tensor.name, fileShape(tensor)] as const),
    ...[...held].map(([name, { shape }]) => [name, shape] as const),
  ];
  const entries = shapes.map(([name, shape]): SafetensorsEntry => ({
    name,
    dtype: "f32",
    shape,
  }));
  const layout = safetensorsHeader(entries);
  const places = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  await using sink = await fileSink(path);
  const writer = await SafetensorsWriter.open(sink, layout);
  for (const { name } of layout.entries) {
    const ready = held.get(name);
    if (ready) {
      const { buffer, byteOffset, byteLength } = ready.values;
      await writer.write(name, new Uint8Array(buffer, byteOffset, byteLength));
      continue;
    }
    const { value, factor = 1, turned } = places.get(name)!;
    const { buffer, offset, rows, cols } = value;
    const data = await readF32(parameters.device, buffer, offset, rows * cols);
    const bad = data.find((x) => !Number.isFinite(x));
    if (bad !== undefined) {
      throw new NotFiniteError(`tensor ${name} holds ${bad}`);
    }
    const stored = factor === 1 ? data : data.map((x) => x * factor);
    const { buffer: bytes } = turned
      ? transposed(matrix(rows, cols, stored)).data
      : stored;
    await writer.write(name, new Uint8Array(bytes as ArrayBuffer));
  }
  await writer.close();
}

/**
 * Reads the tensors that {@linkcode writeTensors} wrote.
 *
 * @throws {SyntaxError} If the file is malformed or lacks one; the message names the file and the tensor.
 */
export async function readTensors(
  path: string,
  device: Device,
  tensors: readonly NamedMat[],
): Promise<void> {
  await using source = await fileSource(path);
  const file = await openSafetensors(source);
  for (const tensor of tensors) {
    const { name, value, turned } = tensor;
    const wanted = fileShape(tensor);
    const found = file.tensors.get(name);
    if (found?.dtype !== "f32" || found.shape.join() !== wanted.join()) {
      throw new FormatError(
        `Cannot read ${path}: wanted ${name} as f32 [${
          wanted.join(", ")
        }], got ${
          found ? `${found.type} [${found.shape.join(", ")}]` : "none"
        }`,
      );
    }
    const data = await file.read(name);
    const values = turned
      ? transposed(
        matrix(value.cols, value.rows, toF32(data, "f32")),
      ).data
      : data;
    device.write(value.buffer, values, value.offset * 4);
  }
}

function moments(parameters: ParameterSet): NamedMat[] {
  return parameters.arenas.flatMap(({ mean, square }, i) => [
    { name: `${i}.mean`, value: mean },
    { name: `${i}.square`, value: square },
  ]);
}

/**
 * Writes a checkpoint of the run in the folder `run` and removes those beyond the last `keep`. Resolves to its folder.
 * Where it cannot be written, the older ones stay, and nothing of it is left.
 *
 * @throws {NotFiniteError} As {@linkcode writeTensors}.
 */
export async function saveCheckpoint(
  run: string,
  { parameters, state, keep, writeValues }: {
    parameters: ParameterSet;
    state: TrainState;
    keep: number;
    /** Writes the trained values into a folder, to the bit. */
    writeValues: (folder: string) => Promise<void>;
  },
): Promise<string> {
  const folder = checkpointsFolder(run);
  const place = joinPath(folder, `step-${String(state.step).padStart(6, "0")}`);
  const partial = `${place}.partial`;
  await remove(partial);
  try {
    await makeFolder(partial);
    await writeValues(partial);
    await writeTensors(
      joinPath(partial, OPTIMIZER),
      parameters,
      moments(parameters),
    );
    await writeFileAtomic(joinPath(partial, STATE), JSON.stringify(state));
  } catch (error) {
    // The first error is the one to report.
    await remove(partial).catch(() => {});
    throw error;
  }
  await removeCheckpoint(place);
  await rename(partial, place);
  await pruneCheckpoints(run, keep);
  return place;
}

/** Removes a checkpoint so that at no moment a part of it stands under its name. */
async function removeCheckpoint(place: string): Promise<void> {
  if (!await exists(place)) return;
  const going = `${place}.removed`;
  await remove(going);
  await rename(place, going);
  await remove(going);
}

/** Removes the checkpoints of a run beyond the last `keep`, and remains of interrupted ones. */
export async function pruneCheckpoints(
  run: string,
  keep: number,
): Promise<void> {
  const found = await listCheckpoints(run);
  for (const { path } of found.slice(0, Math.max(0, found.length - keep))) {
    await removeCheckpoint(path);
  }
  const folder = checkpointsFolder(run);
  if (await kindOf(folder) !== "folder") return;
  for (const { name } of await listFolder(folder)) {
    if (/^step-\d+\.(partial|removed)$/.test(name)) {
      await remove(joinPath(folder, name));
    }
  }
}

function isState(state: unknown): state is TrainState {
  const counts = (...values: unknown[]) =>
    values.every((n) => Number.isSafeInteger(n) && Number(n) >= 0);
  return isObject(state) && typeof state.key === "string" &&
    counts(state.step, state.tokens) && typeof state.seconds === "number" &&
    isObject(state.order) && Array.isArray(state.losses) &&
    state.losses.length <= Number(state.step) &&
    // One that is not finite is null there.
    state.losses.every((loss) => loss === null || typeof loss === "number") &&
    Array.isArray(state.evaluations) && state.evaluations.every(Array.isArray);
}

/**
 * Reads the state of a checkpoint.
 *
 * @throws {SyntaxError} If it is no checkpoint.
 * @throws {RangeError} If it is of another run than the one with `key`.
 */
export async function readState(
  path: string,
  key: string,
): Promise<TrainState> {
  const file = joinPath(path, STATE);
  const state = await exists(file)
    ? parseJsonObject(await readBytes(file), file, { most: MOST_TABLE })
    : undefined;
  // The name of a checkpoint's folder ends in its step.
  const wanted = Number(/(\d+)[\\/]?$/.exec(path)?.[1] ?? state?.step);
  if (!isState(state) || state.step !== wanted) {
    throw new FormatError(
      `Cannot resume from ${path}: ${STATE} is no state of step ${wanted}`,
    );
  }
  if (state.key !== key) {
    throw new ValueError(
      `Cannot resume from ${path}: it is not of the run that it stands in`,
    );
  }
  return state;
}

/** Reads the optimiser's moments of a checkpoint into `parameters`. */
export async function readMoments(
  path: string,
  parameters: ParameterSet,
): Promise<void> {
  await readTensors(
    joinPath(path, OPTIMIZER),
    parameters.device,
    moments(parameters),
  );
}
