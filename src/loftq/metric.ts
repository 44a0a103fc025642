/**
 * Norm in which LoftQ measures the residual `E = W - Q - BA`.
 *
 * With `H = E[x xᵀ]`, the second moments of a layer's input, the error of its output is `tr(E H Eᵀ)`, which is
 * `‖E C‖²` for any `C Cᵀ = H`. Its best rank-r correction is `BA = SVD_r((W - Q) C) C⁻¹`: with the identity this is
 * LoftQ, with a diagonal `H` the approximate form of QERA (Zhang et al., 2410.06040), with a full one QERA's exact
 * form, CLoQ (2501.18475) and EoRA (2410.21271), which differ only in the `C` they take.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer, Mat } from "../device/buffer.ts";
import { mat } from "../device/buffer.ts";
import { readF32 } from "../device/device.ts";

/** Second moments of a layer's input, or none. */
export type Metric =
  | { readonly kind: "identity" }
  | {
    readonly kind: "diag";
    /** `E[x_j²]`, `[in]`. */
    readonly moments: Float32Array;
    /** Share of the mean moment added to each (0.01). */
    readonly damping?: number;
  }
  | {
    readonly kind: "full";
    /** `E[x xᵀ]`, `[in, in]` row-major, symmetric. */
    readonly moments: Float32Array;
    /** Share of the mean of the diagonal added to it (0.01). */
    readonly damping?: number;
  };

/** Every kind of {@linkcode Metric}. */
export const METRICS: readonly Metric["kind"][] = ["identity", "diag", "full"];

const DAMPING = 0.01;

/** A metric on a device: the two products that LoftQ needs of its `C`. */
export interface DeviceMetric extends Disposable {
  /** True if `C` is the identity and the products need not be taken. */
  readonly identity: boolean;
  /** `out[m, in] = e[m, in] * C`. */
  apply(e: Mat, out: Mat): void;
  /** `a[r, in] <- a * C⁻¹`. */
  remove(a: Mat): void;
}

/** The weight of each input channel's squared error, `diag(H)`, for a scale search; none for the identity. */
export function channelWeights(
  metric: Metric,
  cols: number,
): Float32Array | undefined {
  if (metric.kind === "identity") return undefined;
  if (metric.kind === "diag") return metric.moments;
  return Float32Array.from(
    { length: cols },
    (_, j) => metric.moments[j * cols + j],
  );
}

/** The layer that a metric is for. */
export interface MetricOptions {
  /** `in` features. */
  readonly cols: number;
  /** Name of the weight in errors. */
  readonly name: string;
}

/** Result of {@linkcode checkMetric}. */
export interface CheckedMetric {
  /** `diag(H)`, `[in]`. */
  readonly weights: Float32Array;
  /** Mean of the weights. */
  readonly mean: number;
  /** Share of the mean to add to each. */
  readonly damping: number;
}

/**
 * Checks moments for a layer of `cols` inputs; that full ones are positive definite only a factorisation shows.
 *
 * @throws {TypeError} If the moments have not the size of the layer's input.
 * @throws {RangeError} If they are not finite, negative on the diagonal or all zero, or the damping is negative.
 */
export function checkMetric(
  metric: Exclude<Metric, { kind: "identity" }>,
  { cols, name }: MetricOptions,
): CheckedMetric {
  const { kind, moments, damping = DAMPING } = metric;
  const wanted = kind === "diag" ? cols : cols * cols;
  if (moments.length !== wanted) {
    throw new KindError(
      `Cannot use the ${kind} metric for ${name}: wanted ${wanted} moments for ${cols} inputs, got ${moments.length}`,
    );
  }
  if (!(damping >= 0 && damping < Infinity)) {
    throw new ValueError(
      `Cannot use the ${kind} metric for ${name}: damping must be >= 0, got ${damping}`,
    );
  }
  const weights = channelWeights(metric, cols)!;
  let mean = 0;
  for (const h of weights) {
    if (!(h >= 0 && h < Infinity)) {
      throw new ValueError(
        `Cannot use the ${kind} metric for ${name}: wanted finite moments >= 0, got ${h}`,
      );
    }
    mean += h / cols;
  }
  if (mean === 0) {
    throw new ValueError(
      `Cannot use the ${kind} metric for ${name}: every moment is 0`,
    );
  }
  return { weights, mean, damping };
}

/**
 * Prepares `metric` for a layer of `cols` inputs.
 *
 * @throws {TypeError} If the moments have not the size of the layer's input.
 * @throws {RangeError} If they are not finite, negative on the diagonal, all zero, or not positive definite, or the
 * damping is negative.
 */
export async function prepareMetric(
  device: Device,
  metric: Metric,
  { cols, name }: MetricOptions,
): Promise<DeviceMetric> {
  if (metric.kind === "identity") {
    return {
      identity: true,
      apply() {},
      remove() {},
      [Symbol.dispose]() {},
    };
  }
  const { kind, moments } = metric;
  const { weights, mean, damping } = checkMetric(metric, { cols, name });
  if (kind === "diag" && damping === 0 && weights.includes(0)) {
    throw new ValueError(
      `Cannot use the diag metric for ${name}: the moment of input ${
        weights.indexOf(0)
      } is 0, which needs damping > 0`,
    );
  }
  return kind === "diag"
    ? diagonal(device, weights, damping * mean)
    : await full(device, moments, { cols, name, damping });
}

function diagonal(
  device: Device,
  weights: Float32Array,
  added: number,
): DeviceMetric {
  const cols = weights.length;
  const memory = new DisposableStack();
  const upload = (values: Float32Array): DeviceBuffer => {
    const buffer = memory.use(device.alloc(cols * 4));
    device.write(buffer, values);
    return buffer;
  };
  const root = upload(weights.map((h) => Math.sqrt(h + added)));
  const inverse = upload(weights.map((h) => 1 / Math.sqrt(h + added)));
  const { scaleColumns } = device.ops;
  return {
    identity: false,
    apply: (e, out) => scaleColumns({ x: e, by: root, out }),
    remove: (a) => scaleColumns({ x: a, by: inverse, out: a }),
    [Symbol.dispose]: () => memory.dispose(),
  };
}

async function full(
  device: Device,
  moments: Float32Array,
  { cols, name, damping }: MetricOptions & { damping: number },
): Promise<DeviceMetric> {
  using memory = new DisposableStack();
  const l = mat(memory.use(device.alloc(cols * cols * 4)), cols, cols);
  device.write(l.buffer, moments);
  device.ops.cholesky({ h: l, l, damping });
  const [last] = await readF32(device, l.buffer, cols * cols - 1, 1);
  if (!Number.isFinite(last)) {
    throw new ValueError(
      `Cannot use the full metric for ${name}: its moments are not positive definite with damping ${damping}`,
    );
  }
  const owned = memory.move();
  return {
    identity: false,
    apply: (e, out) => device.ops.gemm({ a: e, b: l, c: out }),
    remove: (a) => device.ops.solveRight({ x: a, l }),
    [Symbol.dispose]: () => owned.dispose(),
  };
}
