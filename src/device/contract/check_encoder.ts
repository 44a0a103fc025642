/**
 * Shape checks of the operations that encoders need: layer norms, activations, DeBERTa's scores, softmax.
 *
 * @module
 */

import { KindError, ValueError } from "../../errors.ts";
import { want, wantBytes } from "./check.ts";
import { wantSame, wantWhole } from "./check_network.ts";
import type { Mat } from "../buffer.ts";
import {
  type Activation,
  ACTIVATIONS,
  type NetworkOperations,
  type RelativeShape,
} from "./network.ts";

type Args<K extends keyof NetworkOperations> = Parameters<
  NetworkOperations[K]
>[0];

/** Checks a norm. */
export function checkLayerNorm(args: Args<"layerNorm">): void {
  const { x, weight, bias, epsilon, out, mean, inverse } = args;
  wantSame("layerNorm", x, { out });
  wantBytes("layerNorm: weight", weight, x.cols * 4);
  wantBytes("layerNorm: bias", bias, x.cols * 4);
  wantBytes("layerNorm: mean", mean, x.rows * 4);
  wantBytes("layerNorm: inverse", inverse, x.rows * 4);
  if (!(epsilon >= 0)) {
    throw new ValueError(
      `Cannot run layerNorm: epsilon must be >= 0, got ${epsilon}`,
    );
  }
}

/** Checks the backward of a norm. */
export function checkLayerNormBackward(
  args: Args<"layerNormBackward">,
): void {
  const op = "layerNormBackward";
  const { dy, x, weight, mean, inverse, dx, add, dweight, dbias } = args;
  wantSame(op, x, { dy, dx, ...(add && { add }) });
  wantBytes(`${op}: weight`, weight, x.cols * 4);
  wantBytes(`${op}: mean`, mean, x.rows * 4);
  wantBytes(`${op}: inverse`, inverse, x.rows * 4);
  if (dweight) wantBytes(`${op}: dweight`, dweight, x.cols * 4);
  if (dbias) wantBytes(`${op}: dbias`, dbias, x.cols * 4);
}

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

function wantRelative(
  op: string,
  scores: Mat,
  { terms, shape: { time, index } }: {
    terms: readonly (readonly [string, Mat | undefined])[];
    shape: RelativeShape;
  },
): void {
  wantWhole(`${op}: time`, time, { low: 1 });
  want(`${op}: scores`, scores, scores.rows, time);
  if (scores.rows % time !== 0) {
    throw new KindError(
      `Cannot run ${op}: scores must have a multiple of ${time} rows, got ${scores.rows}`,
    );
  }
  wantBytes(`${op}: index`, index, (2 * time - 1) * 4);
  const cols = terms.find(([, x]) => x)?.[1]?.cols ?? 0;
  for (const [name, x] of terms) {
    if (x) want(`${op}: ${name}`, x, scores.rows, cols);
  }
}

/** Checks the relative terms of scores. */
export function checkRelativeScores(
  { scores, c2p, p2c, shape }: Args<"relativeScores">,
): void {
  const terms = [["c2p", c2p], ["p2c", p2c]] as const;
  wantRelative("relativeScores", scores, { terms, shape });
}

/** Checks their backward. */
export function checkRelativeScoresBackward(
  { dscores, dc2p, dp2c, shape }: Args<"relativeScoresBackward">,
): void {
  const terms = [["dc2p", dc2p], ["dp2c", dp2c]] as const;
  wantRelative("relativeScoresBackward", dscores, { terms, shape });
}

/** Checks a softmax. */
export function checkMaskedSoftmax(
  { x, out, rows, bounds }: Args<"maskedSoftmax">,
): void {
  wantSame("maskedSoftmax", x, { out });
  wantWhole("maskedSoftmax: rows", rows, { low: 1 });
  if (x.rows % rows !== 0) {
    throw new KindError(
      `Cannot run maskedSoftmax: x must have a multiple of ${rows} rows, got ${x.rows}`,
    );
  }
  if (bounds) {
    wantBytes("maskedSoftmax: bounds", bounds, x.rows / rows * 8);
  }
}

/** Checks the backward of a softmax. */
export function checkMaskedSoftmaxBackward(
  { dy, y, dx }: Args<"maskedSoftmaxBackward">,
): void {
  wantSame("maskedSoftmaxBackward", y, { dy, dx });
}
