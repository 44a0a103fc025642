/** Everything the loader sees: jobs `(args, part, parts)`, single-thread steps, and the loops of the benchmark. */

export { adamw, adamwRow } from "./optimizer";
export {
  addRow,
  columnSums,
  combine,
  combineRow,
  dropout,
  gatherRows,
  scaleRow,
  scatterRows,
} from "./rows";
export { applyInverse, factor, gram } from "./qr";
export { attention, softmaxRow } from "./attention";
export {
  attentionBackward,
  attentionSums,
  gradientRow,
} from "./attention_backward";
export {
  attentionMerge,
  attentionOne,
  dotKeys,
  sumValues,
} from "./attention_one";
export { choleskyDiagonal, choleskyRows, solveRight } from "./triangular";
export {
  activate,
  activateBackward,
  activateRow,
  activateSlope,
} from "./activate";
export { crossEntropy } from "./loss";
export { dequantize } from "./dequantize";
export { dotRows } from "./vector";
export { expSum, rowMax } from "./exp";
export { gemm } from "./gemm";
export { dotBytes, dotFour, dotNibbles, gemv, gemvQuantized } from "./gemv";
export { micro } from "./gemm_micro";
export { microF64 } from "./f64_micro";
export { int8Forward, int8Rows, largest, roundRow } from "./int8";
export {
  int8Backward,
  int8Fold,
  int8Units,
  roundFive,
} from "./int8_backward";
export { micro16, micro16Signed, micro8 } from "./int8_micro";
export { fourBytes, fourNibbles, int8Gemv } from "./int8_rows";
export { jacobi, svdStore } from "./svd";
export {
  layerNorm,
  layerNormBackward,
  layerNormRow,
  layerNormWeight,
  normRow,
  rowSum,
} from "./layer_norm";
export {
  maskedSoftmax,
  maskedSoftmaxBackward,
  relativeScores,
  relativeScoresBackward,
} from "./scores";
export {
  dotWeighted,
  normGradient,
  normWeightGradient,
  rmsNorm,
  rmsNormBackward,
  scaleByWeight,
} from "./norm";
export { peak, peakDots, peakDotsJob, peakJob } from "./peak";
export { poolColumns, spreadColumns } from "./groups";
export { quantize } from "./quantize";
export { rope, rotate } from "./rope";
export { roundHalf, rowSquares, scaleColumns } from "./elementwise";
export { svdGram, svdLoad, svdNorms, svdRound, svdTurn } from "./svd_block";
export {
  swiglu,
  swigluBackward,
  swigluGradient,
  swigluRow,
} from "./activation";
export {
  svdBasis,
  svdRotate,
  tridiagonalize,
  tridiagonalQl,
} from "./svd_eigen";
export { relaxed } from "./trial";
