/**
 * Reading GPTQ checkpoints (AutoGPTQ, GPTQModel), of both versions of the format, without reordered columns.
 *
 * A quantised layer `P` is `P.qweight`, i32 `[in * bits / 32, out]`: down a column the words of a little-endian stream in
 * which code `k` is at bits `k * bits`; `P.scales`, `[groups, out]`; `P.qzeros`, i32 `[groups, out * bits / 32]`: integer
 * zeros in such a stream along a row; `P.g_idx`, i32 `[in]`: the group of each column. `w = scale * (code - zero)`, which
 * is affine with `bias = -zero * scale`, exactly. Version 1 (`checkpoint_format` `gptq`) stores `zero - 1`, version 2
 * (`gptq_v2`) `zero`. Writing: `gptq_write.ts`.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
import { unpackCodes } from "../../quant/pack.ts";
import { format } from "../../quant/formats.ts";
import {
  affineReader,
  PartFinder,
  replaceParts,
  SCALE_TYPES,
  scaleTypeOf,
} from "./affine.ts";
import { Problems, quoted } from "../files/errors.ts";
import { isObject } from "../files/json.ts";
import type { JsonObject } from "../files/json.ts";
import { readByteRange } from "../checkpoint/tensor_reader.ts";
import type { TensorReader } from "../checkpoint/tensor_reader.ts";
import type { TensorStore } from "../checkpoint/store.ts";

/** True if a store holds weights in a layout of `qweight` and `qzeros`. */
export function hasGptq(store: TensorStore): boolean {
  return modulesOf(store).next().done === false;
}

function* modulesOf({ tensors }: TensorStore): Generator<string> {
  for (const name of tensors.keys()) {
    if (!name.endsWith(".qweight")) continue;
    const module = name.slice(0, -".qweight".length);
    if (tensors.has(`${module}.qzeros`)) yield module;
  }
}

interface Settings {
  readonly bits: 2 | 3 | 4;
  /** -1: a row is a group. */
  readonly group: number;
  readonly version: 1 | 2;
}

/**
 * Readers of the logical tensors of a GPTQ store; plain tensors pass through.
 *
 * @param where Name of the checkpoint in errors.
 * @param config Contents of its config.json.
 * @throws {TypeError} If it is of another method (AWQ has the same names), width, layout or order of columns.
 * @throws {SyntaxError} That lists every layer whose parts do not fit each other or the config.
 */
export async function gptqReaders(
  store: TensorStore,
  { where, config }: { where: string; config: JsonObject },
): Promise<TensorReader[]> {
  const settings = readSettings(config, where);
  const problems = new Problems(`read ${quoted(where)} as GPTQ`);
  const weights = new Map<string, TensorReader>();
  const parts = new Set<string>();
  const reordered: string[] = [];
  const zeros: Uint8Array[] = [];
  const last = new LastCodes();
  for (const module of modulesOf(store)) {
    const found = readWeight(store, { module, settings, problems, last });
    for (const key of ["qzeros", "scales", "g_idx"]) {
      parts.add(`${module}.${key}`);
    }
    if (found === undefined) continue;
    weights.set(`${module}.qweight`, found.reader);
    if (!await inOrder(found.order, found.block)) reordered.push(module);
    if (zeros.length < LOOKED_AT) zeros.push(await found.zeros());
  }
  problems.throwIfAny();
  checkVersion(zeros, {
    ...settings,
    where,
    symmetric: (config.quantization_config as JsonObject).sym === true,
  });
  if (reordered.length > 0) {
    throw new KindError(
      `Cannot read ${quoted(where)}: ${reordered.length} layers (${
        reordered.slice(0, 3).join(", ")
      }${
        reordered.length > 3 ? ", ..." : ""
      }) have columns in the order of their activations (act-order, desc_act), so that groups are scattered along the input; wanted g_idx[k] = floor(k / group_size)`,
    );
  }
  return replaceParts(store, weights, (name) => parts.has(name));
}

function readSettings(config: JsonObject, where: string): Settings {
  const block = config.quantization_config;
  const wrong = (wanted: string, got: unknown) =>
    new KindError(
      `Cannot read ${quoted(where)} as GPTQ: wanted ${wanted}, got ${
        quoted(JSON.stringify(got) ?? "none")
      }`,
    );
  if (!isObject(block)) {
    throw wrong(
      'quant_method "gptq" in the quantization_config of config.json (older programs put the settings into quantize_config.json; copy them there)',
      block,
    );
  }
  if (block.quant_method !== "gptq") {
    throw wrong(
      'quant_method "gptq" in the quantization_config of config.json',
      block.quant_method,
    );
  }
  const { bits, group_size: group } = block;
  const version = block.checkpoint_format ?? block.format ?? "gptq";
  if (bits !== 2 && bits !== 3 && bits !== 4) {
    throw wrong("2, 3 or 4 bits", bits);
  }
  if (
    !Number.isSafeInteger(group) || (group !== -1 && (group as number) < 1)
  ) throw wrong("a group_size > 0 or -1", group);
  if (version !== "gptq" && version !== "gptq_v2") {
    throw wrong('checkpoint_format "gptq" or "gptq_v2"', version);
  }
  for (const [key, own] of Object.entries(block.dynamic ?? {})) {
    // "-:" leaves layers plain, as their tensors show.
    if (key.startsWith("-:") || !isObject(own)) continue;
    if ((own.bits ?? bits) !== bits || (own.group_size ?? group) !== group) {
      throw wrong(
        `${bits} bits in groups of ${group} for all layers`,
        { dynamic: Object.fromEntries([[key, own]]) },
      );
    }
  }
  return { bits, group: group as number, version: version === "gptq" ? 1 : 2 };
}

function readWeight(
  store: TensorStore,
  { module, settings, problems, last }: {
    module: string;
    settings: Settings;
    problems: Problems;
    last: LastCodes;
  },
):
  | {
    reader: TensorReader;
    order: TensorReader | undefined;
    block: number;
    zeros: () => Promise<Uint8Array>;
  }
  | undefined {
  const { bits, group, version } = settings;
  const find = new PartFinder(store, module, problems);
  const codes = find.matrix("qweight", ["i32"]);
  if (codes === undefined) return undefined;
  const [words, rows] = codes.info.shape;
  const cols = words * 32 / bits;
  if (!Number.isInteger(cols) || rows * bits % 32 !== 0) {
    return find.bad(
      `qweight: [${words}, ${rows}] are no whole columns and words of ${bits}-bit codes`,
    );
  }
  const block = group === -1 ? cols : group;
  const groups = Math.ceil(cols / block);
  const scales = find.part("scales", SCALE_TYPES, [groups, rows]);
  const zeros = find.part("qzeros", ["i32"], [groups, rows * bits / 32]);
  const order = store.tensors.has(`${module}.g_idx`)
    ? find.part("g_idx", ["i32"], [cols])
    : undefined;
  if (!find.fine) return undefined;
  const readZeros = async () =>
    zeroPoints(await allBytes(zeros!), { bits, groups, rows, version });
  const reader = affineReader(
    {
      name: `${module}.weight`,
      rows,
      cols,
      block,
      bits,
      scaleDType: scaleTypeOf(scales!),
      biasDType: "f32",
      parts: [codes, scales!, zeros!, ...(order === undefined ? [] : [order])],
    },
    {
      codes: async (from, to) =>
        transposeWords(await last.read(codes, to < rows), {
          ...{ words, rows, from, to },
        }),
      scales: async (from, to) => {
        const count = to - from;
        const steps = await scales!.readF32(0, groups);
        const points = await readZeros();
        const out = {
          scales: new Float32Array(count * groups),
          biases: new Float32Array(count * groups),
        };
        for (let r = 0; r < count; r++) {
          for (let g = 0; g < groups; g++) {
            const at = g * rows + from + r;
            out.scales[r * groups + g] = steps[at];
            out.biases[r * groups + g] = 0 - points[at] * steps[at];
          }
        }
        return out;
      },
    },
  );
  return { reader, order, block, zeros: readZeros };
}

/**
 * Codes of the weight that was read last. Its rows are columns of the file, so that any of them needs all of its bytes: who
 * reads a weight in parts has it read once.
 */
class LastCodes {
  #of: TensorReader | undefined;
  #bytes: Promise<Uint8Array<ArrayBuffer>> | undefined;

  /** All bytes of `codes`; `kept`: whether another part of them will be wanted. */
  async read(
    codes: TensorReader,
    kept: boolean,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = this.#of === codes ? this.#bytes! : allBytes(codes);
    [this.#of, this.#bytes] = kept ? [codes, bytes] : [undefined, undefined];
    try {
      return await bytes;
    } catch (error) {
      this.#of = undefined;
      throw error;
    }
  }
}

function allBytes(reader: TensorReader): Promise<Uint8Array<ArrayBuffer>> {
  return readByteRange(reader, 0, reader.info.bytes);
}

/** Words of columns `from` up to `to` of `[words, rows]`, column by column: the byte streams of loqa's rows. */
function transposeWords(
  bytes: Uint8Array<ArrayBuffer>,
  { words, rows, from, to }: {
    words: number;
    rows: number;
    from: number;
    to: number;
  },
): Uint8Array<ArrayBuffer> {
  const source = new Uint32Array(bytes.buffer);
  const out = new Uint32Array((to - from) * words);
  for (let w = 0; w < words; w++) {
    for (let n = from; n < to; n++) {
      out[(n - from) * words + w] = source[w * rows + n];
    }
  }
  return new Uint8Array(out.buffer);
}

/**
 * Zero points `[groups, rows]`. Version 1's are raised as GPTQModel does it: whole words where no code straddles two of
 * them, so that its own writer's borrow from a neighbour is returned, else each by itself.
 */
function zeroPoints(
  bytes: Uint8Array<ArrayBuffer>,
  { bits, groups, rows, version }: {
    bits: 2 | 3 | 4;
    groups: number;
    rows: number;
    version: 1 | 2;
  },
): Uint8Array {
  const spec = format(`int${bits}`);
  if (version === 1 && bits !== 3) {
    const ones = bits === 4 ? 0x11111111 : 0x55555555;
    const words = new Uint32Array(bytes.buffer);
    for (let i = 0; i < words.length; i++) words[i] += ones;
  }
  const codes = unpackCodes(spec, { rows: groups, cols: rows, codes: bytes });
  return version === 1 && bits === 3 ? codes.map((z) => (z + 1) & 7) : codes;
}

/** Layers whose zeros are looked at for the version. */
const LOOKED_AT = 8;

/** Zeros that must all be one number before it means something, where the config does not call them symmetric. */
const TELLING = 64;

/**
 * Checks the config's version against the zeros: those of symmetric codes are all in the middle, and one beside it if
 * they were read as the other version's.
 *
 * @throws {TypeError} If they were.
 */
function checkVersion(
  zeros: readonly Uint8Array[],
  { bits, version, symmetric, where }: Settings & {
    symmetric: boolean;
    where: string;
  },
): void {
  const middle = 2 ** (bits - 1);
  const seen = version === 1 ? middle + 1 : middle - 1;
  const count = zeros.reduce((sum, { length }) => sum + length, 0);
  if (count < (symmetric ? 1 : TELLING)) return;
  if (zeros.some((list) => list.some((zero) => zero !== seen))) return;
  const [told, other] = version === 1
    ? ["gptq", "gptq_v2"]
    : ["gptq_v2", "gptq"];
  throw new KindError(
    `Cannot read ${
      quoted(where)
    } as GPTQ: by its checkpoint_format ${told} every zero is ${seen}, by ${other} it is ${middle}, as symmetric codes of ${bits} bits have it; correct checkpoint_format in config.json to ${
      quoted(other)
    }`,
  );
}

/** True if column `k` is in group `floor(k / block)` throughout. */
async function inOrder(
  order: TensorReader | undefined,
  block: number,
): Promise<boolean> {
  if (order === undefined) return true;
  const groups = new Int32Array((await allBytes(order)).buffer);
  return groups.every((g, k) => g === Math.floor(k / block));
}
