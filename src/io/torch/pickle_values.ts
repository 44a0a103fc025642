/**
 * Values of a torch checkpoint's pickle.
 *
 * @module
 */

import type { DType } from "../../tensor/dtype.ts";

/** A storage that a pickle refers to: an entry of the archive. */
export interface TorchStorage {
  /** Name of the entry under `data/`. */
  readonly key: string;
  /** Type of its elements. */
  readonly dtype: DType;
  /** Elements. */
  readonly count: number;
}

/** A tensor as a view of a storage. */
export class TorchTensor {
  /** A view of `storage` with `offset` and `stride` in elements. */
  constructor(
    readonly storage: TorchStorage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly stride: readonly number[],
  ) {}
}

/** A value of a pickle. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | TorchTensor
  | readonly PickleValue[]
  | Map<PickleValue, PickleValue>;
