/** Everything the loader sees: jobs `(args, part, parts)`, single-thread steps, and the loops of the benchmark. */

export { adamw, adamwRow } from "./elementwise/optimizer";
export {
  addRow,
  columnSums,
  combine,
  combineRow,
  dropout,
  gatherRows,
  scaleRow,
  scatterRows,
} from "./elementwise/rows";
export { applyInverse, factor, gram } from "./linalg/qr";
export { attention, softmaxRow } from "./attention/attention";
export {
  attentionBackward,
  attentionSums,
  gradientRow,
} from "./attention/attention_backward";
export {
  attentionMerge,
  attentionOne,
  dotKeys,
  sumValues,
} from "./attention/attention_one";
export { choleskyDiagonal, choleskyRows, solveRight } from "./linalg/triangular";
export {
  activate,
  activateBackward,
  activateRow,
  activateSlope,
} from "./elementwise/activate";
export { crossEntropy } from "./norm/loss";
export { dequantize } from "./quant/dequantize";
export { dotRows } from "./lib/vector";
export { expSum, rowMax } from "./lib/exp";
export { gemm } from "./gemm/gemm";
export { dotBytes, dotFour, dotNibbles, gemv, gemvQuantized } from "./gemm/gemv";
export { micro } from "./gemm/gemm_micro";
export { microF64 } from "./linalg/f64_micro";
export { int8Forward, int8Rows, largest, roundRow } from "./gemm/int8";
export {
  int8Backward,
  int8Fold,
  int8Units,
  roundFive,
} from "./gemm/int8_backward";
export { micro16, micro16Signed, micro8 } from "./gemm/int8_micro";
export { fourBytes, fourNibbles, int8Gemv } from "./gemm/int8_rows";
export { jacobi, svdStore } from "./linalg/svd";
export {
  layerNorm,
  layerNormBackward,
  layerNormRow,
  layerNormWeight,
  normRow,
  rowSum,
} from "./norm/layer_norm";
export {
  maskedSoftmax,
  maskedSoftmaxBackward,
  relativeScores,
  relativeScoresBackward,
} from "./attention/scores";
export {
  dotWeighted,
  normGradient,
  normWeightGradient,
  rmsNorm,
  rmsNormBackward,
  scaleByWeight,
} from "./norm/norm";
export { peak, peakDots, peakDotsJob, peakJob } from "./lib/peak";
export { poolColumns, spreadColumns } from "./elementwise/groups";
export { quantize } from "./quant/quantize";
export { rope, rotate } from "./attention/rope";
export { roundHalf, rowSquares, scaleColumns } from "./elementwise/elementwise";
export { svdGram, svdLoad, svdNorms, svdRound, svdTurn } from "./linalg/svd_block";
export {
  swiglu,
  swigluBackward,
  swigluGradient,
  swigluRow,
} from "./elementwise/activation";
export {
  svdBasis,
  svdRotate,
  tridiagonalize,
  tridiagonalQl,
} from "./linalg/svd_eigen";
export { relaxed } from "./lib/trial";
