/**
 * Cross-entropy over long rows of logits.
 *
 * A row is worked in chunks that stay in the L1 cache, each with its own maximum as reference, so that memory is read
 * once for the loss and once more to scale the exponentials into the gradient.
 */

import { share } from "../lib/args";
import { exp1, expSum, logarithm, rowMax } from "../lib/exp";
import { scaleRow } from "../elementwise/rows";
import { valueAt } from "../lib/vector";

/** Values of a chunk. */
const CHUNK: u32 = 2048;

/** Words of {@linkcode crossEntropy}. Scratch of a thread: a chunk, then the maximum of every chunk. `graded`: whether logits become gradients times `factor`. */
// @ts-ignore: decorator
@unmanaged
class CrossEntropy {
  rows: u32;
  cols: u32;
  logits: usize;
  logitsStride: usize;
  labels: usize;
  losses: usize;
  graded: u32;
  factor: f32;
  scratch: usize;
  scratchBytes: u32;
}

export function crossEntropy(
  args: CrossEntropy,
  part: u32,
  parts: u32,
  thread: u32,
): void {
  const rows = args.rows;
  const cols = args.cols;
  const labels = args.labels;
  const losses = args.losses;
  const gradient = args.graded != 0;
  const copy = args.scratch + <usize> thread * args.scratchBytes;
  const maxima = copy + (<usize> CHUNK << 2);
  const end = share(rows, part + 1, parts);
  for (let i = share(rows, part, parts); i < end; i++) {
    const x = valueAt(args.logits, args.logitsStride, i, 0);
    const label = load<i32>(labels + (<usize> i << 2));
    const loss = losses + (<usize> i << 2);
    if (label < 0) {
      store<f32>(loss, 0);
      if (gradient) memory.fill(x, 0, <usize> cols << 2);
      continue;
    }
    const target = x + (<usize> label << 2);
    const wanted = <f64> load<f32>(target);
    let most = -f32.MAX_VALUE;
    let sum: f64 = 0;
    let at = maxima;
    for (let j: u32 = 0; j < cols; j += CHUNK, at += 4) {
      const n = min(CHUNK, cols - j);
      let chunk = x + (<usize> j << 2);
      const m = max(rowMax(chunk, n), -f32.MAX_VALUE);
      if (!gradient) {
        memory.copy(copy, chunk, <usize> n << 2);
        chunk = copy;
      }
      const s = <f64> expSum(chunk, n, m);
      store<f32>(at, m);
      if (m > most) {
        sum = sum * <f64> exp1(most - m) + s;
        most = m;
      } else {
        sum += s * <f64> exp1(m - most);
      }
    }
    store<f32>(loss, <f32> (<f64> most + logarithm(sum) - wanted));
    if (!gradient) continue;
    const factor = args.factor;
    const unit = <f32> (<f64> factor / sum);
    at = maxima;
    for (let j: u32 = 0; j < cols; j += CHUNK, at += 4) {
      const n = min(CHUNK, cols - j);
      const chunk = x + (<usize> j << 2);
      const by = unit * exp1(load<f32>(at) - most);
      scaleRow(chunk, chunk, <usize> n << 2, by);
    }
    store<f32>(target, load<f32>(target) - factor);
  }
}
