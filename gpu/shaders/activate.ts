/**
 * Activations between layers, and their slopes.
 *
 * @module
 */

import type { Activation } from "../../src/device/network.ts";
import type { MapText } from "./map.ts";

/** As `wasm/assembly/activate.ts` has them; e^88 is still a number: a compiler may take it that there is no infinity. */
const HELPERS = `
fn bell(x: f32) -> f32 { return exp(max(-0.5 * x * x, -87.0)); }

// The normal distribution, where power is bell(x): Abramowitz and Stegun, 7.1.26.
fn normal(x: f32, power: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.2316419 * abs(x));
  let p = ((((0.5307027145 * t - 0.7265760135) * t + 0.7107068705) * t - 0.142248368) * t + 0.127414796) * t;
  return select(1.0 - p * power, p * power, x < 0.0);
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
    "x * normal(x, bell(x))",
    "normal(x, bell(x)) + x * bell(x) * 0.3989422804",
  ],
  "gelu_tanh": [
    "x * sigmoid(twice(x))",
    "sigmoid(twice(x)) * (1.0 + x * (1.0 - sigmoid(twice(x))) * 1.5957691216 * (1.0 + 0.134145 * x * x))",
  ],
  relu: ["max(x, 0.0)", "select(0.0, 1.0, x > 0.0)"],
  tanh: ["tangent(x)", "(1.0 - tangent(x)) * (1.0 + tangent(x))"],
};

/** `out = f(x)`. */
export function activateText(kind: Activation): MapText {
  return {
    name: `activate ${kind}`,
    reads: ["x"],
    writes: ["out"],
    helpers: HELPERS,
    body: `let out = ${FUNCTIONS[kind][0]};`,
  };
}

/** `dx = dy * f'(x)`. */
export function activateBackwardText(kind: Activation): MapText {
  return {
    name: `activateBackward ${kind}`,
    reads: ["dy", "x"],
    writes: ["dx"],
    helpers: HELPERS,
    body: `let dx = dy * (${FUNCTIONS[kind][1]});`,
  };
}
