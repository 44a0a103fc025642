/**
 * One pass over the tensors of a checkpoint: layers through LoftQ or QA-LoRA, the others copied, each written as it comes.
 *
 * @module
 */

import { copyTensor, writtenName } from "../io/safetensors/copy.ts";
import { partPath } from "../io/files/deno.ts";
import type { Device } from "../device/device.ts";
import type { ScaleRule } from "../device/quant_mat.ts";
import { isDeviceFailure } from "../device/errors.ts";
import type { ByteSink } from "../io/files/bytes.ts";
import type { NamedBytes } from "../io/files/bytes.ts";
import type { Checkpoint, TensorInfo } from "../io/checkpoint/checkpoint.ts";
import { adapterTensorName } from "../io/peft/adapter.ts";
import { wholeTensorName } from "../io/peft/whole.ts";
import { poolingFactor, type QaloraGroups } from "../io/peft/qalora.ts";
import type { SafetensorsWriter } from "../io/safetensors/write.ts";
import type { LoftqResult } from "../loftq/options.ts";
import { loftq } from "../loftq/loftq.ts";
import { qaloraLayer } from "../qalora/layer.ts";
import { BASE_QUANTIZERS } from "../qalora/quantizer.ts";
import { decodedMatrix } from "../io/checkpoint/dequantize.ts";
import { ValueError } from "../errors.ts";
import type { QuantizedMatrix } from "../quant/quantized.ts";
import { fromF32 } from "../tensor/dtype.ts";
import { nonFiniteAt } from "../tensor/finite.ts";
import { type Matrix, matrix, transposed } from "../tensor/matrix.ts";
import type { BackbonePlan } from "./backbone.ts";
import { digest } from "../io/files/digest.ts";
import {
  type JournalLayer,
  type JournalPart,
  partsOf,
  writeJournal,
} from "./journal.ts";
import type { Layer } from "./layers.ts";
import { type InitOptions, type RunOptions, SAFE_INTERVAL } from "./options.ts";
import type { LayerReport } from "./report.ts";

/** Inputs of a pass. */
export interface WorkParts {
  readonly checkpoint: Checkpoint;
  readonly options: InitOptions;
  readonly run: RunOptions;
  /** Pre-quantised base, whose layers are taken. */
  readonly base: Checkpoint | undefined;
  /** Pooling of the inputs in a QA-LoRA adapter's file. */
  readonly groups: QaloraGroups | undefined;
  /** Tensors of a head that the adapter holds in full. */
  readonly heads: readonly TensorInfo[];
  /** Type that scales and biases are rounded to. */
  readonly scaleDType: "f16" | "f32";
  readonly backbone: BackbonePlan | undefined;
  readonly paths: Readonly<Record<"journal" | JournalPart["file"], string>>;
  readonly key: string;
  /** Parts that an earlier run wrote, by its journal. */
  readonly parts: readonly JournalPart[];
  readonly adapterSink: ByteSink;
  readonly backboneSink: ByteSink | undefined;
  readonly adapter: SafetensorsWriter;
  readonly writer: SafetensorsWriter | undefined;
}

/** A pass, from the first tensor or from where an earlier run was interrupted. */
export class InitPass {
  /** The layers finished so far, in file order. */
  readonly layers: JournalLayer[] = [];
  readonly #parts: WorkParts;
  readonly #written: JournalPart[];
  #device: Device;
  #safeAt = performance.now();

  constructor(parts: WorkParts) {
    this.#parts = parts;
    this.#written = [...parts.parts];
    this.#device = parts.run.device;
  }

  /** Takes over the layers of an earlier run. */
  async restore(layers: readonly JournalLayer[]): Promise<void> {
    const { writer, adapter } = this.#parts;
    for (const layer of layers) {
      this.layers.push(layer);
      for (const [name, base64] of Object.entries(layer.late)) {
        const file = adapter.declares(name) ? adapter : writer!;
        // The file may hold it already, if the safe point was near its end.
        if (!file.has(name)) {
          await file.write(name, Uint8Array.fromBase64(base64));
        }
      }
    }
  }

  /** Goes through all tensors in file order, layers and plain ones, and closes the files. */
  async all(layers: readonly Layer[]): Promise<void> {
    const { checkpoint, writer, adapter, heads, run } = this.#parts;
    const { safeInterval: interval = SAFE_INTERVAL } = run;
    const targets = new Map(layers.map((l) => [l.tensor.name, l]));
    const size = (t: TensorInfo) => t.shape.reduce((a, b) => a * b, 1);
    // A plain tensor is only copied, which takes about a hundredth of the time of a layer.
    const cost = (t: TensorInfo) => size(t) * (targets.has(t.name) ? 1 : 0.01);
    let total = 0;
    for (const t of checkpoint.tensors.values()) total += cost(t);
    let done = 0;
    let finished = 0;
    for (const tensor of checkpoint.tensors.values()) {
      const layer = targets.get(tensor.name);
      run.onProgress?.(
        total ? done / total : 0,
        layer
          ? `${finished + 1}/${layers.length} ${layer.module}`
          : tensor.name,
      );
      if (run.signal?.aborted) {
        await this.#safePoint();
        run.signal.throwIfAborted();
      }
      if (layer) {
        if (finished >= this.layers.length) await this.#layer(layer);
        finished++;
      } else if (writer && !writer.has(writtenName(writer, tensor.name))) {
        await this.#copy(tensor);
      }
      done += cost(tensor);
      if (performance.now() - this.#safeAt >= interval) {
        await this.#safePoint();
      }
    }
    run.onProgress?.(1, `${layers.length} layers`);
    await writer?.close();
    for (const { name } of heads) {
      const whole = wholeTensorName(name);
      if (adapter.has(whole)) continue;
      await adapter.write(
        whole,
        fromF32(await checkpoint.readF32(name), "f32"),
      );
    }
    await adapter.close();
  }

  async #layer(layer: Layer): Promise<void> {
    const { module, tensor, shape, embedding } = layer;
    const { checkpoint, base, backbone, groups, writer, adapter } = this.#parts;
    const began = performance.now();
    const { name } = tensor;
    const kept = await this.#kept(name);
    const data = kept && base === checkpoint
      ? decodedMatrix(kept)
      : await checkpoint.readF32(name);
    const initialise = await this.#method(layer, kept);
    const weight = matrix(shape.rows, shape.cols, data);
    const { result, tensors } = await this.#onDevice(async (device) => {
      const result = await initialise(weight, device);
      const tensors = await backbone?.tensors(name, result.backbone, device);
      return { result, tensors };
    });
    const late: Record<string, string> = {};
    const write = async (
      file: SafetensorsWriter,
      tensors: readonly NamedBytes[],
    ) => {
      for (const { name, bytes } of tensors) {
        await file.write(name, bytes);
        if (file.isLate(name)) late[name] = bytes.toBase64();
      }
    };
    if (tensors) await write(writer!, tensors);
    const by = groups ? poolingFactor(groups, result.a.cols) : 1;
    const a = by === 1 ? result.a.data : result.a.data.map((x) => x / by);
    await write(adapter, [
      {
        name: adapterTensorName(module, "A", embedding),
        bytes: fromF32(embedding ? transposed(result.a).data : a, "f32"),
      },
      {
        name: adapterTensorName(module, "B", embedding),
        bytes: fromF32(
          (embedding ? transposed(result.b) : result.b).data,
          "f32",
        ),
      },
    ]);
    const { codes, scales, biases } = result.backbone;
    this.layers.push({
      report: layerReport(layer, result, began),
      digest: await digest(module, codes, scales, biases),
      late,
    });
  }

  /**
   * The matrix that a base holds for a weight; undefined where there is no base.
   *
   * @throws {RangeError} If a scale or a bias is not finite.
   */
  async #kept(name: string): Promise<QuantizedMatrix | undefined> {
    const { checkpoint, base } = this.#parts;
    const q = await base?.readQuantized?.(name);
    for (const key of ["scales", "biases"] as const) {
      const at = nonFiniteAt(q?.[key] ?? []);
      if (at < 0) continue;
      throw new ValueError(
        `Cannot use ${
          base!.name
        } as the base of ${checkpoint.name}: ${name} has ${
          q![key]![at]
        } among its ${key}, wanted finite values`,
      );
    }
    return q;
  }

  /** Initialisation method of a layer, on its pre-quantised weight if there is one. */
  async #method(
    { module, tensor, plan, shape, embedding }: Layer,
    base: QuantizedMatrix | undefined,
  ): Promise<(weight: Matrix, device: Device) => Promise<LoftqResult>> {
    const { options, run } = this.#parts;
    const { method, scale, biases = false, iterations } = options;
    const common = {
      format: plan.format,
      block: shape.block,
      rank: plan.rank,
      alpha: plan.alpha,
      rslora: options.rslora,
      // Moments are of a layer's inputs; an embedding has none.
      metric: embedding ? undefined : await run.metricOf?.(module),
      scaleDType: this.#parts.scaleDType,
      base,
      seed: options.seed,
      name: module,
    };
    if (method === "qalora") {
      const quantizer = BASE_QUANTIZERS.find((name) => name === scale) ??
        "minmax";
      return (weight, device) =>
        qaloraLayer(device, weight, {
          ...common,
          quantizer,
          biases,
          iterations,
        });
    }
    const more = {
      scale: scale as ScaleRule | undefined,
      iterations: method === "qlora" ? 0 : iterations,
      stored: this.#parts.backbone?.stored(tensor.name),
      earlyStop: options.earlyStop,
      svd: options.svd,
    };
    return (weight, device) => loftq(device, weight, { ...common, ...more });
  }

  /** Does `work`; if the device fails and there is another one, again there. */
  async #onDevice<T>(work: (device: Device) => Promise<T>): Promise<T> {
    try {
      return await work(this.#device);
    } catch (error) {
      const { fallback } = this.#parts.run;
      const fellBack = this.#device !== this.#parts.run.device;
      if (!fallback || fellBack || !isDeviceFailure(error)) throw error;
      this.#device = await fallback(error);
      return await work(this.#device);
    }
  }

  async #copy(tensor: TensorInfo): Promise<void> {
    const { checkpoint, backbone, writer } = this.#parts;
    const as = backbone!.plainDType(tensor);
    await copyTensor(checkpoint, writer!, { ...tensor, as });
  }

  /** Safe point: flushes the files, so that they survive a crash. */
  async #safePoint(): Promise<void> {
    const { adapterSink, backboneSink, key, paths } = this.#parts;
    await backboneSink?.sync();
    await adapterSink.sync();
    await this.#note("backbone", backboneSink?.size ?? 0);
    await this.#note("adapter", adapterSink.size);
    await writeJournal(paths.journal, {
      key,
      parts: this.#written,
      backboneBytes: backboneSink?.size ?? 0,
      adapterBytes: adapterSink.size,
      layers: this.layers,
    });
    this.#safeAt = performance.now();
  }

  /** Notes a file's bytes up to `to`, as far as they were not noted before. */
  async #note(file: JournalPart["file"], to: number): Promise<void> {
    const last = this.#written.findLast((part) => part.file === file);
    const path = partPath(this.#parts.paths[file]);
    const from = last?.to ?? 0;
    this.#written.push(...await partsOf(file, path, { from, to }));
  }
}

function layerReport(
  { module, plan, shape }: Layer,
  result: LoftqResult,
  began: number,
): LayerReport {
  const { plainError, error, history, iteration } = result;
  const { plainOutputError, outputError } = result;
  return {
    name: module,
    ...shape,
    rank: plan.rank,
    plainError,
    error,
    history,
    iteration,
    ...(outputError !== undefined && { plainOutputError, outputError }),
    seconds: (performance.now() - began) / 1000,
  };
}
