/**
 * Reading checkpoints that MLX quantised (`mlx_lm.convert -q`, mode `affine`).
 *
 * A quantised layer or embedding `P` is `P.weight`, u32 `[out, in * bits / 32]`: code `i` of a row at bits `i * bits` of
 * a little-endian stream; `P.scales` and `P.biases`, `[out, in / group]`: `w = scale * code + bias`, where MLX's own
 * quantiser makes a scale negative if the end of larger magnitude is the upper one. `config.json` says under
 * `quantization` `{"group_size", "bits"}`, and other values for a module under its path. Writing: `mlx_write.ts`.
 *
 * @module
 */

import { KindError } from "../../errors.ts";
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
import type { TensorReader } from "../checkpoint/tensor_reader.ts";
import type { TensorStore } from "../checkpoint/store.ts";

/** Widths and groups that MLX has kernels for. */
const BITS: readonly unknown[] = [2, 3, 4, 5, 6, 8];
const GROUPS: readonly unknown[] = [32, 64, 128];

/** True if a store holds weights that MLX quantised. */
export function hasMlx(store: TensorStore): boolean {
  return modulesOf(store).next().done === false;
}

function* modulesOf({ tensors }: TensorStore): Generator<string> {
  for (const name of tensors.keys()) {
    if (!name.endsWith(".scales")) continue;
    const module = name.slice(0, -".scales".length);
    const weight = tensors.get(`${module}.weight`);
    if (weight?.info.dtype === "u32") yield module;
  }
}

/**
 * Readers of the logical tensors of a store with weights that MLX quantised; plain tensors pass through. Widths of 5, 6
 * and 8 bits are decoded, but are no quantised matrices to loqa.
 *
 * @param where Name of the checkpoint in errors.
 * @param config Contents of its config.json.
 * @throws {SyntaxError} That lists every layer whose parts do not fit each other or the config.
 * @throws {TypeError} If the mode is not `affine`.
 */
export function mlxReaders(
  store: TensorStore,
  { where, config }: { where: string; config: JsonObject },
): TensorReader[] {
  const problems = new Problems(`read ${quoted(where)} as MLX`);
  const settings = config.quantization ?? config.quantization_config;
  if (!isObject(settings)) {
    problems.add('config.json has no object "quantization"');
    throw problems.error();
  }
  const weights = new Map<string, TensorReader>();
  const parts = new Set<string>();
  for (const module of modulesOf(store)) {
    // MLX's defaults, not the model's values, hold for fields that a module's own entry leaves out.
    const own = settings[module];
    const { group_size, bits, mode = "affine" } = isObject(own)
      ? { group_size: 64, bits: 4, ...own }
      : settings;
    if (mode !== "affine") {
      throw new KindError(
        `Cannot read ${quoted(where)}: ${module} has MLX's mode ${
          quoted(`${mode}`)
        }, wanted affine`,
      );
    }
    const reader = readWeight(store, { module, group_size, bits, problems });
    if (reader !== undefined) weights.set(`${module}.weight`, reader);
    parts.add(`${module}.scales`).add(`${module}.biases`);
  }
  problems.throwIfAny();
  return replaceParts(store, weights, (name) => parts.has(name));
}

function readWeight(
  store: TensorStore,
  { module, group_size: group, bits, problems }: {
    module: string;
    group_size: unknown;
    bits: unknown;
    problems: Problems;
  },
): TensorReader | undefined {
  const find = new PartFinder(store, module, problems);
  if (!BITS.includes(bits) || !GROUPS.includes(group)) {
    return find.bad(
      `wanted bits of ${BITS.join(", ")} and groups of ${
        GROUPS.join(", ")
      }, config.json says ${quoted(`${bits}`)} and ${quoted(`${group}`)}`,
    );
  }
  const [width, block] = [bits as number, group as number];
  const codes = find.matrix("weight", ["u32"]);
  if (codes === undefined) return undefined;
  const [rows, words] = codes.info.shape;
  const cols = words * 32 / width;
  if (cols % block !== 0) {
    return find.bad(
      `weight: ${words} words of ${width}-bit codes are ${cols} columns, wanted a multiple of ${block}`,
    );
  }
  const shape = [rows, cols / block];
  const scales = find.part("scales", SCALE_TYPES, shape);
  const biases = find.part("biases", SCALE_TYPES, shape);
  if (scales === undefined || biases === undefined) return undefined;
  return affineReader(
    {
      name: `${module}.weight`,
      rows,
      cols,
      block,
      bits: width,
      scaleDType: scaleTypeOf(scales),
      biasDType: scaleTypeOf(biases),
      parts: [codes, scales, biases],
    },
    {
      codes: (from, to) => codes.readRaw(from, to),
      scales: async (from, to) => ({
        scales: await scales.readF32(from, to),
        biases: await biases.readF32(from, to),
      }),
    },
  );
}
