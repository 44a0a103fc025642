/**
 * Gated units.
 *
 * @module
 */

import { map } from "./map.wgsl.ts";

/** e^88 is still a number: a compiler may take it that there is no infinity. */
const SIGMOID = `
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(min(-x, 88.0))); }
`;

/** `out = gate * sigmoid(gate) * up`. */
export const SWIGLU = map({
  name: "swiglu",
  reads: ["gate", "up"],
  writes: ["out"],
  helpers: SIGMOID,
  body: `
    let out = gate * sigmoid(gate) * up;`,
});

/** Its gradients. */
export const SWIGLU_BACKWARD = map({
  name: "swigluBackward",
  reads: ["dy", "gate", "up"],
  writes: ["dgate", "dup"],
  helpers: SIGMOID,
  body: `
    let s = sigmoid(gate);
    let dgate = dy * up * s * (1.0 + gate * (1.0 - s));
    let dup = dy * gate * s;`,
});
