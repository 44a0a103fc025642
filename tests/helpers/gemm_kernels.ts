/**
 * Every kernel of products, for the compilers.
 *
 * @module
 */

import type { Kernel } from "../../gpu/context.ts";
import {
  directGemm,
  gemmSum,
  tiledGemm,
} from "../../gpu/kernels/gemm/gemm.wgsl.ts";
import type { GemmVariant } from "../../gpu/kernels/gemm/text.wgsl.ts";
import { TILES } from "../../gpu/kernels/gemm/tiles.ts";

const EITHER = [false, true];
const ALONG = ["k", "outer"] as const;

/** All variants with all tiles. */
export function allGemmKernels(): Kernel[] {
  const kernels: Kernel[] = [];
  for (const addend of EITHER) {
    for (const empty of EITHER) kernels.push(gemmSum({ addend, empty }));
    for (const a of ALONG) {
      for (const b of ALONG) {
        for (const vectors of EITHER) {
          const variant: GemmVariant = { a, b, vectors, addend };
          for (const tile of TILES) kernels.push(tiledGemm(variant, tile));
          for (const ragged of EITHER) {
            kernels.push(directGemm(variant, { ragged }));
          }
        }
      }
    }
  }
  return kernels;
}

/** Compiles kernels; gives a line for each that `device` does not take. */
export async function compileErrors(
  device: GPUDevice,
  kernels: readonly Kernel[],
): Promise<string[]> {
  const errors: string[] = [];
  for (const { name, code, constants = {} } of kernels) {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code });
    device.createComputePipeline({
      layout: "auto",
      compute: { module, entryPoint: "main", constants },
    });
    const error = await device.popErrorScope();
    if (error) errors.push(`${name}: ${error.message}`);
  }
  return errors;
}
