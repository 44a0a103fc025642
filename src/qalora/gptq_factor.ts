/**
 * GPTQ's preparation of the moments of a layer's inputs: the order of its columns and a factor of the inverse.
 *
 * @module
 */

import { ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";
import { groupCount, groupSize } from "./groups.ts";

/** Share of the mean moment added to each, how it grows where that does not do, and the most that is tried. */
const DAMPING = 0.01;
const DAMPING_GROWTH = 10;
const MOST_DAMPING = 1;

/**
 * In which order columns are rounded: as they come, or groups by their largest moment and the columns of each by
 * theirs, largest first, while a group's columns stay together (GPTQModel's `act_group_aware`).
 */
export type GptqOrder = "none" | "group";

/**
 * Checks that a group's columns stay together.
 *
 * @throws {RangeError} If `order` is another one, such as GPTQ's own act-order.
 */
export function checkOrder(order: GptqOrder, name: string): void {
  if (order === "none" || order === "group") return;
  throw new ValueError(
    `Cannot use GPTQ for ${name}: order must be "none" or "group", got "${order}"; in any other a group's inputs would not lie together, and no adapter on groups could be merged`,
  );
}

/** The columns of a group in the order in which they are rounded. */
export interface GptqGroup {
  readonly index: number;
  readonly columns: readonly number[];
}

/** GPTQ's preparation of the moments of a layer's inputs, the same for all weights that it quantises there. */
export interface GptqFactor extends Disposable {
  /** In the order of rounding. */
  readonly groups: readonly GptqGroup[];
  /** `L⁻¹: [in, in]` with `L Lᵀ = H + damping`, H in the order of rounding turned round: the last row is rounded first. */
  readonly inverse: Mat;
}

/** Options of {@linkcode gptqFactor}. */
export interface GptqFactorOptions {
  /** `in` features. */
  readonly cols: number;
  /** Inputs of a group; 0 means all. */
  readonly block: number;
  readonly order: GptqOrder;
  /** Name of the weight in errors. */
  readonly name: string;
}

/**
 * Factors `moments: [in, in]` for {@linkcode gptq}. Where they are not positive definite the damping grows tenfold, to 1
 * at the most. An input that never was has only the damping: its weights are rounded for themselves, not made 0.
 *
 * @throws {RangeError} If they are not positive definite with any damping.
 */
export async function gptqFactor(
  device: Device,
  { moments, damping = DAMPING }: {
    readonly moments: Float32Array;
    readonly damping?: number;
  },
  options: GptqFactorOptions,
): Promise<GptqFactor> {
  const { cols, name } = options;
  const groups = arrange(moments, options);
  const order = groups.flatMap(({ columns }) => columns).reverse();
  const turned = new Float32Array(cols * cols);
  for (let i = 0; i < cols; i++) {
    const row = order[i] * cols;
    for (let j = 0; j < cols; j++) {
      turned[i * cols + j] = moments[row + order[j]];
    }
  }
  using memory = new DisposableStack();
  const alloc = () =>
    mat(memory.use(device.alloc(cols * cols * 4)), cols, cols);
  const inverse = alloc();
  {
    using scratch = device.alloc(cols * cols * 4);
    const l = mat(scratch, cols, cols);
    for (let added = damping;;) {
      device.write(scratch, turned);
      device.ops.cholesky({ h: l, l, damping: added });
      const [last] = await readF32(device, scratch, cols * cols - 1, 1);
      if (Number.isFinite(last)) break;
      added = Math.max(added * DAMPING_GROWTH, DAMPING);
      if (added > MOST_DAMPING) {
        throw new ValueError(
          `Cannot use GPTQ for ${name}: its moments are not positive definite, even with damping ${MOST_DAMPING}`,
        );
      }
    }
    turned.fill(0);
    for (let i = 0; i < cols; i++) turned[i * (cols + 1)] = 1;
    device.write(inverse.buffer, turned);
    device.ops.solveRight({ x: inverse, l });
  }
  const owned = memory.move();
  return { groups, inverse, [Symbol.dispose]: () => owned.dispose() };
}

function arrange(
  moments: Float32Array,
  { cols, block, order }: GptqFactorOptions,
): GptqGroup[] {
  const size = groupSize({ cols, block });
  const groups = Array.from(
    { length: groupCount({ cols, block }) },
    (_, index) => {
      const first = index * size;
      const length = Math.min(size, cols - first);
      return { index, columns: Array.from({ length }, (_, i) => first + i) };
    },
  );
  if (order === "none") return groups;
  const larger = (i: number, j: number) =>
    moments[j * (cols + 1)] - moments[i * (cols + 1)] || i - j;
  for (const { columns } of groups) columns.sort(larger);
  return groups.sort((a, b) => larger(a.columns[0], b.columns[0]));
}
