/**
 * Second moments of layer inputs from a file, for the metrics of LoftQ.
 *
 * A safetensors file with a tensor `MODULE.moments` for each layer, `E[x_j²]` as `[in]` or `E[x xᵀ]` as `[in, in]`. Layers
 * that see one input share a tensor: the metadata may hold, under `loqa.moments.same`, a JSON object that gives the
 * layer whose moments serve for another one.
 *
 * @module
 */

import { KindError, ValueError } from "../errors.ts";
import { fileSource } from "../io/files/deno.ts";
import { parseJsonObject } from "../io/files/json.ts";
import { openSafetensors } from "../io/safetensors/read.ts";
import type { Metric } from "../loftq/metric.ts";
import { isFloat, toF32 } from "../tensor/dtype.ts";

/** Metadata entry of the layers that share moments. */
export const ALIASES = "loqa.moments.same";

/** Name of the tensor with the moments of a module. */
export function momentsName(module: string): string {
  return `${module}.moments`;
}

/** An open file of moments. */
export interface Moments extends AsyncDisposable {
  /** The metric of the layer called `module`. @throws {RangeError} If the file has no moments that serve. */
  metricOf(module: string): Promise<Metric>;
}

/** Opens `path` for metrics of one kind; the diagonal of full moments serves as well. */
export async function openMoments(
  path: string,
  kind: "diag" | "full",
): Promise<Moments> {
  await using stack = new AsyncDisposableStack();
  const file = await openSafetensors(stack.use(await fileSource(path)));
  const same = file.metadata.get(ALIASES);
  const aliases = same === undefined
    ? {}
    : parseJsonObject(same, `${path}: ${ALIASES}`);
  const owned = stack.move();
  return {
    async metricOf(module) {
      const tensor = file.tensors.get(
        momentsName(String(aliases[module] ?? module)),
      );
      const dimensions = kind === "diag" ? [1, 2] : [2];
      const [rows, cols = rows] = tensor?.shape ?? [];
      if (
        !tensor || !dimensions.includes(tensor.shape.length) || rows !== cols
      ) {
        throw new ValueError(
          `Cannot use ${path} for the ${kind} metric: ${module}.moments ${
            tensor
              ? `is [${tensor.shape.join(", ")}], wanted [in, in]`
              : "is not there"
          }`,
        );
      }
      if (!tensor.dtype || !isFloat(tensor.dtype)) {
        throw new KindError(
          `Cannot use ${path} for the ${kind} metric: ${module}.moments is ${tensor.dtype}, wanted floating-point values`,
        );
      }
      const values = toF32(await file.read(tensor.name), tensor.dtype);
      return {
        kind,
        moments: kind === "diag" && tensor.shape.length === 2
          ? Float32Array.from({ length: cols }, (_, j) => values[j * cols + j])
          : values,
      };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
