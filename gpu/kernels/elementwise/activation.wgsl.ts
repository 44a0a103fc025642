/**
 * Activations between layers, and their slopes.
 *
 * @module
 */

import type { Activation } from "../../../src/device/contract/activation.ts";
import { map } from "./map.wgsl.ts";

/** As `wasm/assembly/elementwise/activate.ts` has them; e^88 is still a number: a compiler may take it that there is no infinity. */
const HELPERS = `
fn bell(x: f32) -> f32 { return exp(max(-0.5 * x * x, -87.0)); }

// The normal distribution.
fn normal(x: f32) -> f32 {
  let z = min(x * x, 29.16);
  let n = ((((2.343660786e-8 * z + 6.348006554e-6) * z + 1.632731623e-4) * z + 4.644581875e-3) * z
    + 0.0332744984) * z + 0.3989422642;
  let d = ((((1.217135612e-6 * z + 7.20361037e-5) * z + 1.853156395e-3) * z + 0.02832195477) * z
    + 0.2500730598) * z + 1.0;
  return 0.5 + clamp(x * (n / d), -0.5, 0.5);
}

fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(min(-x, 88.0))); }

fn twice(x: f32) -> f32 { return 1.5957691216 * x * (1.0 + 0.044715 * x * x); }

fn tangent(x: f32) -> f32 {
  let z = x * x;
  let near = x + x * z * (-1.0 / 3.0 + z * (2.0 / 15.0 + z * (-17.0 / 315.0 + z * (62.0 / 2835.0))));
  return select(1.0 - 2.0 * sigmoid(-2.0 * x), near, abs(x) < 0.25);
}
`;

const FUNCTIONS: Readonly<Record<Activation, readonly [string, string]>> = {
  gelu: [
    "x * normal(x)",
    "normal(x) + x * bell(x) * 0.3989422804",
  ],
  "gelu_tanh": [
    "x * sigmoid(twice(x))",
    "sigmoid(twice(x)) * (1.0 + x * sigmoid(-twice(x)) * 1.5957691216 * (1.0 + 0.134145 * x * x))",
  ],
  relu: ["max(x, 0.0)", "select(0.0, 1.0, x > 0.0)"],
  tanh: ["tangent(x)", "(1.0 - tangent(x)) * (1.0 + tangent(x))"],
};

/** `out = f(x)`. */
export function activateText(kind: Activation) {
  return map({
    name: `activate ${kind}`,
    reads: ["x"],
    writes: ["out"],
    helpers: HELPERS,
    body: `let out = ${FUNCTIONS[kind][0]};`,
  });
}

/** `dx = dy * f'(x)`. */
export function activateBackwardText(kind: Activation) {
  return map({
    name: `activateBackward ${kind}`,
    reads: ["dy", "x"],
    writes: ["dx"],
    helpers: HELPERS,
    body: `let dx = dy * (${FUNCTIONS[kind][1]});`,
  });
}
