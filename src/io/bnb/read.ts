/**
 * Reading checkpoints in the 4-bit format of bitsandbytes (nf4, fp4; scales nested or not).
 *
 * A quantised weight `W` is the tensors `W` (codes), `W.absmax`, `W.quant_map`, with nested scales
 * `W.nested_absmax` and `W.nested_quant_map`, and `W.quant_state.bitsandbytes__nf4`, a JSON text with the rest.
 * Here it is one tensor again, of its logical shape. Writing: `write.ts`.
 *
 * @module
 */

import { format } from "../../quant/formats.ts";
import type { DType } from "../../tensor/dtype.ts";
import {
  dequantizeRows,
  storedRange,
  storedSizes,
} from "../checkpoint/dequantize.ts";
import { Problems, quoted } from "../files/errors.ts";
import { parseJsonObject } from "../files/json.ts";
import {
  decodedReader,
  readByteRange,
  readFloats,
} from "../checkpoint/tensor_reader.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";
import type { TensorStore } from "../checkpoint/store.ts";

const STATE = /^(.+)\.quant_state\.bitsandbytes__([a-z0-9]+)$/;

/** Longest quant_state accepted; real ones have about two hundred bytes. */
const MAX_STATE = 1 << 16;

const DTYPES: Readonly<Record<string, DType>> = {
  float16: "f16",
  bfloat16: "bf16",
  float32: "f32",
};

/** Codes are pairs of nibbles, the first in the high half, over the flattened matrix. */
const SPEC = { bits: 4, grouping: "flat", order: "high" } as const;

/** True if a store holds weights of bitsandbytes. */
export function hasBnb(store: TensorStore): boolean {
  for (const name of store.tensors.keys()) if (STATE.test(name)) return true;
  return false;
}

/**
 * Readers of the logical tensors of a store with weights of bitsandbytes; plain tensors pass through.
 *
 * @param where Name of the checkpoint in errors.
 * @throws {SyntaxError} That lists every quantised weight whose parts are missing or do not fit.
 */
export async function bnbReaders(
  store: TensorStore,
  { where }: { where: string },
): Promise<TensorReader[]> {
  const problems = new Problems(`read ${quoted(where)} as bitsandbytes`);
  const weights = new Map<string, string>();
  for (const name of store.tensors.keys()) {
    const match = STATE.exec(name);
    if (match === null) continue;
    if (weights.has(match[1])) {
      problems.add(`tensor ${quoted(match[1])} has two quant_state entries`);
    }
    weights.set(match[1], match[2]);
  }
  const readers: TensorReader[] = [];
  for (const [name, reader] of store.tensors) {
    const type = weights.get(name);
    if (type !== undefined) {
      const found = await readWeight(store, { name, type, problems });
      if (found !== undefined) readers.push(found);
    } else if (!isPart(name, weights)) readers.push(reader);
  }
  for (const name of weights.keys()) {
    if (!store.tensors.has(name)) {
      problems.add(`tensor ${quoted(name)} is missing, its quant_state is not`);
    }
  }
  problems.throwIfAny();
  return readers;
}

const PARTS =
  /^(.+)\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.[a-z0-9_]+)$/;

function isPart(name: string, weights: ReadonlyMap<string, string>): boolean {
  const match = PARTS.exec(name);
  return match !== null && weights.has(match[1]);
}

/** The parts of one weight, checked; undefined, with the problems noted, if they do not fit. */
async function readWeight(
  store: TensorStore,
  { name, type, problems }: {
    name: string;
    type: string;
    problems: Problems;
  },
): Promise<TensorReader | undefined> {
  let fine = true;
  const bad = (reason: string) => {
    problems.add(`tensor ${quoted(name)}: ${reason}`);
    fine = false;
  };
  const part = (
    key: string,
    dtype: DType,
    count: number,
  ): TensorReader => {
    const reader = store.tensors.get(`${name}.${key}`);
    const wanted = `${key}: wanted ${count} values of ${dtype}`;
    const { info } = reader ?? {};
    if (info === undefined) bad(`${wanted}, it is missing`);
    else if (
      info.dtype !== dtype || info.shape.reduce((a, b) => a * b, 1) !== count
    ) bad(`${wanted}, got ${info.dtype} [${info.shape.join(", ")}]`);
    return reader!;
  };
  if (type !== "nf4" && type !== "fp4") {
    bad(`wanted quant type nf4 or fp4, got ${quoted(type)}`);
    return undefined;
  }
  const stateName = `${name}.quant_state.bitsandbytes__${type}`;
  const stateInfo = store.tensors.get(stateName)!;
  if (stateInfo.info.bytes > MAX_STATE) {
    bad(`its quant_state has ${stateInfo.info.bytes} bytes`);
    return undefined;
  }
  const state = parseJsonObject(
    await readByteRange(stateInfo, 0, stateInfo.info.bytes),
    stateName,
  );
  const { blocksize, shape } = state;
  if (state.quant_type !== type) {
    bad(
      `its name says ${type}, its quant_state ${quoted(`${state.quant_type}`)}`,
    );
  }
  const dtype = typeof state.dtype === "string" &&
      Object.hasOwn(DTYPES, state.dtype)
    ? DTYPES[state.dtype]
    : undefined;
  if (dtype === undefined) bad(`unknown dtype ${quoted(`${state.dtype}`)}`);
  if (!isCount(blocksize)) bad(`blocksize ${quoted(`${blocksize}`)}`);
  if (!Array.isArray(shape) || shape.length < 1 || !shape.every(isCount)) {
    bad("its shape is no list of sizes");
  }
  if (!fine) return undefined;
  const sizes = shape as number[];
  const rows = sizes[0];
  const cols = sizes.slice(1).reduce((a, b) => a * b, 1);
  const stored = { rows, cols, block: blocksize as number };
  const { blocks, codeBytes } = storedSizes(SPEC, stored);
  const codes = store.tensors.get(name)!;
  // Storage of a wider type than u8 may hold a few bytes more.
  if (codes.info.bytes < codeBytes || codes.info.bytes >= codeBytes + 8) {
    bad(
      `[${
        sizes.join(", ")
      }] needs ${codeBytes} bytes of codes, got ${codes.info.bytes}`,
    );
  }
  const map = part("quant_map", "f32", 16);
  const nested = state.nested_blocksize !== undefined ||
    store.tensors.has(`${name}.nested_absmax`);
  const absmax = part("absmax", nested ? "u8" : "f32", blocks);
  const parts = [codes, map, absmax, stateInfo];
  let scales: ScaleReader = (from, to) => readFloats(absmax, from, to);
  if (nested) {
    const { nested_blocksize: size, nested_offset: offset } = state;
    if (!isCount(size) || typeof offset !== "number") {
      bad(`nested_blocksize ${size}, nested_offset ${offset}`);
      return undefined;
    }
    const outer = part("nested_absmax", "f32", Math.ceil(blocks / size));
    const table = part("nested_quant_map", "f32", 256);
    scales = (from, to) =>
      unnested({ absmax, outer, table, size, offset }, from, to);
    parts.push(outer, table);
  }
  if (!fine) return undefined;
  const bytes = parts.reduce((sum, { info }) => sum + info.bytes, 0);
  return weightReader({
    info: { name, shape: sizes, encoding: type, dtype: dtype!, bytes },
    stored,
    codes,
    levels: await readFloats(map, 0, 16),
    scales,
  });
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

/** Scales of blocks `from` up to `to`. */
type ScaleReader = (
  from: number,
  to: number,
) => Promise<Float32Array<ArrayBuffer>>;

/** Scales stored in 8 bits: `map[code] * outer + offset`, each step in f32. */
async function unnested(
  { absmax, outer, table, size, offset }: {
    absmax: TensorReader;
    outer: TensorReader;
    table: TensorReader;
    size: number;
    offset: number;
  },
  from: number,
  to: number,
): Promise<Float32Array<ArrayBuffer>> {
  const codes = await readByteRange(absmax, from, to);
  const first = Math.floor(from / size);
  const scales = await readFloats(outer, first, Math.ceil(to / size));
  const map = await readFloats(table, 0, 256);
  const shift = Math.fround(offset);
  return Float32Array.from(
    codes,
    (code, i) =>
      Math.fround(map[code] * scales[Math.floor((from + i) / size) - first]) +
      shift,
  );
}

function weightReader({ info, stored, codes, levels, scales }: {
  info: TensorReader["info"];
  stored: { rows: number; cols: number; block: number };
  codes: TensorReader;
  levels: Float32Array;
  scales: ScaleReader;
}): TensorReader {
  const nf4 = format("nf4").levels!;
  const { blocks, codeBytes } = storedSizes(SPEC, stored);
  return decodedReader(
    info,
    async (from, to) => {
      const range = storedRange(SPEC, stored, [from, to]);
      return dequantizeRows(
        { ...SPEC, levels },
        stored,
        [from, to],
        {
          codes: await readByteRange(codes, ...range.codes),
          scales: await scales(...range.blocks),
        },
      );
    },
    levels.every((level, i) => level === nf4[i])
      ? {
        shape: { format: "nf4", ...stored, scaleDType: "f32" },
        read: async () => ({
          format: "nf4",
          ...stored,
          codes: await readByteRange(codes, 0, codeBytes),
          scales: await scales(0, blocks),
        }),
        scales: async () => ({ scales: await scales(0, blocks) }),
      }
      : undefined,
  );
}
