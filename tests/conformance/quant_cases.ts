/**
 * Conformance cases of quantisation: every format and scale rule, odd shapes, blocks that do not divide.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Device } from "../../src/device/device.ts";
import type { QuantMat, ScaleRule } from "../../src/device/quant_mat.ts";
import { quantSizes } from "../../src/device/quant_mat.ts";
import { readF32 } from "../../src/device/device.ts";
import { unpackCodes } from "../../src/device/pack.ts";
import {
  format,
  FORMAT_NAMES,
  type FormatName,
  scaleRules,
} from "../../src/quant/formats.ts";
import { type Matrix, matrix } from "../../src/tensor/matrix.ts";
import { Random } from "../../src/tensor/random.ts";
import { assertAllClose, assertBytes } from "../helpers/assert.ts";
import { normalMatrix } from "../helpers/inputs.ts";
import type { Case, Tools } from "./table.ts";
import { INNER, type View, WHOLE, type Workspace } from "./workspace.ts";

/** Every format that is used; those kept to compare with are packed like one of them. */
export const USED_FORMATS: readonly FormatName[] = FORMAT_NAMES.filter((name) =>
  !format(name).compatibility
);

/** A matrix, and its format. */
export interface QuantInput {
  format: FormatName;
  scale: ScaleRule;
  block: number;
  w: Matrix;
  weights?: Float32Array;
  view?: View;
  /** Scales are below 1e-38: codes are squeezed towards 0, not nearest. */
  subnormal?: boolean;
}

/** Result of quantising it. */
export interface Quantised {
  codes: Uint8Array;
  scales: Float32Array;
  biases: Float32Array | null;
  q: QuantMat;
}

/** Quantises a matrix on a device and reads the result. */
export async function quantise(
  w: Workspace,
  device: Device,
  input: QuantInput,
): Promise<Quantised> {
  const { rows, cols } = input.w;
  const q = w.quant(input.format, { rows, cols, block: input.block });
  device.ops.quantize({
    w: w.put(input.w, input.view),
    q,
    scale: input.scale,
    weight: input.weights && w.vector(input.weights),
  });
  const { blocks, codeBytes } = quantSizes(q.spec, rows, cols, input.block);
  const [codes, scales, biases] = await Promise.all([
    device.read(q.codes, 0, codeBytes),
    readF32(device, q.scales, 0, blocks),
    q.biases && readF32(device, q.biases, 0, blocks),
  ]);
  return { codes, scales, biases, q };
}

/** Dequantised values, from the definition: block by block over unpacked codes, in f64. */
export function values({ q, codes, scales, biases }: Quantised): Float64Array {
  const { spec, rows, cols } = q;
  const plain = unpackCodes(spec, { rows, cols, codes });
  const line = spec.grouping === "flat" ? rows * cols : cols;
  const size = q.block || line;
  return Float64Array.from(plain, (code, i) => {
    const at = Math.floor(i / line) * Math.ceil(line / size) +
      Math.floor((i % line) / size);
    return spec.levels
      ? scales[at] * spec.levels[code]
      : scales[at] * code + biases![at];
  });
}

function weightedError(input: QuantInput, result: Quantised): number {
  const w = input.w;
  return values(result).reduce((sum, x, i) => {
    const weight = input.weights ? input.weights[i % w.cols] : 1;
    return sum + weight * (x - w.data[i]) ** 2;
  }, 0);
}

/** Every code is one whose value is nearest to the weight, up to rounding: the definition, by brute force. */
function assertNearest(input: QuantInput, result: Quantised): void {
  const { q, scales } = result;
  const plain = unpackCodes(q.spec, { ...q, codes: result.codes });
  const top = q.spec.levels?.length ?? 1 << q.spec.bits;
  const chosen = values(result);
  const best = new Float64Array(plain.length).fill(Infinity);
  for (let code = 0; code < top; code++) {
    // Same scales, every code in turn.
    const all = values({ ...result, codes: repeat(q, code) });
    all.forEach((x, i) => {
      best[i] = Math.min(best[i], Math.abs(x - input.w.data[i]));
    });
  }
  const step = 4e-7 * scales.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const slack = q.spec.levels ? step : step * top +
    1e-6 * input.w.data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  chosen.forEach((x, i) => {
    const d = Math.abs(x - input.w.data[i]);
    assert.ok(
      d <= best[i] + slack,
      `weight ${input.w.data[i]} at ${i}: ${d} away, ${best[i]} possible`,
    );
  });
}

/** Packed codes that are all `code`, packed here bit by bit from the order's definition. */
function repeat({ spec, rows, cols }: QuantMat, code: number): Uint8Array {
  const [count, length] = spec.grouping === "flat"
    ? [1, rows * cols]
    : [rows, cols];
  const bytes = Math.ceil(length * spec.bits / 8);
  const out = new Uint8Array(count * bytes);
  for (let s = 0; s < count; s++) {
    for (let bit = 0; bit < length * spec.bits; bit++) {
      const set = (code >> (bit % spec.bits)) & 1;
      const place = spec.order === "low" ? bit % 8 : (bit % 8) ^ 4;
      out[s * bytes + (bit >> 3)] |= set << place;
    }
  }
  return out;
}

function quantCase(name: string, input: QuantInput): Case {
  const { rows, cols } = input.w;
  const search = input.scale === "mse";
  // Sums whose order may differ enter these scales.
  const summed = input.scale === "std" || input.scale === "clip";
  return {
    op: "quantize",
    name:
      `${input.format} ${input.scale} block ${input.block} ${rows}x${cols} ${name}`
        .trimEnd(),
    why: search
      ? "the search may settle near ties otherwise: error within 1e-4 of the oracle's"
      : summed
      ? "codes equal; scales to 2 ulp, for the order of their sums"
      : "codes and scales equal to the bit",
    async run(tools: Tools) {
      const result = await quantise(tools.w, tools.device, input);
      const oracle = await quantise(
        tools.oracleWorkspace,
        tools.oracle,
        { ...input, view: WHOLE },
      );
      if (search) {
        const error = weightedError(input, result);
        const limit = weightedError(input, oracle);
        assert.ok(
          error <= limit * (1 + 1e-4) + 1e-60,
          `error ${error}, the oracle's ${limit}`,
        );
      } else {
        assertBytes(result.codes, oracle.codes, "codes");
        const rtol = summed ? 2 ** -22 : 0;
        assertAllClose(result.scales, oracle.scales, { rtol, what: "scales" });
        if (oracle.biases) {
          assertAllClose(result.biases!, oracle.biases, {
            rtol,
            what: "biases",
          });
        }
      }
      if (!input.subnormal) assertNearest(input, result);
    },
  };
}

/** Weights whose blocks are ordinary, zero, constant, tiny, huge and lopsided in turn. */
function mixed(rows: number, cols: number): Matrix {
  const random = new Random(rows * 1009 + cols, "mixed");
  const x = normalMatrix(random, rows, cols);
  for (let i = 0; i < x.data.length; i++) {
    switch (Math.floor(i / 32) % 7) {
      case 1:
        x.data[i] = 0;
        break;
      case 2:
        x.data[i] = 0.37;
        break;
      case 3:
        x.data[i] = -2.5;
        break;
      case 4:
        x.data[i] *= 1e-30;
        break;
      case 5:
        x.data[i] *= 1e30;
        break;
      case 6:
        x.data[i] = Math.abs(x.data[i]) + 3;
        break;
    }
  }
  return x;
}

const SHAPES: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 131],
  [131, 1],
  [7, 13],
  [5, 96],
  [3, 67],
  [0, 8],
];

function* cases(): Generator<Case> {
  for (const name of FORMAT_NAMES) {
    const row = format(name);
    for (const scale of scaleRules(row)) {
      const base = { format: name, scale, block: row.defaultBlock };
      for (const [rows, cols] of SHAPES) {
        const w = normalMatrix(new Random(rows + cols), rows, cols);
        yield quantCase("", { ...base, w });
      }
      for (const block of [32, 64, 8, 5, 0]) {
        const w = normalMatrix(new Random(block), 9, 77);
        yield quantCase("", { ...base, block, w });
      }
      const w = normalMatrix(new Random(11), 6, 70);
      yield quantCase("(view)", { ...base, w, view: INNER });
      yield quantCase("mixed blocks", { ...base, block: 32, w: mixed(8, 56) });
      if (scale === "mse") {
        const weights = new Random(12).normals(70)
          .map((x) => x > 1 ? 0 : x * x);
        yield quantCase("weighted", { ...base, w, weights });
        yield quantCase("all weights zero", {
          ...base,
          w,
          weights: new Float32Array(70),
        });
      }
    }
  }
  // Large enough that threads share the work.
  for (const name of USED_FORMATS) {
    const { defaultBlock: block, defaultScale: scale } = format(name);
    const w = normalMatrix(new Random(14), 203, 307);
    yield quantCase("", { format: name, scale, block, w });
  }
  yield quantCase("thresholds exactly, and one ulp to each side", {
    format: "nf4",
    scale: "absmax",
    block: 64,
    w: thresholdTies("nf4"),
  });
  for (const name of ["nf3", "nf2", "uniform2"] as const) {
    yield quantCase("thresholds exactly, and one ulp to each side", {
      format: name,
      scale: "absmax",
      block: 64,
      w: thresholdTies(name),
    });
  }
  yield quantCase("halves round to even", {
    format: "int4",
    scale: "minmax",
    block: 32,
    w: matrix(
      1,
      32,
      Float32Array.from({ length: 32 }, (_, i) => i === 31 ? 15 : i / 2),
    ),
  });
  for (const name of ["nf4", "nf2", "int4", "int2"] as const) {
    yield quantCase("subnormal weights", {
      format: name,
      scale: format(name).defaultScale,
      block: 32,
      subnormal: true,
      w: matrix(
        1,
        96,
        new Random(13).normals(96).map((x, i) =>
          x * [1e-38, 1e-40, 1e-44][Math.floor(i / 32)]
        ),
      ),
    });
  }
}

/** One block: 1, then each threshold and its two neighbours in f32. */
function thresholdTies(name: FormatName): Matrix {
  const out = new Float32Array(64);
  out[0] = 1;
  const bits = new Int32Array(out.buffer);
  format(name).thresholds!.forEach((t, i) => {
    out.fill(t, 1 + 3 * i, 4 + 3 * i);
    if (t === 0) {
      out[1 + 3 * i] = -1e-45;
      out[3 + 3 * i] = 1e-45;
    } else {
      bits[1 + 3 * i]--;
      bits[3 + 3 * i]++;
    }
  });
  return matrix(1, 64, out);
}

function dequantCase(input: QuantInput, from: "none" | "other" | "out"): Case {
  const { rows, cols } = input.w;
  return {
    op: "dequantize",
    name: `${input.format} block ${input.block} ${rows}x${cols}${
      input.view ? " (view)" : ""
    }${from === "none" ? "" : `, from ${from}`}`,
    why: "a product and two sums, each rounded once or fused",
    async run({ w, device, oracle, oracleWorkspace }) {
      const result = await quantise(oracleWorkspace, oracle, input);
      const q = w.quant(input.format, { rows, cols, block: input.block });
      device.write(q.codes, result.codes);
      device.write(q.scales, result.scales);
      if (q.biases) device.write(q.biases, result.biases!);
      const base = normalMatrix(new Random(21), rows, cols);
      const out = from === "out"
        ? w.put(base, input.view)
        : w.room(rows, cols, input.view);
      device.ops.dequantize({
        q,
        out,
        from: from === "none"
          ? undefined
          : from === "out"
          ? out
          : w.put(base, input.view),
      });
      const expected = values(result);
      const largest = input.w.data.reduce(
        (a, b) => Math.max(a, Math.abs(b)),
        0,
      );
      assertAllClose(
        (await w.get(out)).data,
        from === "none" ? expected : expected.map((x, i) => base.data[i] - x),
        {
          rtol: 2 ** -23,
          atol: q.spec.levels && from === "none" ? 0 : 2 ** -21 * largest,
        },
      );
    },
  };
}

function* dequantCases(): Generator<Case> {
  for (const name of FORMAT_NAMES) {
    const row = format(name);
    const base = { format: name, scale: row.defaultScale };
    for (const [rows, cols] of SHAPES) {
      const w = normalMatrix(new Random(rows * cols), rows, cols);
      yield dequantCase({ ...base, w, block: row.defaultBlock }, "none");
    }
    const w = normalMatrix(new Random(31), 9, 77);
    for (const block of [64, 8, 5, 0]) {
      yield dequantCase({ ...base, w, block }, "none");
    }
    const large = normalMatrix(new Random(32), 203, 307);
    yield dequantCase({ ...base, w: large, block: row.defaultBlock }, "none");
    for (const from of ["none", "other", "out"] as const) {
      yield dequantCase({ ...base, w, block: 32, view: INNER }, from);
    }
  }
}

/** Quantisation and its inverse. */
export function quantTable(): Case[] {
  return [...cases(), ...dequantCases()];
}
