/**
 * Every operation of the contract, a family a file of `contract/`: its interface and, beside it, the checks of its sizes.
 *
 * Activations are matrices `[m, n]` with one row a token; a batch of `B` sequences of `T` tokens is `m = B * T` rows,
 * sequence by sequence. Each operation's backward stands beside it and takes what the forward left behind. An output
 * may not alias an input unless its line says so. Sums run in an order that does not depend on the number of threads.
 *
 * Sizes are checked once for all devices ({@linkcode checked}), with a `TypeError` or a `RangeError`. What lies in buffers
 * (ids, positions, labels, bounds) is not looked at: that it is in range is the caller's part. Scalars reach a kernel as
 * f32: what is made of them (`1 - beta`, `1 - lr * decay`) is made in f64 and rounded once.
 *
 * @module
 */

import {
  activationChecks,
  type ActivationOperations,
} from "./contract/activation.ts";
import {
  attentionChecks,
  type AttentionOperations,
} from "./contract/attention.ts";
import { gemmChecks, type GemmOperations } from "./contract/gemm.ts";
import { linalgChecks, type LinalgOperations } from "./contract/linalg.ts";
import { lossChecks, type LossOperations } from "./contract/loss.ts";
import { normChecks, type NormOperations } from "./contract/norm.ts";
import {
  optimizerChecks,
  type OptimizerOperations,
} from "./contract/optimizer.ts";
import { quantChecks, type QuantOperations } from "./contract/quant.ts";
import { type RowOperations, rowsChecks } from "./contract/rows.ts";
import type { Checks } from "./contract/want.ts";

/** Operations that only transformers need. `m` tokens, `n` features, `v` words of a vocabulary. */
export interface NetworkOperations
  extends
    RowOperations,
    NormOperations,
    ActivationOperations,
    AttentionOperations,
    LossOperations,
    OptimizerOperations {}

/** The operations. Sizes: `m`, `n`, `k` of a product, `r` rank, `l` columns of a tall matrix. */
export interface Operations
  extends
    GemmOperations,
    QuantOperations,
    LinalgOperations,
    NetworkOperations {}

/** Name of an operation. */
export type OperationName = keyof Operations;

/** Arguments of an operation. */
export type OperationArgs<K extends OperationName> = Parameters<
  Operations[K]
>[0];

const CORE_CHECKS = { ...gemmChecks, ...quantChecks, ...linalgChecks };
const NETWORK_CHECKS: Checks<NetworkOperations> = {
  ...rowsChecks,
  ...normChecks,
  ...activationChecks,
  ...attentionChecks,
  ...lossChecks,
  ...optimizerChecks,
};
const CHECKS: Checks<Operations> = { ...CORE_CHECKS, ...NETWORK_CHECKS };

/** The operations that every device has. */
export const CORE_OPERATIONS: readonly OperationName[] = Object.keys(
  CORE_CHECKS,
) as OperationName[];

/** The operations that only transformers need. */
export const NETWORK_OPERATIONS: readonly (keyof NetworkOperations)[] = Object
  .keys(NETWORK_CHECKS) as (keyof NetworkOperations)[];

/** `ops` with the check of each before it. */
export function checked<O extends Partial<Operations>>(ops: O): O {
  const entries = Object.entries(ops) as [
    OperationName,
    (args: never) => void,
  ][];
  return Object.fromEntries(entries.map(([name, run]) => {
    const check: (args: never) => void = CHECKS[name];
    return [name, (args: never) => {
      check(args);
      run(args);
    }];
  })) as O;
}

/** Operations that take a device's memory before what they work on. */
export type MemoryOperations<Memory> = {
  readonly [K in OperationName]?: (
    memory: Memory,
    args: OperationArgs<K>,
  ) => void;
};

/** Operations in one memory, as the contract has them. */
export function bind<Memory, Table extends MemoryOperations<Memory>>(
  memory: Memory,
  table: Table,
): Pick<Operations, keyof Table & OperationName> {
  type Run = (memory: Memory, args: never) => void;
  const entries = Object.entries(table) as [string, Run][];
  return Object.fromEntries(
    entries.map(([name, run]) => [name, (args: never) => run(memory, args)]),
  ) as unknown as Pick<Operations, keyof Table & OperationName>;
}
