/**
 * Low-bit quantisation and LoRA fine-tuning of language models, in TypeScript.
 *
 * LoftQ replaces a weight by a quantised one and LoRA factors that together stay close to it, so that fine-tuning
 * starts from the model and not from what quantisation left of it:
 *
 * ```ts
 * import { dequantize, loftq, matrix, Random } from "@loqa/loqa";
 *
 * const weight = matrix(256, 512, new Random(0).normals(256 * 512));
 * const { backbone, a, b, scaling, plainError, error } = await loftq(weight, {
 *   format: "nf4",
 *   rank: 16,
 *   iterations: 5,
 * });
 * const q = await dequantize(backbone); // W ≈ q + scaling * b * a
 * console.log(`${plainError.toFixed(4)} -> ${error.toFixed(4)}`, q.rows, a.rows, b.cols, scaling);
 * ```
 *
 * This module and all it reaches import nothing by a bare name, touch no files and need no permission; it works from
 * a URL. Files and folders: `@loqa/loqa/files`; whole models: `@loqa/loqa/init`, or the command line.
 *
 * @module
 */

export { type Matrix, matrix, relativeError } from "./src/tensor/matrix.ts";
export { Random } from "./src/tensor/random.ts";
export type { DType, FloatDType } from "./src/tensor/dtype.ts";
export { fromF32, toF32 } from "./src/tensor/dtype.ts";

export type { Device, DeviceName, PartialDevice } from "./src/device/device.ts";
export type { DeviceBuffer, Mat } from "./src/device/buffer.ts";
export type {
  NetworkOperations,
  OperationName,
  Operations,
} from "./src/device/operations.ts";
export { CORE_OPERATIONS } from "./src/device/operations.ts";
export type { QuantMat, QuantSpec, ScaleRule } from "./src/device/quant_mat.ts";
export { quantSizes } from "./src/device/quant_mat.ts";
export { mat } from "./src/device/buffer.ts";
export type { GemmBatch, GemmOperations } from "./src/device/contract/gemm.ts";
export type { QuantOperations } from "./src/device/contract/quant.ts";
export type { LinalgOperations } from "./src/device/contract/linalg.ts";
export type { RowOperations } from "./src/device/contract/rows.ts";
export type { NormOperations } from "./src/device/contract/norm.ts";
export {
  type Activation,
  type ActivationOperations,
  ACTIVATIONS,
} from "./src/device/contract/activation.ts";
export type {
  AttentionOperations,
  AttentionShape,
  RelativeShape,
} from "./src/device/contract/attention.ts";
export type { LossOperations } from "./src/device/contract/loss.ts";
export type {
  AdamwStep,
  OptimizerOperations,
} from "./src/device/contract/optimizer.ts";
export { openDevice, type OpenOptions } from "./src/backend/open.ts";
export {
  DeviceAbsentError,
  DeviceFaultError,
  DeviceLacksError,
  DeviceLostError,
  DeviceMemoryError,
} from "./src/device/errors.ts";

export { FormatError, isMeant, KindError, ValueError } from "./src/errors.ts";

export type { Svd, SvdSettings } from "./src/linalg/svd.ts";

export type { QuantizedMatrix, QuantizedShape } from "./src/quant/quantized.ts";
export {
  bitsPerWeight,
  type Format,
  format,
  FORMAT_NAMES,
  type FormatName,
  FORMATS,
  type ScaleDType,
  type StorageOptions,
} from "./src/quant/formats.ts";
export type { QuantizeSettings } from "./src/quant/quantize.ts";
export type { DeviceOptions } from "./src/api/on_best_device.ts";
export {
  dequantize,
  quantize,
  type QuantizeOptions,
  svd,
  type SvdOptions,
} from "./src/api/matrices.ts";
export {
  type NestedScales,
  nestScales,
  unnestScales,
} from "./src/quant/double.ts";
export { recode } from "./src/quant/recode.ts";

export { loftq, type LoftqOptions } from "./src/api/loftq.ts";
export {
  type LoftqResult,
  type LoftqSettings,
  loraScaling,
  type StoredForm,
} from "./src/loftq/options.ts";
export type { Metric } from "./src/loftq/metric.ts";
export {
  type LayerPlan,
  planLayers,
  type PlanOptions,
} from "./src/loftq/plan.ts";

export * as qalora from "./src/api/qalora.ts";

export type { ByteSink, ByteSource, NamedBytes } from "./src/io/files/bytes.ts";
export {
  blobSource,
  bytesSource,
  type MemorySink,
  memorySink,
} from "./src/io/files/sources.ts";
export { type HttpOptions, httpSource } from "./src/io/hub/http.ts";
export type {
  Checkpoint,
  CheckpointFile,
  QuantizedInfo,
  Scales,
  SideFileOptions,
  TensorInfo,
} from "./src/io/checkpoint/checkpoint.ts";
export type { SideFile } from "./src/io/files/files.ts";
export type { FileSet } from "./src/io/files/files.ts";
export { openCheckpointFrom } from "./src/io/recognise.ts";
export type { JsonObject } from "./src/io/files/json.ts";
export type { TensorReader } from "./src/io/checkpoint/tensor_reader.ts";
export {
  openSafetensors,
  type SafetensorsFile,
  type SafetensorsTensor,
} from "./src/io/safetensors/read.ts";
export {
  type PlacedEntry,
  type SafetensorsEntry,
  safetensorsHeader,
  type SafetensorsLayout,
  SafetensorsWriter,
} from "./src/io/safetensors/write.ts";
export {
  type Adapter,
  adapterEntries,
  type AdapterFactors,
  type AdapterModule,
  adapterTensorName,
  openAdapterFrom,
} from "./src/io/peft/adapter.ts";
export {
  adapterConfig,
  type LoraSettings,
  type ModuleScaling,
  type ReadSettings,
} from "./src/io/peft/config.ts";
export type { Pooling, QaloraGroups } from "./src/io/peft/qalora.ts";
export {
  bnbConfigBlock,
  type BnbConfigOptions,
  type BnbDType,
  bnbEntries,
  type BnbOptions,
  type BnbShape,
  bnbTensors,
} from "./src/io/bnb/write.ts";
export {
  packedEntries,
  packedMetadata,
  type PackedShape,
  packedTensors,
} from "./src/io/packed/packed.ts";
export { modelConfig, packedConfig } from "./src/io/packed/config.ts";
