"""GPTQ checkpoints in NumPy: the loops of AutoGPTQ's and GPTQModel's `pack`, independent of loqa.

Read by make.py and by tests/interop/read_gptq.py.
"""

import numpy as np


def pack_down(codes, bits):
    """[n, m] codes -> [n * bits / 32, m] words, as qweight is packed along the input."""
    codes = codes.astype(np.uint32)
    out = np.zeros((codes.shape[0] * bits // 32, codes.shape[1]), np.uint32)
    i = row = 0
    while row < out.shape[0]:
        if bits in (2, 4):
            for j in range(32 // bits):
                out[row] |= codes[i + j] << np.uint32(bits * j)
            i += 32 // bits
            row += 1
            continue
        for j in range(10):
            out[row] |= codes[i + j] << np.uint32(3 * j)
        i += 10
        out[row] |= codes[i] << np.uint32(30)
        row += 1
        out[row] |= (codes[i] >> np.uint32(2)) & np.uint32(1)
        i += 1
        for j in range(10):
            out[row] |= codes[i + j] << np.uint32(3 * j + 1)
        i += 10
        out[row] |= codes[i] << np.uint32(31)
        row += 1
        out[row] |= (codes[i] >> np.uint32(1)) & np.uint32(3)
        i += 1
        for j in range(10):
            out[row] |= codes[i + j] << np.uint32(3 * j + 2)
        i += 10
        row += 1
    return out


def unpack_down(words, bits, count):
    """The inverse, by the bits of the words alone."""
    raw = np.ascontiguousarray(words.T).astype("<u4").view(np.uint8).reshape(words.shape[1], -1)
    flat = np.unpackbits(raw, axis=1, bitorder="little").reshape(words.shape[1], count, bits)
    return (flat << np.arange(bits)).sum(-1).T


def checkpoint(rng, *, bits, group, version, reordered):
    """config.json, tensors and values of one layer [out 32, in 256]."""
    rows, cols, path = 32, 256, "model.layers.0.fc"
    size = cols if group == -1 else group
    groups = cols // size
    order = np.arange(cols) // size
    if reordered:
        order = rng.permutation(order)
    top = 2**bits
    codes = rng.integers(0, top, (cols, rows))
    # Version 1 stores zero - 1.
    zeros = rng.integers(1 if version == 1 else 0, top, (groups, rows))
    scales = (rng.random((groups, rows)) * 0.02 + 0.001).astype(np.float16)
    tensors = {
        f"{path}.qweight": pack_down(codes, bits).view(np.int32),
        f"{path}.qzeros": np.ascontiguousarray(pack_down((zeros - (version == 1)).T, bits).T).view(np.int32),
        f"{path}.scales": scales,
        f"{path}.g_idx": order.astype(np.int32),
        f"{path}.bias": rng.standard_normal(rows).astype(np.float16),
    }
    values = scales.astype(np.float32)[order] * (codes - zeros[order]).astype(np.float32)
    config = {
        "model_type": "llama",
        "quantization_config": {
            "quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": reordered, "sym": False,
            "checkpoint_format": "gptq" if version == 1 else "gptq_v2",
        },
    }
    return config, tensors, {f"{path}.weight": np.ascontiguousarray(values.T)}
