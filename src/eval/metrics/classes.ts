/**
 * Figures of classes: accuracy, F1 of the second of two classes, Matthews correlation.
 *
 * Own code: of the libraries, ml-confusion-matrix 2.0.0 agrees with scikit-learn on accuracy, but gives NaN where
 * scikit-learn defines F1 or the correlation as 0 (one class only), throws at a class that does not occur, and its
 * correlation is of two classes only. Standard errors need the counts in any case.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { jackknifeError, proportionOf } from "../tasks/statistics.ts";
import type { Estimate } from "../tasks/statistics.ts";

/** Confusion matrix: `counts[label * classes + found]`. */
export interface Confusion {
  /** Classes. */
  readonly classes: number;
  /** The counts: [classes, classes]. */
  readonly counts: Float64Array;
  /** Their sum. */
  readonly total: number;
}

/**
 * The confusion matrix of predictions.
 *
 * @throws {RangeError} If there are not as many of either, none at all, or one is no class.
 */
export function confusionOf(
  labels: ArrayLike<number>,
  found: ArrayLike<number>,
  classes: number,
): Confusion {
  const total = labels.length;
  if (total === 0 || found.length !== total) {
    throw new ValueError(
      `Cannot compare classes: wanted as many answers as labels, one or more, got ${found.length} and ${total}`,
    );
  }
  const counts = new Float64Array(classes * classes);
  for (let i = 0; i < total; i++) {
    for (const value of [labels[i], found[i]]) {
      if (Number.isInteger(value) && value >= 0 && value < classes) continue;
      throw new ValueError(
        `Cannot compare classes: wanted 0 to ${classes - 1}, got ${value}`,
      );
    }
    counts[labels[i] * classes + found[i]]++;
  }
  return { classes, counts, total };
}

/** Accuracy. */
export function accuracyOf({ classes, counts, total }: Confusion): Estimate {
  let hits = 0;
  for (let c = 0; c < classes; c++) hits += counts[c * classes + c];
  return proportionOf(hits, total);
}

/**
 * F1 of class 1 of two, `2 TP / (2 TP + FP + FN)`; 0 where that is 0 / 0. It is the F1 of GLUE's MRPC and QQP.
 *
 * @throws {RangeError} If there are not two classes.
 */
export function f1Of(confusion: Confusion): Estimate {
  if (confusion.classes !== 2) {
    throw new ValueError(
      `Cannot compute F1: wanted 2 classes, got ${confusion.classes}`,
    );
  }
  return estimateOf(confusion, (counts) => {
    const twice = 2 * counts[3];
    return twice === 0 ? 0 : twice / (twice + counts[1] + counts[2]);
  });
}

/** Matthews correlation, of two classes or more (the phi coefficient; Gorodkin's R_K); 0 where it is 0 / 0. */
export function matthewsOf(confusion: Confusion): Estimate {
  const { classes } = confusion;
  return estimateOf(confusion, (counts) => {
    let total = 0;
    let hits = 0;
    let both = 0;
    let labelled = 0;
    let answered = 0;
    for (let c = 0; c < classes; c++) {
      let row = 0;
      let column = 0;
      for (let d = 0; d < classes; d++) {
        row += counts[c * classes + d];
        column += counts[d * classes + c];
      }
      total += row;
      hits += counts[c * classes + c];
      both += row * column;
      labelled += row * row;
      answered += column * column;
    }
    const spread = (total * total - labelled) * (total * total - answered);
    return spread === 0 ? 0 : (hits * total - both) / Math.sqrt(spread);
  });
}

/**
 * A figure and its jackknife's error, which is left open where no sample changes the figure (a class that is never found
 * or never wanted): such a sample says nothing of its error. Pairs of the same cell leave the same when left out. */
function estimateOf(
  { counts, total }: Confusion,
  figure: (counts: Float64Array) => number,
): Estimate {
  const value = figure(counts);
  if (total < 2) return { value };
  const values: number[] = [];
  const weights: number[] = [];
  for (const [cell, count] of counts.entries()) {
    if (count === 0) continue;
    const less = counts.slice();
    less[cell]--;
    values.push(figure(less));
    weights.push(count);
  }
  const stdErr = jackknifeError(values, weights);
  return stdErr === 0 ? { value } : { value, stdErr };
}
