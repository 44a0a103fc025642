/**
 * Reading checkpoints that HQQ quantised, with groups along the input (`axis=1`).
 *
 * A quantised layer `P` is `P.W_q` (packed codes, `hqq_pack.ts`), `P.scale` and `P.zero` (`[groups, 1]`, groups row by row),
 * and small tensors with the layout: `nbits`, `group_size`, `axis` (i32), `shape` (i64), `packing` (character codes, u8), as
 * HQQ's `state_dict` encodes them for safetensors. `w = (code - zero) * scale`; here `bias = -zero * scale`, rounded to
 * f32. Writing: `hqq_write.ts`.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { type Format, format } from "../../quant/formats.ts";
import { packCodes } from "../../quant/pack.ts";
import {
  affineReader,
  PartFinder,
  replaceParts,
  SCALE_TYPES,
  scaleTypeOf,
} from "./affine.ts";
import { Problems, quoted } from "../files/errors.ts";
import { HQQ_PACKINGS, hqqWordRows, unpackHqq } from "./hqq_pack.ts";
import type { HqqPacking } from "./hqq_pack.ts";
import { readByteRange } from "../checkpoint/tensor_reader.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";
import type { TensorStore } from "../checkpoint/store.ts";

/** Longest name of a packing that is read. */
const MAX_TEXT = 64;

/** All that a layer may hold beside its bias. */
const PARTS =
  /^(.+)\.(scale|zero|nbits|group_size|shape|axis|packing|unpack_view_dtype|view_as_float|quant_scale|quant_zero|compute_dtype|offload_meta|encoded_state_dict|stores_quant_config|channel_wise|optimize|round_zero)$/;

/** True if a store holds weights that HQQ quantised. */
export function hasHqq(store: TensorStore): boolean {
  return modulesOf(store).next().done === false;
}

function* modulesOf({ tensors }: TensorStore): Generator<string> {
  for (const name of tensors.keys()) {
    if (!name.endsWith(".W_q")) continue;
    const module = name.slice(0, -".W_q".length);
    if (tensors.has(`${module}.nbits`)) yield module;
  }
}

/**
 * Readers of the logical tensors of a store with weights that HQQ quantised; plain tensors pass through.
 *
 * @param where Name of the checkpoint in errors.
 * @throws {TypeError} That lists every layer with groups along the output, of another width, or with quantised scales.
 * @throws {SyntaxError} That lists every layer whose parts do not fit.
 */
export async function hqqReaders(
  store: TensorStore,
  { where }: { where: string },
): Promise<TensorReader[]> {
  const problems = new Problems(`read ${quoted(where)} as HQQ`);
  const weights = new Map<string, TensorReader>();
  const refused: string[] = [];
  const modules = new Set(modulesOf(store));
  for (const module of modules) {
    const find = new PartFinder(store, module, problems);
    const meta = await readMeta(store, module, find);
    if (meta === undefined) continue;
    const reason = unread(meta);
    if (reason !== undefined) {
      refused.push(`${module}: ${reason}`);
      continue;
    }
    const reader = readWeight(module, meta, find);
    if (reader !== undefined) weights.set(`${module}.W_q`, reader);
  }
  problems.throwIfAny();
  if (refused.length > 0) {
    throw new KindError(
      `Cannot read ${quoted(where)} as HQQ: ${refused.slice(0, 3).join("; ")}${
        refused.length > 3 ? `; and ${refused.length - 3} more layers` : ""
      }`,
    );
  }
  return replaceParts(store, weights, (name) => {
    const match = PARTS.exec(name);
    return match !== null && modules.has(match[1]);
  });
}

/** Values of a layer's small tensors. */
interface Meta {
  readonly bits: number;
  readonly group: number;
  readonly axis: number;
  readonly rows: number;
  readonly cols: number;
  readonly packing: string;
  /** True if scales or zeros are quantised themselves. */
  readonly nested: boolean;
}

async function readMeta(
  store: TensorStore,
  module: string,
  find: PartFinder,
): Promise<Meta | undefined> {
  const whole = async (key: string, count: number, dtype: "i32" | "i64") => {
    const reader = find.part(key, [dtype], count === 1 ? [] : [count]);
    if (reader === undefined) return [];
    const { buffer } = await readByteRange(reader, 0, reader.info.bytes);
    return dtype === "i32"
      ? [...new Int32Array(buffer)]
      : Array.from(new BigInt64Array(buffer), Number);
  };
  const [bits] = await whole("nbits", 1, "i32");
  const [group] = await whole("group_size", 1, "i32");
  const [axis] = await whole("axis", 1, "i32");
  const [rows, cols] = await whole("shape", 2, "i64");
  const text = find.part("packing", ["u8"]);
  if (!find.fine) return undefined;
  if (
    !(Number.isSafeInteger(rows * cols) && rows > 0 && cols > 0 && group > 0)
  ) {
    return find.bad(`shape [${rows}, ${cols}] in groups of ${group}`);
  }
  return {
    bits,
    group,
    axis,
    rows,
    cols,
    packing: String.fromCharCode(
      ...await readByteRange(text!, 0, Math.min(text!.info.bytes, MAX_TEXT)),
    ),
    nested: store.tensors.has(`${module}.scale_q`) ||
      store.tensors.has(`${module}.zero_q`),
  };
}

/** Why a layer cannot be read, undefined if it can. */
function unread(
  { bits, group, axis, cols, packing, nested }: Meta,
): string | undefined {
  if (axis !== 1) {
    return `axis ${axis}, whose groups run along the output; wanted axis=1, groups along the input`;
  }
  if (nested) return "its scales or zeros are quantised; wanted plain ones";
  const wanted = HQQ_PACKINGS[bits as Format["bits"]]?.name;
  if (wanted === undefined || packing !== wanted) {
    return `${bits} bits packed as ${quoted(packing)}; wanted ${
      Object.values(HQQ_PACKINGS).map(({ name }) => name).join(", ")
    }`;
  }
  if (cols % group !== 0) {
    return `groups of ${group} straddle rows of ${cols}; wanted a divisor`;
  }
}

function readWeight(
  module: string,
  { bits, group, rows, cols }: Meta,
  find: PartFinder,
): TensorReader | undefined {
  const packing: HqqPacking = HQQ_PACKINGS[bits as Format["bits"]];
  const each = cols / group;
  const groups = rows * each;
  const wordRows = hqqWordRows(packing, groups);
  if (wordRows === undefined) {
    return find.bad(`${groups} groups are no multiple of ${packing.parts}`);
  }
  // With view_as_float the same bytes go by the name of a float type, in fewer columns.
  const codes = find.matrix("W_q", [packing.dtype, ...SCALE_TYPES]);
  const scales = find.part("scale", SCALE_TYPES, [groups, 1]);
  const zeros = find.part("zero", SCALE_TYPES, [groups, 1]);
  if (codes === undefined || !find.fine) return undefined;
  const width = group * (packing.dtype === "u8" ? 1 : 4);
  if (codes.info.bytes !== wordRows * width) {
    return find.bad(
      `W_q: wanted ${
        wordRows * width
      } bytes for [${rows}, ${cols}], got ${codes.info.bytes}`,
    );
  }
  const read = (from: number, to: number) =>
    readByteRange(codes, from * width, to * width);
  return affineReader(
    {
      name: `${module}.weight`,
      rows,
      cols,
      block: group,
      bits,
      scaleDType: scaleTypeOf(scales!),
      biasDType: "f32",
      parts: [codes, scales!, zeros!],
    },
    {
      codes: async (from, to) =>
        packCodes(format(`int${bits}`), {
          rows: to - from,
          cols,
          codes: await unpackHqq(packing, read, {
            rows: wordRows,
            group,
            from: from * each,
            to: to * each,
          }),
        }),
      scales: async (from, to) => {
        const [first, end] = [from * each, to * each];
        const steps = Float32Array.from(await scales!.readF32(first, end));
        const points = await zeros!.readF32(first, end);
        return {
          scales: steps,
          biases: steps.map((scale, i) => 0 - points[i] * scale),
        };
      },
    },
  );
}
