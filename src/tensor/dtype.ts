/**
 * Element types of tensors on disk, and their conversion to and from f32.
 *
 * @module
 */

import { ValueError } from "../errors.ts";

/** Element type of a tensor in a file, in lower case (`F32` in safetensors is `f32` here). */
export type DType =
  | "f64"
  | "f32"
  | "f16"
  | "bf16"
  | "i64"
  | "u32"
  | "i32"
  | "i16"
  | "i8"
  | "u8"
  | "bool";

/** Bytes of one element of each type. */
export const DTYPE_BYTES: Readonly<Record<DType, number>> = {
  f64: 8,
  f32: 4,
  f16: 2,
  bf16: 2,
  i64: 8,
  u32: 4,
  i32: 4,
  i16: 2,
  i8: 1,
  u8: 1,
  bool: 1,
};

/** The element types that {@linkcode toF32} and {@linkcode fromF32} convert. */
export type FloatDType = "f64" | "f32" | "f16" | "bf16";

/** The element types that a model's weights are written in. */
export const WEIGHT_DTYPES = ["f32", "f16", "bf16"] as const;

/** Names in transformers of the types of a model's weights. */
export const TORCH_DTYPES: Readonly<
  Record<typeof WEIGHT_DTYPES[number], string>
> = {
  f16: "float16",
  bf16: "bfloat16",
  f32: "float32",
};

/** True if a type holds floating-point numbers. */
export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === "f64" || dtype === "f32" || dtype === "f16" ||
    dtype === "bf16";
}

/**
 * Little-endian `bytes` of `dtype` as f32 values, rounded to nearest where f64 is wider.
 *
 * The result aliases `bytes` when they are f32 already and aligned.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { toF32 } from "@loqa/loqa";
 *
 * assert.deepEqual(toF32(Uint8Array.of(0x80, 0x3f), "bf16"), Float32Array.of(1));
 * ```
 */
export function toF32(bytes: Uint8Array, dtype: FloatDType): Float32Array {
  const n = bytes.byteLength / DTYPE_BYTES[dtype];
  if (!Number.isInteger(n)) {
    throw new ValueError(
      `Cannot read ${dtype} values: ${bytes.byteLength} bytes are not a multiple of ${
        DTYPE_BYTES[dtype]
      }`,
    );
  }
  const aligned = bytes.byteOffset % DTYPE_BYTES[dtype] === 0
    ? bytes
    : bytes.slice();
  const { buffer, byteOffset } = aligned;
  switch (dtype) {
    case "f32":
      return new Float32Array(buffer, byteOffset, n);
    case "f64":
      return Float32Array.from(new Float64Array(buffer, byteOffset, n));
    case "f16": {
      const out = new Float32Array(n);
      out.set(new Float16Array(buffer, byteOffset, n));
      return out;
    }
    case "bf16": {
      const from = new Uint16Array(buffer, byteOffset, n);
      const bits = new Uint32Array(n);
      for (let i = 0; i < n; i++) bits[i] = from[i] << 16;
      return new Float32Array(bits.buffer);
    }
  }
}

/** Smallest magnitude that rounds to infinity in a 16-bit type: half a step beyond its largest value. */
const TOO_FAR: Readonly<Partial<Record<FloatDType, number>>> = {
  f16: 65520,
  bf16: new Float32Array(Uint32Array.of(0x7f7f8000).buffer)[0],
};

/**
 * f32 `values` as little-endian bytes of `dtype`: what every writer of files narrows with. An infinity or NaN stays what it
 * is; a finite value is never made one.
 *
 * @param name What errors call the tensor.
 * @throws {RangeError} If a finite value is beyond the type; it names the tensor and the value.
 */
export function narrow(
  values: Float32Array,
  dtype: FloatDType,
  name: string,
): Uint8Array {
  const limit = TOO_FAR[dtype];
  if (limit !== undefined) {
    const far = values.findIndex((x) =>
      (x >= limit || x <= -limit) && x - x === 0
    );
    if (far >= 0) {
      throw new ValueError(
        `Cannot write ${JSON.stringify(name)} as ${dtype}: it holds ${
          values[far]
        }, which is beyond that type; wanted a wider one (--dtype f32)`,
      );
    }
  }
  return fromF32(values, dtype);
}

/**
 * f32 `values` as little-endian bytes of `dtype`, rounded to nearest, ties to even; what is too large becomes infinity.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { fromF32 } from "@loqa/loqa";
 *
 * assert.deepEqual(fromF32(Float32Array.of(1), "bf16"), Uint8Array.of(0x80, 0x3f));
 * ```
 */
export function fromF32(values: Float32Array, dtype: FloatDType): Uint8Array {
  switch (dtype) {
    case "f32":
      return new Uint8Array(
        values.buffer,
        values.byteOffset,
        values.byteLength,
      );
    case "f64":
      return new Uint8Array(Float64Array.from(values).buffer);
    case "f16": {
      const out = new Float16Array(values.length);
      out.set(values);
      return new Uint8Array(out.buffer);
    }
    case "bf16": {
      const from = new Uint32Array(
        values.buffer,
        values.byteOffset,
        values.length,
      );
      const out = new Uint16Array(values.length);
      for (let i = 0; i < out.length; i++) {
        const bits = from[i];
        // A NaN whose payload sits in the low half would round to infinity.
        out[i] = (bits & 0x7fffffff) > 0x7f800000
          ? (bits >>> 16) | 0x40
          : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
      }
      return new Uint8Array(out.buffer);
    }
  }
}
