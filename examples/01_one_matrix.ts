/**
 * One matrix: quantise it, find the factors that make up for it, put the three together again.
 *
 *     deno run examples/01_one_matrix.ts
 */

import {
  dequantize,
  loftq,
  matrix,
  openDevice,
  Random,
  relativeError,
} from "@loqa/loqa";

const rows = 512;
const cols = 768;
const weight = matrix(rows, cols, new Random(1).normals(rows * cols));
using device = await openDevice();

for (const format of ["nf4", "nf3", "nf2"] as const) {
  const { backbone, a, b, scaling, plainError, history } = await loftq(
    weight,
    { format, rank: 32, alpha: 16, iterations: 5, device },
  );
  const sum = await dequantize(backbone, { device });
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < a.rows; k++) {
      const x = scaling * b.data[i * b.cols + k];
      for (let j = 0; j < cols; j++) {
        sum.data[i * cols + j] += x * a.data[k * cols + j];
      }
    }
  }
  console.log(
    `${format}: ${plainError.toFixed(4)} alone, by iteration ${
      history.map((e) => e.toFixed(4)).join(" ")
    }, put together ${relativeError(weight, sum).toFixed(4)}`,
  );
}
