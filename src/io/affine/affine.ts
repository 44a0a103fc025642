/**
 * Tensors that other programs store as affine groups along the rows, as readers in loqa's terms.
 *
 * @module
 */

import { FORMATS } from "../../quant/formats.ts";
import type { FormatName, ScaleDType } from "../../quant/formats.ts";
import type { DType } from "../../tensor/dtype.ts";
import { dequantizeRows } from "../checkpoint/dequantize.ts";
import type { StoredShape } from "../checkpoint/dequantize.ts";
import { quoted } from "../files/errors.ts";
import type { Problems } from "../files/errors.ts";
import { decodedReader } from "../checkpoint/tensor_reader.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";
import type { TensorStore } from "../checkpoint/store.ts";

/** Reads rows `from` up to `to` of a matrix. */
export interface AffineParts {
  /** Codes as a `row`, `low` bit stream. */
  codes(from: number, to: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Scales and biases, both `[rows, groups]`. */
  scales(from: number, to: number): Promise<{
    readonly scales: Float32Array<ArrayBuffer>;
    readonly biases: Float32Array<ArrayBuffer>;
  }>;
}

/** A matrix for {@linkcode affineReader}. */
export interface AffineMatrix extends StoredShape {
  /** Its name here. */
  readonly name: string;
  /** Bits of a code, 2 to 8. */
  readonly bits: number;
  /** Type of scales, the best one for the values. */
  readonly scaleDType: ScaleDType;
  /** Type of biases; f32 where they are computed. */
  readonly biasDType: ScaleDType;
  /** The tensors that it is stored in. */
  readonly parts: readonly TensorReader[];
}

/** A reader of a matrix whose rows `read` reads. It is a quantised matrix where loqa has a format of the width. */
export function affineReader(
  { name, bits, rows, cols, block, scaleDType, biasDType, parts }: AffineMatrix,
  read: AffineParts,
): TensorReader {
  const key = `int${bits}`;
  const shape = { format: key as FormatName, rows, cols, block };
  const both = async (from: number, to: number) => ({
    codes: await read.codes(from, to),
    ...await read.scales(from, to),
  });
  const spec = { bits, grouping: "row", order: "low", levels: null } as const;
  return decodedReader(
    {
      name,
      shape: [rows, cols],
      encoding: key,
      dtype: scaleDType,
      bytes: parts.reduce((sum, { info }) => sum + info.bytes, 0),
    },
    async (from, to) =>
      dequantizeRows(
        spec,
        { rows, cols, block },
        [from, to],
        await both(from, to),
      ),
    Object.hasOwn(FORMATS, key)
      ? {
        shape: { ...shape, scaleDType, biasDType },
        read: async () => ({ ...shape, ...await both(0, rows) }),
        scales: () => read.scales(0, rows),
      }
      : undefined,
  );
}

/** Finds the parts of one quantised weight in a store and notes their faults. */
export class PartFinder {
  readonly #store: TensorStore;
  readonly #module: string;
  readonly #problems: Problems;
  /** True if nothing was wrong. */
  fine = true;

  /** @param module Path of the module that the parts belong to. */
  constructor(store: TensorStore, module: string, problems: Problems) {
    this.#store = store;
    this.#module = module;
    this.#problems = problems;
  }

  /** Notes a problem of the weight. */
  bad(reason: string): undefined {
    this.#problems.add(`layer ${quoted(this.#module)}: ${reason}`);
    this.fine = false;
  }

  /** The part `MODULE.key`, noted if it is missing, of another type or (where it is known) of another shape. */
  part(
    key: string,
    dtypes: readonly DType[],
    shape?: readonly number[],
  ): TensorReader | undefined {
    const reader = this.#store.tensors.get(`${this.#module}.${key}`);
    const info = reader?.info;
    if (
      info === undefined || !dtypes.includes(info.dtype) ||
      (shape !== undefined && `${info.shape}` !== `${shape}`)
    ) {
      return this.bad(
        `${key}: wanted ${dtypes.join(" or ")}${
          shape === undefined ? "" : ` [${shape.join(", ")}]`
        }, got ${
          info === undefined
            ? "nothing"
            : `${info.dtype} [${info.shape.join(", ")}]`
        }`,
      );
    }
    return reader;
  }

  /** As {@linkcode part}, of two dimensions whose sizes are not known yet. */
  matrix(key: string, dtypes: readonly DType[]): TensorReader | undefined {
    const reader = this.part(key, dtypes);
    if (reader !== undefined && reader.info.shape.length !== 2) {
      return this.bad(
        `${key}: wanted two dimensions, got [${reader.info.shape.join(", ")}]`,
      );
    }
    return reader;
  }
}

/** Types of scales and biases. */
export const SCALE_TYPES: readonly ScaleDType[] = ["f16", "bf16", "f32"];

/** The type of a part that was found in one of {@linkcode SCALE_TYPES}. */
export function scaleTypeOf({ info }: TensorReader): ScaleDType {
  return info.dtype as ScaleDType;
}

/**
 * The tensors of a store with the parts of quantised weights replaced by readers of the weights.
 *
 * @param weights Readers by the name of the part that they stand in the place of.
 * @param isPart True if a tensor is another part of a weight.
 */
export function replaceParts(
  store: TensorStore,
  weights: ReadonlyMap<string, TensorReader>,
  isPart: (name: string) => boolean,
): TensorReader[] {
  const readers: TensorReader[] = [];
  for (const [name, reader] of store.tensors) {
    const weight = weights.get(name);
    if (weight !== undefined) readers.push(weight);
    else if (!isPart(name)) readers.push(reader);
  }
  return readers;
}
