/**
 * Correlations of numbers: Pearson's, and Spearman's with ties at their mean rank.
 *
 * simple-statistics computes both; it agrees with scipy in all cases of tests/golden/metrics.
 *
 * @module
 */

import { ValueError } from "../../errors.ts";
import { jackknifeError } from "../tasks/statistics.ts";
import type { Estimate } from "../tasks/statistics.ts";
import { loadPackage } from "../../io/files/package.ts";

/** The correlations of `x` with `y`, NaN where either is constant; their errors are the jackknife's. */
export interface Correlations {
  /** Of the values. @throws {RangeError} If there are not as many of either, or fewer than two. */
  pearson(x: readonly number[], y: readonly number[]): Estimate;
  /** Of their ranks. @throws {RangeError} As `pearson`. */
  spearman(x: readonly number[], y: readonly number[]): Estimate;
}

/** Loads the library and resolves to its correlations. */
export async function openCorrelations(): Promise<Correlations> {
  const { sampleCorrelation, sampleRankCorrelation } = await loadPackage(
    "simple-statistics",
    () => import("npm:simple-statistics@7.12.1"),
  );
  return {
    pearson(x, y) {
      checkPairs(x, y);
      return withError(sampleCorrelation([...x], [...y]), {
        count: x.length,
        without: leaveOneOut(x, y),
      });
    },
    spearman(x, y) {
      checkPairs(x, y);
      const [ranks, others] = [rankPairs(x), rankPairs(y)];
      return withError(sampleRankCorrelation([...x], [...y]), {
        count: x.length,
        without: (i) => correlation(ranks(i), others(i)),
      });
    },
  };
}

function checkPairs(x: readonly number[], y: readonly number[]): void {
  if (x.length === y.length && x.length >= 2) return;
  throw new ValueError(
    `Cannot correlate: wanted two or more pairs, got ${x.length} values and ${y.length}`,
  );
}

interface LeftOut {
  readonly count: number;
  /** The correlation without the pair `i`. */
  without(i: number): number;
}

function withError(found: number, { count, without }: LeftOut): Estimate {
  // Rounding may lead beyond 1.
  const value = Math.max(-1, Math.min(1, found));
  if (count < 3 || Number.isNaN(value)) return { value };
  const values = Array.from({ length: count }, (_, i) => without(i));
  return values.every(Number.isFinite)
    ? { value, stdErr: jackknifeError(values) }
    : { value };
}

function correlation(x: Float64Array, y: Float64Array): number {
  const n = x.length;
  const meanX = x.reduce((a, b) => a + b, 0) / n;
  const meanY = y.reduce((a, b) => a + b, 0) / n;
  let xx = 0;
  let yy = 0;
  let xy = 0;
  for (let i = 0; i < n; i++) {
    const dx = x[i] - meanX;
    const dy = y[i] - meanY;
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  }
  return xx === 0 || yy === 0 ? NaN : xy / Math.sqrt(xx * yy);
}

/** Correlations without one pair each, from sums about the means of all: `n / (n - 1)` of each pair's own share goes. */
function leaveOneOut(
  x: readonly number[],
  y: readonly number[],
): (i: number) => number {
  const n = x.length;
  const centre = (values: readonly number[]) => {
    const mean = values.reduce((a, b) => a + b, 0) / n;
    return values.map((value) => value - mean);
  };
  const [dx, dy] = [centre(x), centre(y)];
  const dot = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, i) => sum + value * b[i], 0);
  const [xx, yy, xy] = [dot(dx, dx), dot(dy, dy), dot(dx, dy)];
  const share = n / (n - 1);
  // The rest of a sum of squares may be rounding only: then the other values are constant.
  const rest = (all: number, gone: number) => {
    const left = all - share * gone;
    return left <= all * n * Number.EPSILON ? 0 : left;
  };
  return (i) => {
    const left = rest(xx, dx[i] ** 2) * rest(yy, dy[i] ** 2);
    return left === 0 ? NaN : (xy - share * dx[i] * dy[i]) / Math.sqrt(left);
  };
}

/** Ranks of `values` without the one at `i`: those behind it move up by one, its equals by a half. */
function rankPairs(values: readonly number[]): (i: number) => Float64Array {
  const n = values.length;
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const ranks = new Float64Array(n);
  for (let from = 0; from < n;) {
    let to = from + 1;
    while (to < n && values[order[to]] === values[order[from]]) to++;
    for (let k = from; k < to; k++) ranks[order[k]] = (from + to - 1) / 2;
    from = to;
  }
  return (left) => {
    const less = new Float64Array(n - 1);
    for (let i = 0, at = 0; i < n; i++) {
      if (i === left) continue;
      const step = values[i] > values[left]
        ? 1
        : values[i] === values[left]
        ? 0.5
        : 0;
      less[at++] = ranks[i] - step;
    }
    return less;
  };
}
