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

/** Outcome of a statement: as usual, or `break` or `continue` of the loop around it. */
export type Signal = void | "break" | "continue";
/** Compiled form of one or several statements. */
export type Exec = (scope: Scope) => Signal;

/** Runs a body and returns its text in place of writing it. */
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

/** Result of a call. @throws {TypeError} If calls are nested too deeply. */
export function invoke({ run }: Scope, fn: Fn, args: Args): Value {
  spend(1);
  if (++run.calls > MOST_CALLS) throw fault("too many calls in each other");
  const value = fn.call(args);
  run.calls--;
  return value;
}
