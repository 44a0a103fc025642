/**
 * Learning rates over a training: constant, linear and cosine, each with a warm-up.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";

/** Learning rate schedule after the warm-up. */
export type ScheduleName = "constant" | "linear" | "cosine";

/** Options of a schedule. */
export interface ScheduleOptions {
  /** Its form. */
  readonly name: ScheduleName;
  /** Steps of the whole training; a "constant" schedule does not look at it. */
  readonly steps: number;
  /** Warm-up steps, in which the learning rate rises linearly (0). */
  readonly warmup?: number;
}

/** Factor of the learning rate at the update `step`, from 0. */
export type Schedule = (step: number) => number;

/** Every name that {@linkcode schedule} takes. */
export const SCHEDULES: readonly ScheduleName[] = [
  "constant",
  "linear",
  "cosine",
];

/**
 * The factors of transformers' `get_scheduler` ("constant_with_warmup", "linear", "cosine"): the first update of a
 * warm-up has factor 0, the update `warmup` has 1, the update `steps` would have 0 again unless constant.
 *
 * @throws {RangeError} If the name is not known or a number is not a whole one from 0 on.
 */
export function schedule(
  { name, steps, warmup = 0 }: ScheduleOptions,
): Schedule {
  for (const [what, n] of Object.entries({ steps, warmup })) {
    if (Number.isSafeInteger(n) && n >= 0) continue;
    throw new ValueError(
      `Cannot make a schedule: wanted ${what} a whole number from 0 on, got ${n}`,
    );
  }
  if (!SCHEDULES.includes(name)) {
    throw new ValueError(
      `Cannot make a schedule: wanted one of ${SCHEDULES.join(", ")}, got ${
        JSON.stringify(name)
      }`,
    );
  }
  const rest = Math.max(1, steps - warmup);
  return (step) => {
    if (step < warmup) return step / warmup;
    if (name === "constant") return 1;
    if (name === "linear") return Math.max(0, (steps - step) / rest);
    const angle = Math.PI * (step - warmup) / rest;
    return Math.max(0, 0.5 * (1 + Math.cos(angle)));
  };
}

/**
 * Steps of a warm-up that takes a part of the training: `ceil(steps * ratio)`, as transformers rounds.
 *
 * @throws {RangeError} If the ratio is not from 0 to 1.
 */
export function warmupSteps(steps: number, ratio: number): number {
  if (!(ratio >= 0 && ratio <= 1)) {
    throw new ValueError(
      `Cannot plan a warm-up: wanted a part of the steps from 0 to 1, got ${ratio}`,
    );
  }
  return Math.ceil(steps * ratio);
}
