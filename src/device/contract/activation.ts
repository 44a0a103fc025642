/**
 * Activation functions and gated units, each with its backward: the operations of the contract, and the checks of their sizes.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import type { Mat } from "../buffer.ts";
import { type CallArgs, type Checks, wantSame } from "./want.ts";

/** Functions between the layers of a feed-forward part: `gelu` with the error function, or with a hyperbolic tangent. */
export const ACTIVATIONS = ["gelu", "gelu_tanh", "relu", "tanh"] as const;

/** Name of an activation. */
export type Activation = typeof ACTIVATIONS[number];

/** Activation functions and gated units, each with its backward. */
export interface ActivationOperations {
  /** `out[m, n] = f(x)` with the function `kind`. `out` may be `x`. (GELU: Hendrycks and Gimpel, 1606.08415.) */
  activate(args: { x: Mat; out: Mat; kind: Activation }): void;

  /** `dx[m, n] = dy * f'(x)`, where `x` went into {@linkcode activate}. `dx` may be `dy`. */
  activateBackward(args: { dy: Mat; x: Mat; dx: Mat; kind: Activation }): void;

  /** `out[m, n] = gate / (1 + exp(-gate)) * up` (Shazeer, 2002.05202). `out` may be `gate` or `up`. */
  swiglu(args: { gate: Mat; up: Mat; out: Mat }): void;

  /** Gradients of {@linkcode swiglu}; `dgate` may be `gate`, and `dup` may be `up` or `dy`. */
  swigluBackward(
    args: { dy: Mat; gate: Mat; up: Mat; dgate: Mat; dup: Mat },
  ): void;
}

type Args<K extends keyof ActivationOperations> = CallArgs<
  ActivationOperations,
  K
>;

function wantKind(op: string, kind: Activation): void {
  if (ACTIVATIONS.includes(kind)) return;
  throw new ValueError(
    `Cannot run ${op}: kind must be one of ${
      ACTIVATIONS.join(", ")
    }, got ${kind}`,
  );
}

/** Checks an activation. */
export function checkActivate({ x, out, kind }: Args<"activate">): void {
  wantSame("activate", x, { out });
  wantKind("activate", kind);
}

/** Checks the backward of an activation. */
export function checkActivateBackward(
  { dy, x, dx, kind }: Args<"activateBackward">,
): void {
  wantSame("activateBackward", x, { dy, dx });
  wantKind("activateBackward", kind);
}

/** Checks a gated unit. */
export function checkSwiglu({ gate, up, out }: Args<"swiglu">): void {
  wantSame("swiglu", gate, { up, out });
}

/** Checks the backward of a gated unit. */
export function checkSwigluBackward(
  { dy, gate, up, dgate, dup }: Args<"swigluBackward">,
): void {
  wantSame("swigluBackward", gate, { dy, up, dgate, dup });
}

/** The check of each. */
export const activationChecks: Checks<ActivationOperations> = {
  activate: checkActivate,
  activateBackward: checkActivateBackward,
  swiglu: checkSwiglu,
  swigluBackward: checkSwigluBackward,
};
