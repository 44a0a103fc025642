/**
 * Linear layers of an ONNX graph.
 *
 * A layer of affine groups `w = s q + b` becomes ONNX Runtime's `MatMulNBits` without zero points, which is
 * `s (q - 2^(bits-1))`, and a product of the sums of the inputs over each group with `b + s 2^(bits-1)`. Zero points in
 * floating point would do the same, but only the CPU takes them, and slowly.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import type { Checkpoint } from "../../io/checkpoint/checkpoint.ts";
import type { OnnxGraph } from "../../io/onnx/graph.ts";
import { format, type FormatName, FORMATS } from "../../quant/formats.ts";
import { codesOf, packMatrix } from "../../quant/pack.ts";
import type { QuantizedMatrix } from "../../quant/quantized.ts";
import { fromF32, narrow } from "../../tensor/dtype.ts";
import type { ExportedLayer } from "../exporter.ts";
import { roundingLoss } from "../rounding.ts";
import { losslessDType } from "../weights.ts";

/** Values of a plain tensor that are held at a time. */
const CHUNK = 2 ** 21;

/** Element types of plain weights. */
export type OnnxDType = "f16" | "f32";

/** Puts the weights of a checkpoint into a graph. */
export class OnnxWeights {
  /** The quantised weights so far. */
  readonly layers: ExportedLayer[] = [];
  readonly #graph: OnnxGraph;
  readonly #checkpoint: Checkpoint;
  readonly #dtype: OnnxDType | undefined;
  readonly #formats: ReadonlyMap<string, FormatName>;
  /** Sums over groups of values of the graph, by the value and the group. */
  readonly #sums = new Map<string, string>();
  readonly #plain = new Map<string, string>();

  /**
   * @param formats Formats of the weights that stay quantised, by name.
   * @param dtype Type of plain matrices; without it f16 where they are stored so, else f32.
   */
  constructor(
    graph: OnnxGraph,
    { checkpoint, formats, dtype }: {
      checkpoint: Checkpoint;
      formats: ReadonlyMap<string, FormatName>;
      dtype?: OnnxDType;
    },
  ) {
    this.#graph = graph;
    this.#checkpoint = checkpoint;
    this.#formats = formats;
    this.#dtype = dtype;
  }

  /** A tensor as f32 values of the graph, whatever it is stored in. */
  async plain(name: string): Promise<string> {
    const known = this.#plain.get(name);
    if (known !== undefined) return known;
    const info = this.#checkpoint.tensors.get(name)!;
    const { shape } = info;
    // Not all that runs ONNX has bf16.
    const lossless = losslessDType(info) === "f16" ? "f16" : "f32";
    const type = shape.length < 2 ? "f32" : this.#dtype ?? lossless;
    const stored = await this.#graph.weight(name, {
      type,
      dims: shape,
      parts: this.#rows(name, type),
    });
    const value = type === "f32"
      ? stored
      : this.#graph.node("Cast", [stored], { attributes: { to: 1 } });
    this.#plain.set(name, value);
    return value;
  }

  async *#rows(name: string, type: OnnxDType): AsyncGenerator<Uint8Array> {
    const [rows, ...rest] = this.#checkpoint.tensors.get(name)!.shape;
    const width = rest.reduce((a, b) => a * b, 1);
    const step = Math.max(1, Math.floor(CHUNK / Math.max(width, 1)));
    for (let from = 0; from < rows; from += step) {
      const to = Math.min(rows, from + step);
      yield narrow(
        await this.#checkpoint.readF32(name, from, to),
        type,
        name,
      );
    }
  }

  /** `x[n, in]` times the weight of `module`, with its bias if it has one: `[n, out]`. */
  async linear(
    x: string,
    module: string,
    { bias = false }: { bias?: boolean } = {},
  ): Promise<string> {
    const name = `${module}.weight`;
    const offset = bias ? await this.plain(`${module}.bias`) : undefined;
    if (!this.#formats.has(name)) {
      const weight = await this.plain(name);
      return this.#graph.node(
        "Gemm",
        [x, weight, ...(offset ? [offset] : [])],
        { attributes: { transB: 1 } },
      );
    }
    const y = await this.#quantized(x, module);
    return offset ? this.#graph.node("Add", [y, offset]) : y;
  }

  async #quantized(x: string, module: string): Promise<string> {
    const graph = this.#graph;
    const name = `${module}.weight`;
    const q = (await this.#checkpoint.readQuantized!(name))!;
    const { rows, cols } = q;
    const { bits, block, count, blob, half, middle } = blocksOf(q, name);
    const weight = (part: string, dims: number[], values: Float32Array) =>
      graph.weight(`${name}_${part}`, {
        type: "f32",
        dims,
        parts: [fromF32(values, "f32")],
      });
    const codes = await graph.weight(`${name}_q${bits}`, {
      type: "u8",
      dims: [rows, count, block * bits / 8],
      parts: [blob],
    });
    const scales = await weight("scales", [rows * count], q.scales);
    const sums = await weight("middles", [rows, count], middle);
    this.layers.push({
      name: module,
      format: q.format,
      block: q.block,
      ...roundingLoss(q, {
        scales: q.scales,
        biases: Float64Array.from(middle, (c, i) => c - q.scales[i] * half),
      }),
    });
    const product = graph.node("MatMulNBits", [x, codes, scales], {
      domain: "com.microsoft",
      attributes: { K: cols, N: rows, bits, block_size: block },
    });
    return graph.node(
      "Gemm",
      [this.#groupSums(x, { cols, block, count }), sums, product],
      { attributes: { transB: 1 } },
    );
  }

  /** Sums of `x` over groups, `[n, count]`; layers with the same input share them. */
  #groupSums(
    x: string,
    { cols, block, count }: { cols: number; block: number; count: number },
  ): string {
    const key = `${x} ${block}`;
    const known = this.#sums.get(key);
    if (known !== undefined) return known;
    const graph = this.#graph;
    const missing = count * block - cols;
    const whole = missing === 0 ? x : graph.node("Pad", [
      x,
      graph.constant("i64", [0, 0, 0, missing]),
    ]);
    const groups = graph.node("Reshape", [
      whole,
      graph.constant("i64", [-1, count, block]),
    ]);
    const sums = graph.node("ReduceSum", [
      groups,
      graph.constant("i64", [-1]),
    ], { attributes: { keepdims: 0 } });
    this.#sums.set(key, sums);
    return sums;
  }
}

/** A matrix as `MatMulNBits` has it. */
interface NBits {
  /** Width of a code in the file. */
  readonly bits: number;
  readonly block: number;
  /** Groups of a row. */
  readonly count: number;
  /** Codes, the first in the lowest bits, rows filled up to whole groups. */
  readonly blob: Uint8Array<ArrayBuffer>;
  /** The code of 0 in them. */
  readonly half: number;
  /** `b + s half` of each group. */
  readonly middle: Float32Array<ArrayBuffer>;
}

/**
 * Codes of 3 bits are stored in 4, of 5 in 8, as `MatMulNBits` has no such widths; the latter around 128, not 16, so that
 * the factors of the groups' sums do not grow beyond the weights.
 *
 * @throws {TypeError} If a group is no power of two from 16 on.
 */
function blocksOf(q: QuantizedMatrix, name: string): NBits {
  const { cols } = q;
  const block = q.block || cols;
  if (block < 16 || !Number.isInteger(Math.log2(block))) {
    throw new KindError(
      `Cannot write "${name}" to ONNX: wanted groups of a power of two from 16 on, got ${block}`,
    );
  }
  const { bits: given } = format(q.format);
  const bits = given === 3 ? 4 : given === 5 ? 8 : given;
  const count = Math.ceil(cols / block);
  const width = count * block;
  const half = bits === 8 ? 16 : 2 ** (bits - 1);
  return {
    bits,
    block,
    count,
    blob: blobOf(q, { bits, width, half }),
    half,
    middle: q.biases!.map((b, i) => b + q.scales[i] * half),
  };
}

/** Codes in `bits` each, rows filled up to `width`; in bytes around 128, where `half` is in the format. */
function blobOf(
  q: QuantizedMatrix,
  { bits, width, half }: { bits: number; width: number; half: number },
): Uint8Array<ArrayBuffer> {
  const { rows, cols } = q;
  if (format(q.format).bits === bits && width === cols) return q.codes;
  const codes = widened(codesOf(q), { rows, cols, width });
  if (bits === 8) return codes.map((code) => code + 128 - half);
  const spec = bits === 2 ? FORMATS.int2 : FORMATS.int4;
  return packMatrix(spec, { rows, cols: width, codes });
}

/** Rows with zeros behind them. */
function widened(
  codes: Uint8Array<ArrayBuffer>,
  { rows, cols, width }: { rows: number; cols: number; width: number },
): Uint8Array<ArrayBuffer> {
  if (width === cols) return codes;
  const out = new Uint8Array(rows * width);
  for (let r = 0; r < rows; r++) {
    out.set(codes.subarray(r * cols, (r + 1) * cols), r * width);
  }
  return out;
}
