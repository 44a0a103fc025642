/** Exports besides jobs, which the build adds: single-thread steps, and loops of tests and the benchmark. */

export { adamwRow } from "./elementwise/optimizer";
export { combineRow, scaleRow } from "./elementwise/rows";
export { factor } from "./linalg/qr";
export { softmaxRow } from "./attention/attention";
export { gradientRow } from "./attention/attention_backward";
export { dotKeys, sumValues } from "./attention/attention_one";
export { choleskyDiagonal } from "./linalg/triangular";
export { activateRow, activateSlope } from "./elementwise/activate";
export { dotRows } from "./lib/vector";
export { expSum, rowMax } from "./lib/exp";
export { dotBytes, dotFour, dotNibbles } from "./gemm/gemv";
export { micro } from "./gemm/gemm_micro";
export { microF64 } from "./linalg/f64_micro";
export { largest, roundRow } from "./gemm/int8";
export { roundFive } from "./gemm/int8_backward";
export { micro16, micro16Signed, micro8 } from "./gemm/int8_micro";
export { fourBytes, fourNibbles } from "./gemm/int8_rows";
export { jacobi } from "./linalg/svd";
export { layerNormRow, normRow, rowSum } from "./norm/layer_norm";
export { dotWeighted, normGradient, scaleByWeight } from "./norm/norm";
export { peak, peakDots } from "./lib/peak";
export { rotate } from "./attention/rope";
export { swigluGradient, swigluRow } from "./elementwise/activation";
export { tridiagonalize, tridiagonalQl } from "./linalg/svd_eigen";
export { relaxed } from "./lib/trial";
