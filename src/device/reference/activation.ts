/**
 * Activation functions and gated units on the reference device.
 *
 * @module
 */

import type {
  Activation,
  ActivationOperations,
} from "../contract/activation.ts";
import type { OperationArgs } from "../operations.ts";
import { load, store } from "./memory.ts";

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function swiglu(args: OperationArgs<"swiglu">): void {
  const up = load(args.up);
  store(args.out, load(args.gate).map((g, i) => g * sigmoid(g) * up[i]));
}

function swigluBackward(args: OperationArgs<"swigluBackward">): void {
  const dy = load(args.dy);
  const gate = load(args.gate);
  const up = load(args.up);
  store(
    args.dgate,
    gate.map((g, i) => {
      const s = sigmoid(g);
      return dy[i] * up[i] * s * (1 + g * (1 - s));
    }),
  );
  store(args.dup, gate.map((g, i) => dy[i] * g * sigmoid(g)));
}

/** The error function, to 1e-15: its series near 0, else the continued fraction of its complement. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let k = 1; Math.abs(term) > 1e-17; k++) {
      term *= -z * z / k;
      sum += term / (2 * k + 1);
    }
    return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (z + fraction);
  const rest = Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction);
  return Math.sign(x) * (1 - rest);
}

const ROOT = Math.sqrt(2 / Math.PI);

const CUBE = 0.044715;

/** Each activation and its slope. */
const FUNCTIONS: Readonly<
  Record<Activation, readonly [(x: number) => number, (x: number) => number]>
> = {
  gelu: [
    (x) => x * (1 + erf(x / Math.SQRT2)) / 2,
    (x) =>
      (1 + erf(x / Math.SQRT2)) / 2 +
      x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI),
  ],
  "gelu_tanh": [
    (x) => x * (1 + Math.tanh(ROOT * (x + CUBE * x ** 3))) / 2,
    (x) => {
      const t = Math.tanh(ROOT * (x + CUBE * x ** 3));
      return (1 + t) / 2 +
        x * (1 - t * t) * ROOT * (1 + 3 * CUBE * x * x) / 2;
    },
  ],
  relu: [(x) => Math.max(0, x), (x) => x > 0 ? 1 : 0],
  tanh: [(x) => Math.tanh(x), (x) => 1 - Math.tanh(x) ** 2],
};

function activate(args: OperationArgs<"activate">): void {
  store(args.out, load(args.x).map(FUNCTIONS[args.kind][0]));
}

function activateBackward(args: OperationArgs<"activateBackward">): void {
  const slope = FUNCTIONS[args.kind][1];
  const x = load(args.x);
  store(args.dx, load(args.dy).map((dy, i) => dy * slope(x[i])));
}

/** These operations on the reference device. */
export const activationOperations: ActivationOperations = {
  activate,
  activateBackward,
  swiglu,
  swigluBackward,
};
