"""Makes the checkpoints beside it, with the real peers, and the f32 values that they stand for.

Run from this folder: python make.py
Versions used: mlx 0.32.4 (CPU), hqq 0.2.8.post1, torch 2.13.0, safetensors 0.8.0, numpy 2.4.6. Seeds are fixed.

GPTQModel needs CUDA builds; gptq.py beside it packs as AutoGPTQ's and GPTQModel's Python does, in NumPy.
"""

import json

import mlx.core as mx
import numpy as np
import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from gptq import checkpoint

mx.set_default_device(mx.cpu)
rng = np.random.default_rng(11)
DTYPES = {"f16": mx.float16, "bf16": mx.bfloat16, "f32": mx.float32}


def normal(rows, cols):
    return (rng.standard_normal((rows, cols)) * 0.05).astype(np.float32)


def write(name, config, values):
    if config is not None:
        with open(f"{name}.json", "w") as file:
            json.dump(config, file, indent=1)
            file.write("\n")
    if values:
        save_file({k: np.ascontiguousarray(v) for k, v in values.items()}, f"{name}-values.safetensors")


# MLX: path -> bits, group, type of scales.
LAYERS = {
    "model.layers.0.q_proj": (4, 32, "f16"), "model.layers.0.k_proj": (3, 64, "f32"), "model.layers.0.v_proj": (2, 128, "bf16"),
    "model.layers.0.o_proj": (4, 64, "f32"), "model.embed_tokens": (8, 32, "f16"),
}
tensors, values = {"model.norm.weight": mx.array(normal(1, 16)[0]), "model.layers.0.q_proj.bias": mx.array(normal(1, 6)[0])}, {}
overrides = {}
for path, (bits, group, dtype) in LAYERS.items():
    w = normal(6, 256)
    w[0, :128] = np.abs(w[0, :128])
    w[1, :128] = -np.abs(w[1, :128])
    q, s, b = mx.quantize(mx.array(w).astype(DTYPES[dtype]), group_size=group, bits=bits)
    tensors |= {f"{path}.weight": q, f"{path}.scales": s, f"{path}.biases": b}
    exact = mx.dequantize(q, s.astype(mx.float32), b.astype(mx.float32), group_size=group, bits=bits)
    values[f"{path}.weight"] = np.array(exact)
    assert dtype != "f32" or (np.array(s) < 0).any(), "wanted negative scales"
    if (bits, group) != (4, 32):
        overrides[path] = {"group_size": group, "bits": bits}
write("mlx", {"model_type": "llama", "quantization": {"group_size": 32, "bits": 4, "mode": "affine", **overrides}}, values)
mx.save_safetensors("mlx.safetensors", tensors, metadata={"format": "mlx"})

# HQQ, as transformers stores its layers: axis 1, and one with axis 0.
for name, axis, widths in [("hqq", 1, (4, 3, 2)), ("hqq-axis0", 0, (4,))]:
    tensors, values = {"model.norm.weight": torch.from_numpy(normal(1, 16)[0])}, {}
    for bits in widths:
        linear = torch.nn.Linear(96, 12)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(normal(12, 96)))
            linear.bias.copy_(torch.from_numpy(normal(1, 12)[0]))
        config = BaseQuantizeConfig(nbits=bits, group_size=32, axis=axis)
        layer = HQQLinear(linear, config, compute_dtype=torch.float32, device="cpu")
        layer.encoded_state_dict = True
        path = f"model.layers.{bits}.fc"
        tensors |= {f"{path}.{k}": v.detach().contiguous() for k, v in layer.state_dict().items()}
        values[f"{path}.weight"] = layer.dequantize().numpy()
    write(name, None, values if axis == 1 else {})
    save_torch(tensors, f"{name}.safetensors", metadata={"format": "pt"})

# GPTQ: versions, widths, a group that is a row, reordered columns.
for name, bits, group, version, order in [
    ("gptq-v1-4", 4, 32, 1, False), ("gptq-v2-4", 4, 64, 2, False), ("gptq-v1-3", 3, 32, 1, False), ("gptq-v2-3", 3, 128, 2, False),
    ("gptq-v1-2", 2, -1, 1, False), ("gptq-act-order", 4, 32, 2, True),
]:
    config, tensors, values = checkpoint(rng, bits=bits, group=group, version=version, reordered=order)
    write(name, config, {} if order else values)
    save_file(tensors, f"{name}.safetensors", metadata={"format": "pt"})
