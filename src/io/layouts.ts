/**
 * The layouts that quantised weights have in a store of tensors: one row a layout, its reader in a folder of its own.
 *
 * @module
 */

import { gptqReaders, hasGptq } from "./affine/gptq.ts";
import { hasHqq, hqqReaders } from "./affine/hqq.ts";
import { hasMlx, mlxReaders } from "./affine/mlx.ts";
import { bnbReaders, hasBnb } from "./bnb/read.ts";
import { LLM_INT8 } from "./checkpoint/foreign.ts";
import type { TensorReader } from "./checkpoint/tensor_reader.ts";
import type { JsonObject } from "./files/json.ts";
import { hasPacked, packedReaders } from "./packed/packed.ts";
import type { TensorStore } from "./checkpoint/store.ts";

/** A layout. */
export interface Layout {
  /** The checkpoint's `format`. */
  readonly name: string;
  /** Kinds of it that are decoded, for errors. */
  readonly decoded: string;
  /** True if a store is in it, by the names of its tensors. */
  recognises(store: TensorStore): boolean;
  /** True if it is the `quant_method` of a config; always, where its reader judges that itself. */
  isMethod(method: string): boolean;
  /**
   * Readers of the logical tensors; plain tensors pass through.
   *
   * @throws {SyntaxError} If parts do not fit each other or the config.
   * @throws {TypeError} If it is a kind of the layout that is not decoded.
   */
  readers(
    store: TensorStore,
    at: { readonly where: string; readonly config: JsonObject },
  ): TensorReader[] | Promise<TensorReader[]>;
}

/** Every layout; the first that recognises a store is its. */
export const LAYOUTS: readonly Layout[] = [
  {
    name: "packed",
    decoded: "loqa's own",
    recognises: hasPacked,
    // Its metadata describe the decoding.
    isMethod: () => true,
    readers: packedReaders,
  },
  {
    name: "bnb",
    decoded: "bitsandbytes nf4 and fp4",
    recognises: hasBnb,
    isMethod: (method) => method !== LLM_INT8 && /^bitsandbytes/i.test(method),
    readers: bnbReaders,
  },
  {
    name: "mlx",
    decoded: "MLX",
    recognises: hasMlx,
    isMethod: (method) => /^(mlx|no quant_method)/i.test(method),
    readers: mlxReaders,
  },
  {
    name: "hqq",
    decoded: "HQQ",
    recognises: hasHqq,
    isMethod: (method) => /^hqq$/i.test(method),
    readers: hqqReaders,
  },
  {
    name: "gptq",
    decoded: "GPTQ",
    recognises: hasGptq,
    // Its reader has words of its own for AWQ and others, whose tensors have the same names.
    isMethod: () => true,
    readers: gptqReaders,
  },
];
