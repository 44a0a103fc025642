import assert from "node:assert/strict";
import {
  matrix,
  relativeError,
  transposed,
} from "../../../src/tensor/matrix.ts";

Deno.test("matrix() wraps values without a copy, or makes zeros", () => {
  const data = Float32Array.of(1, 2, 3, 4, 5, 6);
  assert.equal(matrix(2, 3, data).data, data);
  assert.deepEqual([...matrix(1, 2).data], [0, 0]);
  assert.equal(matrix(0, 7).data.length, 0);
});

Deno.test("matrix() refuses sizes that do not fit", () => {
  assert.throws(() => matrix(2, 3, new Float32Array(5)), RangeError);
  assert.throws(() => matrix(-1, 3, new Float32Array(0)), RangeError);
  assert.throws(() => matrix(1.5, 2, new Float32Array(3)), RangeError);
});

Deno.test("relativeError() is relative to the first matrix", () => {
  const a = matrix(1, 2, Float32Array.of(3, 4));
  const b = matrix(1, 2, Float32Array.of(3, 3));
  assert.equal(relativeError(a, b), 0.2);
  assert.equal(relativeError(a, a), 0);
  assert.equal(relativeError(matrix(1, 2), matrix(1, 2)), 0);
  assert.equal(relativeError(matrix(1, 2), b), Infinity);
  assert.throws(() => relativeError(a, matrix(2, 1)), TypeError);
});

Deno.test("transposed() has rows for columns", () => {
  const { rows, cols, data } = transposed(
    matrix(2, 3, Float32Array.of(1, 2, 3, 4, 5, 6)),
  );
  assert.deepEqual([rows, cols, [...data]], [3, 2, [1, 4, 2, 5, 3, 6]]);
});
