/** Everything the loader sees: jobs `(args, part, parts)`, single-thread steps, and the loops of the benchmark. */

export { applyInverse, factor, gram } from "./qr";
export { choleskyDiagonal, choleskyRows, solveRight } from "./triangular";
export { dequantize } from "./dequantize";
export { gemm } from "./gemm";
export { micro } from "./gemm_micro";
export { microF64 } from "./f64_micro";
export { jacobi, svdStore } from "./svd";
export { peak, peakJob } from "./peak";
export { quantize } from "./quantize";
export { rowSquares, scaleColumns } from "./elementwise";
export { svdGram, svdLoad, svdNorms, svdRound, svdTurn } from "./svd_block";
export {
  svdBasis,
  svdRotate,
  tridiagonalize,
  tridiagonalQl,
} from "./svd_eigen";
