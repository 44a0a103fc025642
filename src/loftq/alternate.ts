/**
 * The alternation of quantising a weight and correcting in low-rank factors what that lost; the factors are LoRA's, or of
 * QA-LoRA's pooled inputs (Li et al., LoftQ, 2310.08659, algorithm 1).
 *
 * @module
 */

import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import type { OwnedQuantMat } from "../quant/quantize.ts";
import type { LoftqResult } from "./options.ts";
import type { Quantizer } from "./quantizer.ts";
import type { Errors } from "./residual.ts";
import { type AdapterShape, loraStart, readFactors } from "./start.ts";

/** A quantised weight and the factors beside it. */
export interface Iterate {
  readonly q: OwnedQuantMat;
  /** `[rows, k]`, with `k` of {@linkcode rankOf}. */
  readonly b: Mat;
  /** `[k, cols]`. */
  readonly a: Mat;
}

/** The steps of an iteration as the caller supplies them, and its measure. */
export interface Alternation {
  readonly adapter: AdapterShape;
  /** Number of iterations T; with 0 the weight is quantised and measured once, and the factors have the default LoRA initialisation. */
  readonly iterations: number;
  /** Stops after an iteration that did not make the error less (true): the alternation is not monotone. */
  readonly earlyStop?: boolean;
  /** Quantises the weight, less the correction of `last`, into `next`; without a promise if nothing is waited for. */
  quantise(next: Iterate, last: Iterate | undefined): void | Promise<void>;
  /** Corrects in `next` what quantising lost; resolves to the error left, a finite number. */
  correct(next: Iterate): Promise<number>;
  /** Errors of the first backbone without a correction, and those that are left with the best one. */
  errors(best: Iterate, least: number): Promise<readonly [Errors, Errors]>;
}

/** The best iterate, in ordinary memory. */
export interface Kept extends Pick<LoftqResult, "backbone" | "a" | "b"> {
  /** Its number, from 1; 0 if there was no iteration. */
  readonly iteration: number;
  /** Error after each iteration, as `correct` resolved to. */
  readonly history: number[];
  readonly errors: readonly [Errors, Errors];
}

/** The rank that the product of factors can have; beyond it they stay at the default LoRA initialisation. */
export function rankOf({ rows, cols, rank }: AdapterShape): number {
  return Math.min(rank, rows, cols);
}

/** Quantises and corrects in turn, ends on a correction and keeps the best iterate. */
export async function alternate(
  device: Device,
  quantizer: Quantizer,
  { adapter, iterations, earlyStop = true, ...step }: Alternation,
): Promise<Kept> {
  const { rows, cols } = adapter;
  const k = rankOf(adapter);
  using memory = new DisposableStack();
  const alloc = (m: number, n: number): Mat =>
    mat(memory.use(device.alloc(m * n * 4)), m, n);
  const slots: Iterate[] = [];
  const slot = (): Iterate => {
    const q = memory.use(quantizer.alloc());
    slots.push({ q, b: alloc(rows, k), a: alloc(k, cols) });
    return slots.at(-1)!;
  };
  const history: number[] = [];
  let last: Iterate | undefined;
  let best: Iterate | undefined;
  let least = Infinity;
  let iteration = 0;
  for (let t = 1; t <= Math.max(iterations, 1); t++) {
    // Neither the last nor the best one is written over; the two differ only after a rise.
    const next = slots.find((s) => s !== last && s !== best) ?? slot();
    const quantised = step.quantise(next, last);
    if (quantised) await quantised;
    const error = await step.correct(next);
    if (iterations > 0) history.push(error);
    last = next;
    if (error < least) {
      best = next;
      least = error;
      iteration = history.length;
    } else if (earlyStop) break;
  }
  const [errors, backbone, factors] = await Promise.all([
    step.errors(best!, least),
    quantizer.download(best!.q),
    iterations > 0 ? readFactors(device, best!, adapter) : loraStart(adapter),
  ]);
  return { backbone, ...factors, iteration, history, errors };
}
