/**
 * Budget of a template's steps and memory: it comes with a model, from nobody trusted.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";

let left = Infinity;
let whole = Infinity;

/** Takes `cost` steps off the budget of the running template. @throws {RangeError} If it is spent. */
export function spend(cost: number): void {
  left -= cost;
  if (left < 0) throw new ValueError(`it does more than ${whole} steps`);
}

/** Runs `task` with a budget of `steps`; a step is an expression, an item of a list or some characters of a text. */
export function withBudget<T>(steps: number, task: () => T): T {
  const before = [left, whole];
  left = whole = steps;
  try {
    return task();
  } finally {
    [left, whole] = before;
  }
}

/** `text`, paid for. */
export function paid(text: string): string {
  spend(text.length / 16);
  return text;
}
