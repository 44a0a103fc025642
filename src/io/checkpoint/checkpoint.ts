/**
 * A model file or folder as the rest of loqa sees it, whatever its format.
 *
 * @module
 */

import type { ScaleDType } from "../../quant/formats.ts";
import type { QuantizedMatrix, QuantizedShape } from "../../quant/quantized.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { SideFile } from "../files/files.ts";

/**
 * A quantised matrix as the headers of its file describe it. Its values may be narrower: scales may fit another type
 * (`packedShape`), and the codes of Q5_1 blocks into int4 (`narrowestShape`).
 */
export interface QuantizedInfo extends QuantizedShape {
  /** Type that holds its scales. */
  readonly scaleDType: ScaleDType;
  /** Type that holds its biases, for affine formats; f32 where they are computed from zero points. */
  readonly biasDType?: ScaleDType;
}

/** One tensor of a checkpoint. */
export interface TensorInfo {
  /** Name as Hugging Face has it (`model.layers.0.self_attn.q_proj.weight`). */
  readonly name: string;
  /** Sizes, outermost first; a linear layer's weight is `[out, in]`. */
  readonly shape: readonly number[];
  /**
   * Encoding: a plain element type, or the name of a quantised one (`Q4_1`, `nf4`, `int3`), for people and reports.
   */
  readonly encoding: string;
  /** Best element type of its values in a copy: the stored one, or that which a quantised encoding decodes to. */
  readonly dtype: DType;
  /** Bytes it takes in its file, scales included. */
  readonly bytes: number;
  /** Type of ggml whose whole blocks its rows are stored in; {@linkcode Checkpoint.readBlocks} gives them as they are. */
  readonly blocks?: string;
  /** Its shape in one of loqa's formats, where it has one; {@linkcode Checkpoint.readQuantized} reads the matrix. */
  readonly quantized?: QuantizedInfo;
}

/** Scales and biases of a quantised matrix. */
export type Scales = Pick<QuantizedMatrix, "scales" | "biases">;

/** Options of reading {@linkcode Checkpoint.sideFiles}. */
export interface SideFileOptions {
  /** Called if no tokenizer can be made from the model's metadata; its files are left out then. Thrown without it. */
  readonly onLeftOut?: (reason: Error) => void;
}

/** A file of a checkpoint's tensors. */
export interface CheckpointFile {
  /** Its name, no folder. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** When it was last changed, in milliseconds since 1970. */
  readonly modified: number;
}

/** A readable checkpoint: tensors by name, streamed, and the small files beside them. */
export interface Checkpoint extends AsyncDisposable {
  /** Its name in errors: the path or id it was opened by. */
  readonly name: string;
  /** Layout it was found in: a row of `src/io/layouts.ts`, or plain tensors in `safetensors` or `torch`, or `gguf`. */
  readonly format: string;
  /**
   * Reasons for which it cannot be used as a model: it is a part of one, or quantised by a method that is not decoded.
   * Only where it was opened to be described, and then not empty.
   */
  readonly notes?: readonly string[];
  /** Tensors in file order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Contents of config.json (made from the metadata of a GGUF file); empty where there is none. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The files that its tensors are in, as they were when opened; none where they are no files. */
  readonly files?: readonly CheckpointFile[];
  /** Targets of side files that are links out of the model's folder, by name: they are read, not copied. */
  readonly outside?: ReadonlyMap<string, string>;
  /** config.json, tokenizer files and the like, to be copied along. */
  sideFiles(options?: SideFileOptions): Promise<SideFile[]>;
  /**
   * Decoded f32 values of rows `from` up to `to` (default: all) of the first dimension; a vector's rows are its elements.
   * In new memory that the caller owns.
   *
   * @throws {TypeError} If there is no such tensor or it holds no numbers that f32 can stand for.
   */
  readF32(
    name: string,
    from?: number,
    to?: number,
  ): Promise<Float32Array<ArrayBuffer>>;
  /**
   * Little-endian bytes in the tensor's `dtype` of rows `from` up to `to`: as stored for plain types, decoded
   * for quantised encodings.
   */
  readRaw(
    name: string,
    from?: number,
    to?: number,
  ): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Rows `from` up to `to` (default: all) of a tensor with {@linkcode TensorInfo.blocks}, as they are stored.
   *
   * @throws {TypeError} If there is no such tensor or it is stored otherwise.
   */
  readBlocks?(
    name: string,
    from?: number,
    to?: number,
  ): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The quantised matrix behind a tensor with {@linkcode TensorInfo.quantized} (`nf4` of bitsandbytes, packed, MLX, HQQ, GPTQ,
   * Q4_1 and Q5_1 blocks); undefined for every other tensor. In new memory that the caller owns.
   *
   * @throws {TypeError} If there is no such tensor.
   */
  readQuantized?(name: string): Promise<QuantizedMatrix | undefined>;
  /**
   * Scales and biases of that matrix alone: its codes are not read where they lie apart.
   *
   * @throws {TypeError} If there is no such tensor.
   */
  readScales?(name: string): Promise<Scales | undefined>;
}
