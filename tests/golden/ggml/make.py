"""Makes blocks of ggml's K types and of IQ4 and the f32 values that they stand for, with the real peers.

Run from this folder: python make.py [LIBGGML_BASE]
Versions used: gguf 0.19.0, numpy 2.4.6, safetensors 0.8.0; LIBGGML_BASE is the library of ggml in the npm package
@node-llama-cpp/linux-x64 3.22.1. The seed is fixed.

A type's first blocks are random bits with every extreme scale in turn, its last four ggml's own quantisation of normal
values. gguf decodes all but Q8_K, which it cannot; ggml decodes that one. NaNs are told apart from numbers only.
"""

import ctypes
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save_file

PACKAGE = "../../../.venv/llama-cpp/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-base.so"
ggml = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else PACKAGE)
ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
ggml.dequantize_row_q8_K.argtypes = ggml.quantize_row_q8_K_ref.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]

# Where the scales of a block begin, and their type.
SCALES = {
    T.Q2_K: (80, 82), T.Q3_K: (108,), T.Q4_K: (0, 2), T.Q5_K: (0, 2), T.Q6_K: (208,), T.Q8_K: (0,), T.IQ4_NL: (0,), T.IQ4_XS: (0,),
}
# Zeros, least and greatest subnormals, least and greatest numbers, infinities, NaN.
F16 = [0, 0x8000, 1, 0x8001, 0x3ff, 0x83ff, 0x400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e01]
F32 = [0, 1 << 31, 1, 0x80000003, 0x7fffff, 0x807fffff, 0x800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00001]
REAL = 4
rng = np.random.default_rng(17)
tensors = {}
for type, places in SCALES.items():
    values, size = gguf.GGML_QUANT_SIZES[type]
    blocks = rng.integers(0, 256, (len(F16) + REAL, size), dtype=np.uint8)
    for i, (half, single) in enumerate(zip(F16, F32)):
        for j, at in enumerate(places):
            # Of two scales the extremes meet different ones.
            bits = np.uint32(single) if type == T.Q8_K else np.uint16(half if j == 0 else F16[(i * 5 + 3) % len(F16)])
            blocks[i, at:at + bits.nbytes] = np.frombuffer(bits.tobytes(), np.uint8)
    normal = (rng.standard_normal(REAL * values) * 0.05).astype(np.float32)
    real = np.zeros(REAL * size, np.uint8)
    if type == T.Q8_K:
        ggml.quantize_row_q8_K_ref(normal.ctypes.data, real.ctypes.data, normal.size)
    else:
        assert ggml.ggml_quantize_chunk(type, normal.ctypes.data, real.ctypes.data, 0, REAL, values, None) == real.size
    blocks[-REAL:] = real.reshape(REAL, size)
    if type == T.Q8_K:
        decoded = np.empty(blocks.shape[0] * values, np.float32)
        ggml.dequantize_row_q8_K(blocks.ctypes.data, decoded.ctypes.data, decoded.size)
    else:
        with np.errstate(all="ignore"):
            decoded = gguf.dequantize(blocks, type).reshape(-1)
    error = np.sqrt(np.mean((decoded[-normal.size:] - normal)**2) / np.mean(normal**2))
    assert error < 0.4, f"{type.name} errs by {error}"
    print(type.name, f"{error:.4f}")
    tensors |= {f"{type.name}.blocks": blocks, f"{type.name}.values": decoded}
save_file(tensors, "k_types.safetensors")
