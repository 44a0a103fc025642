/**
 * Means and their standard errors.
 *
 * @module
 */

import type { Metrics } from "./task.ts";

/** A mean and its standard error. */
export interface Estimate {
  /** The mean. */
  readonly value: number;
  /** Its standard error; undefined where one sample says nothing of it. */
  readonly stdErr?: number;
}

/** Mean of `values` and `s / √n`, with `s` the sample's standard deviation (n - 1). */
export function meanOf(values: ArrayLike<number>): Estimate {
  const n = values.length;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += values[i];
  const value = sum / n;
  if (n < 2) return { value };
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (values[i] - value) ** 2;
  return { value, stdErr: Math.sqrt(squares / (n - 1) / n) };
}

/**
 * `p = hits / n` and `√(p (1 - p) / (n - 1))`, which is {@linkcode meanOf} of zeros and ones.
 *
 * Of no hits, or of nothing but hits, that would be 0, as if nothing were left to doubt. There the error is
 * `1 / (n + 1)`: the reach of Wilson's score interval at one standard error, `z²/(n + z²)` with `z = 1` (E. B. Wilson,
 * Probable inference, the law of succession, and statistical inference, JASA 22 (1927), 209-212).
 */
export function proportionOf(hits: number, n: number): Estimate {
  const value = hits / n;
  if (n < 2) return { value };
  return {
    value,
    stdErr: hits === 0 || hits === n
      ? 1 / (n + 1)
      : Math.sqrt(value * (1 - value) / (n - 1)),
  };
}

/**
 * {@linkcode meanOf} of scores from 0 to `most`. Where all are 0, or all are `most`, their error is that of a
 * {@linkcode proportionOf}, not 0.
 */
export function scoreOf(values: ArrayLike<number>, most = 1): Estimate {
  const all = Array.from(values);
  const end = [0, most].find((bound) => all.every((value) => value === bound));
  if (end === undefined || all.length < 2) return meanOf(all);
  const { stdErr } = proportionOf(end === 0 ? 0 : all.length, all.length);
  return { value: end, stdErr: most * stdErr! };
}

/**
 * The mean of independent estimates, each weighing the same: `√(Σ stdErr²) / k`. Undefined error if any part's is.
 */
export function macroMean(parts: readonly Estimate[]): Estimate {
  const value = parts.reduce((sum, part) => sum + part.value, 0) /
    parts.length;
  let squares = 0;
  for (const { stdErr } of parts) {
    if (stdErr === undefined) return { value };
    squares += stdErr ** 2;
  }
  return { value, stdErr: Math.sqrt(squares) / parts.length };
}

/**
 * The ratio `Σ sums / Σ counts` over independent groups of unequal size, a loss by token over windows for example.
 * Its error is the ratio estimator's: with `r` the ratio, `√(k / (k - 1) · Σ (sum - r · count)²) / Σ count`; with
 * equal counts that is {@linkcode meanOf} of the groups' means. Tokens of one window are not independent, windows
 * nearly are.
 */
export function ratioOf(
  sums: ArrayLike<number>,
  counts: ArrayLike<number>,
): Estimate {
  const k = sums.length;
  let sum = 0;
  let count = 0;
  for (let i = 0; i < k; i++) {
    sum += sums[i];
    count += counts[i];
  }
  const value = sum / count;
  if (k < 2) return { value };
  let squares = 0;
  for (let i = 0; i < k; i++) squares += (sums[i] - value * counts[i]) ** 2;
  return { value, stdErr: Math.sqrt(k / (k - 1) * squares) / count };
}

/**
 * The jackknife's standard error of any figure: `√((n - 1) / n · Σ (value - mean)²)` over the `n` values that it takes
 * when one sample is left out.
 *
 * @param weights Number of samples that leave each of the values (one).
 */
export function jackknifeError(
  values: ArrayLike<number>,
  weights?: ArrayLike<number>,
): number {
  let n = 0;
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    const weight = weights?.[i] ?? 1;
    n += weight;
    sum += weight * values[i];
  }
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    squares += (weights?.[i] ?? 1) * (values[i] - sum / n) ** 2;
  }
  return Math.sqrt((n - 1) / n * squares);
}

/** `exp` of an estimate; its error to first order (delta method): `exp(value) · stdErr`. */
export function expOf({ value, stdErr }: Estimate): Estimate {
  const result = Math.exp(value);
  return stdErr === undefined
    ? { value: result }
    : { value: result, stdErr: result * stdErr };
}

/** An estimate as figures: `name`, and `nameStdErr` where it is defined. */
export function metric(name: string, { value, stdErr }: Estimate): Metrics {
  return stdErr === undefined
    ? { [name]: value }
    : { [name]: value, [`${name}StdErr`]: stdErr };
}
