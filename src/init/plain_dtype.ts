/**
 * The element type of a backbone's plain tensors.
 *
 * Python's layers have no conversions between them: a norm in f32 before a table in f16 ends the first forward pass. So a
 * backbone that other tools load has one floating-point type.
 *
 * @module
 */

import type { BnbDType } from "../io/bnb/write.ts";
import type { Checkpoint, TensorInfo } from "../io/checkpoint/checkpoint.ts";
import { chunks } from "../io/safetensors/copy.ts";
import { isFloat, TORCH_DTYPES } from "../tensor/dtype.ts";

/** Element types that a backbone's plain tensors can be given. */
export type PlainDType = BnbDType;

function isPlainDType(dtype: unknown): dtype is PlainDType {
  return dtype === "f16" || dtype === "bf16" || dtype === "f32";
}

/**
 * The type that loses nothing: that of all floating-point tensors of `checkpoint` but those of `weights`, if they have one
 * in common; else bf16 where it holds each of their values exactly; else f32. Without such tensors it is the config's.
 *
 * Where types are mixed, plain tensors are read here and once more when they are copied: the header of the backbone names the
 * type, before all values.
 */
export async function oneDType(
  checkpoint: Checkpoint,
  weights: { has(name: string): boolean },
): Promise<PlainDType> {
  const { config } = checkpoint;
  const plain = [...checkpoint.tensors.values()].filter((tensor) =>
    isFloat(tensor.dtype) && !weights.has(tensor.name)
  );
  const stored = new Set(plain.map(({ dtype }) => dtype));
  const [only] = stored;
  if (stored.size === 1 && isPlainDType(only)) return only;
  if (stored.size === 0) {
    const named = Object.entries(TORCH_DTYPES).find(([, name]) =>
      name === (config.dtype ?? config.torch_dtype)
    )?.[0];
    return isPlainDType(named) ? named : "f32";
  }
  // Small ones first: one value that does not fit is enough.
  plain.sort((a, b) => a.bytes - b.bytes);
  for (const tensor of plain) {
    if (tensor.dtype !== "bf16" && !await fitsBf16(checkpoint, tensor)) {
      return "f32";
    }
  }
  return "bf16";
}

/** True if bf16, the upper half of an f32, holds every value of a tensor. */
async function fitsBf16(
  checkpoint: Checkpoint,
  { name, shape }: TensorInfo,
): Promise<boolean> {
  for (const [from, to] of chunks(shape)) {
    const { buffer, byteOffset, length } = await checkpoint.readF32(
      name,
      from,
      to,
    );
    const bits = new Uint32Array(buffer, byteOffset, length);
    if (bits.some((x) => (x & 0xffff) !== 0)) return false;
  }
  return true;
}
