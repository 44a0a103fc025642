/**
 * The number formats, one row each. Code that needs a case looks at the row, never at a name.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { QuantSpec, ScaleRule } from "../device/quant_mat.ts";
import { hasGroups, quantSizes } from "../device/quant_mat.ts";
import { DTYPE_BYTES } from "../tensor/dtype.ts";
import {
  midpoints,
  NF2_LEVELS,
  NF3_LEVELS,
  NF4_LEVELS,
  uniformLevels,
} from "./codebooks.ts";

/** Name of a number format. */
export type FormatName =
  | "nf4"
  | "nf3"
  | "nf2"
  | "int5"
  | "int4"
  | "int3"
  | "int2"
  | "uniform4"
  | "uniform3"
  | "uniform2"
  | "clip4"
  | "clip3"
  | "clip2";

/** A row of the table. */
export interface Format extends QuantSpec {
  /** The row's key. */
  readonly name: FormatName;
  /** Elements of a block where nobody says otherwise; 0 means the whole matrix (flat) or the whole row (row). */
  readonly defaultBlock: number;
  /** Default rule of the scales. */
  readonly defaultScale: ScaleRule;
  /** True if the row exists only to reproduce a published quantiser, not to be recommended. */
  readonly compatibility: boolean;
  /** One line for a person. */
  readonly description: string;
}

function codebook(
  name: FormatName,
  bits: 2 | 3 | 4,
  levels: Float32Array,
  row: Pick<Format, "order" | "defaultScale" | "compatibility" | "description">,
): Format {
  return {
    name,
    bits,
    levels,
    thresholds: midpoints(levels),
    grouping: "flat",
    defaultBlock: 64,
    ...row,
  };
}

function affine(
  name: FormatName,
  bits: QuantSpec["bits"],
  row: Pick<
    Format,
    | "grouping"
    | "defaultBlock"
    | "defaultScale"
    | "compatibility"
    | "description"
  >,
): Format {
  return { name, bits, levels: null, thresholds: null, order: "low", ...row };
}

const normal = {
  order: "low",
  defaultScale: "absmax",
  compatibility: false,
} as const;
const group = {
  grouping: "row",
  defaultBlock: 32,
  defaultScale: "minmax",
  compatibility: false,
} as const;
const uniform = {
  order: "low",
  defaultScale: "std",
  compatibility: true,
} as const;
const clip = {
  grouping: "flat",
  defaultBlock: 0,
  defaultScale: "clip",
  compatibility: true,
} as const;

/**
 * Every format.
 *
 * - `nf4`: bitsandbytes' 4-bit NormalFloat, byte for byte (Dettmers et al., QLoRA, 2305.14314).
 * - `nf3`, `nf2`: LoftQ's `NFQuantizer(method="normal")` (Li et al., 2310.08659).
 * - `int5` … `int2`: affine groups along the input dimension, `w = scale * q + bias`; 32 or 64 usual.
 * - `uniform4` … `uniform2`: LoftQ's `NFQuantizer(method="uniform")`, levels without a zero; with scale `absmax`
 *   a plain uniform quantiser.
 * - `clip4` … `clip2`: the uniform quantiser of LoftQ's GLUE experiments, one range for the whole matrix. It
 *   divides by the range + 1e-8, this by the range: the same codes but for a matrix narrower than about 1e-6.
 *
 * LoftQ divides a weight by its scale; the device contract multiplies by the f32 reciprocal, as bitsandbytes
 * does. The two differ by a rounding, so that about one code in 10^7, within an ulp of a threshold, is the
 * neighbouring level.
 */
export const FORMATS: Readonly<Record<FormatName, Format>> = {
  nf4: codebook("nf4", 4, NF4_LEVELS, {
    ...normal,
    order: "high",
    description: "4-bit NormalFloat, the bytes of bitsandbytes",
  }),
  nf3: codebook("nf3", 3, NF3_LEVELS, {
    ...normal,
    description: "3-bit NormalFloat of LoftQ",
  }),
  nf2: codebook("nf2", 2, NF2_LEVELS, {
    ...normal,
    description: "2-bit NormalFloat of LoftQ",
  }),
  int5: affine("int5", 5, {
    ...group,
    description: "5-bit affine groups along the input",
  }),
  int4: affine("int4", 4, {
    ...group,
    description: "4-bit affine groups along the input",
  }),
  int3: affine("int3", 3, {
    ...group,
    description: "3-bit affine groups along the input",
  }),
  int2: affine("int2", 2, {
    ...group,
    description: "2-bit affine groups along the input",
  }),
  uniform4: codebook("uniform4", 4, uniformLevels(4), {
    ...uniform,
    description: "LoftQ's 4-bit uniform blocks (mean + 2.5 std)",
  }),
  uniform3: codebook("uniform3", 3, uniformLevels(3), {
    ...uniform,
    description: "LoftQ's 3-bit uniform blocks (mean + 2.5 std)",
  }),
  uniform2: codebook("uniform2", 2, uniformLevels(2), {
    ...uniform,
    description: "LoftQ's 2-bit uniform blocks (mean + 2.5 std)",
  }),
  clip4: affine("clip4", 4, {
    ...clip,
    description: "LoftQ's GLUE uniform quantiser, 4 bits a tensor-wide range",
  }),
  clip3: affine("clip3", 3, {
    ...clip,
    description: "LoftQ's GLUE uniform quantiser, 3 bits a tensor-wide range",
  }),
  clip2: affine("clip2", 2, {
    ...clip,
    description: "LoftQ's GLUE uniform quantiser, 2 bits a tensor-wide range",
  }),
};

/** Names of the formats, in table order. */
export const FORMAT_NAMES: readonly FormatName[] = Object.keys(
  FORMATS,
) as FormatName[];

/** Names of the affine formats in groups along rows, as errors list them. */
export const GROUP_FORMATS: string = FORMAT_NAMES
  .filter((name) => hasGroups(FORMATS[name])).join(", ");

/**
 * The row called `name`.
 *
 * @throws {RangeError} If there is none; the message lists those there are.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { format } from "@loqa/loqa";
 *
 * const { bits, grouping, defaultBlock } = format("int4");
 * assert.deepEqual([bits, grouping, defaultBlock], [4, "row", 32]);
 * ```
 */
export function format(name: string): Format {
  if (!Object.hasOwn(FORMATS, name)) {
    throw new ValueError(
      `Cannot use format "${name}": wanted one of ${FORMAT_NAMES.join(", ")}`,
    );
  }
  return FORMATS[name as FormatName];
}

/** The scale rules that fit a format. */
export function scaleRules(spec: QuantSpec): ScaleRule[] {
  return spec.levels === null
    ? ["absmax", "minmax", "mse", "clip"]
    : ["absmax", "mse", "std"];
}

/** Element types that scales and biases are stored in. */
export type ScaleDType = "f16" | "bf16" | "f32";

/** Shape of a quantised matrix for {@linkcode bitsPerWeight}. */
export interface StorageOptions {
  /** `out` features. */
  readonly rows: number;
  /** `in` features. */
  readonly cols: number;
  /** Elements of a block; the format's default without it. */
  readonly block?: number;
  /** Scales stored in 8 bits, see `src/quant/double.ts` (codebook formats). */
  readonly doubleQuant?: boolean;
  /** Element type that scales are stored in; f32 without it. */
  readonly scaleDType?: ScaleDType;
  /** Element type that biases are stored in; f32 without it. */
  readonly biasDType?: ScaleDType;
}

/**
 * Stored bits of one weight: packed codes, scales and biases in their types. With `doubleQuant` a scale takes 8 bits, 256 of
 * them share an f32, and all an f32 offset (4.127 for a large nf4 matrix against 4.5).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { bitsPerWeight, format } from "@loqa/loqa";
 *
 * assert.equal(bitsPerWeight(format("nf4"), { rows: 64, cols: 64 }), 4.5);
 * assert.equal(bitsPerWeight(format("int2"), { rows: 64, cols: 64, scaleDType: "f16", biasDType: "f16" }), 3);
 * ```
 */
export function bitsPerWeight(
  spec: Format,
  {
    rows,
    cols,
    block = spec.defaultBlock,
    doubleQuant,
    scaleDType = "f32",
    biasDType = "f32",
  }: StorageOptions,
): number {
  const { blocks, codeBytes } = quantSizes(spec, rows, cols, block);
  const scaleBits = doubleQuant
    ? 8 * blocks + 32 * Math.ceil(blocks / 256) + 32
    : 8 * DTYPE_BYTES[scaleDType] * blocks;
  const biasBits = spec.levels === null
    ? 8 * DTYPE_BYTES[biasDType] * blocks
    : 0;
  return (8 * codeBytes + scaleBits + biasBits) / (rows * cols);
}
