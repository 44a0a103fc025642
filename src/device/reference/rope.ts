/**
 * Rotary positions on the reference device.
 *
 * @module
 */

import type { AttentionOperations } from "../contract/attention.ts";
import type { OperationArgs } from "../operations.ts";
import { load, store, u32 } from "./memory.ts";

function rope(args: OperationArgs<"rope">): void {
  const { rows: m, cols: n } = args.x;
  const half = args.headDim / 2;
  const positions = u32(args.positions);
  const cos = load(args.cos);
  const sin = load(args.sin);
  const x = load(args.x);
  for (let i = 0; i < m; i++) {
    for (let head = i * n; head < (i + 1) * n; head += args.headDim) {
      for (let c = 0; c < half; c++) {
        const at = positions[i] * half + c;
        const s = args.inverse ? -sin[at] : sin[at];
        const [a, b] = [x[head + c], x[head + c + half]];
        x[head + c] = a * cos[at] - b * s;
        x[head + c + half] = b * cos[at] + a * s;
      }
    }
  }
  store(args.out, x);
}

/** These operations on the reference device. */
export const ropeOperations: Pick<AttentionOperations, "rope"> = {
  rope,
};
