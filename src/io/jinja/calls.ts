/**
 * Bodies and calls, as they run.
 *
 * @module
 */

import { spend } from "./budget.ts";
import type { Scope } from "./scope.ts";
import { type Args, fault, type Fn, type Value } from "./values.ts";

/** Calls that may lie in each other. */
const MOST_CALLS = 100;

/** How a statement ends: as usual, or leaving (or going on with) the loop around it. */
export type Signal = void | "break" | "continue";
/** What runs a statement, or several. */
export type Exec = (scope: Scope) => Signal;

/** Runs a body whose text is not written, but kept. */
export function capture(
  scope: Scope,
  body: Exec,
): { text: string; signal: Signal } {
  const { run } = scope;
  const out = run.out;
  run.out = { text: "" };
  try {
    const signal = body(scope);
    return { text: run.out.text, signal };
  } finally {
    run.out = out;
  }
}

/** What a call gives. @throws {TypeError} If too many lie in each other. */
export function invoke({ run }: Scope, fn: Fn, args: Args): Value {
  spend(1);
  if (++run.calls > MOST_CALLS) throw fault("too many calls in each other");
  const value = fn.call(args);
  run.calls--;
  return value;
}
