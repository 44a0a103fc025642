"""PACKED OUT: OUT is what `loqa export --to hqq --dtype f32` makes of the backbone PACKED."""

import json
import pathlib

import torch
from hqq.core.quantize import HQQLinear
from safetensors.torch import load_file

from lib import arguments, check
from packed import read_packed

packed, out = arguments(2)
ours = read_packed(pathlib.Path(packed))
tensors = load_file(pathlib.Path(out) / "model.safetensors")
config = json.loads((pathlib.Path(out) / "config.json").read_text())["quantization_config"]
modules = [key.removesuffix(".W_q") for key in tensors if key.endswith(".W_q")]
check("every quantised layer is one to HQQ", sorted(modules) == sorted(ours) and len(modules) > 0, f"{set(modules) ^ set(ours)}")
farthest = 0.0
for module in modules:
    layer = HQQLinear(None, None, compute_dtype=torch.float32, device="cpu", initialize=False)
    state = {k.removeprefix(f"{module}."): v for k, v in tensors.items() if k.startswith(f"{module}.")}
    missing = layer.state_dict_keys() - state.keys() - {"bias"}
    if missing:
        check(f"{module}: HQQ's state is whole", False, f"{missing}")
    layer.load_state_dict(state)
    params = layer.quant_config["weight_quant_params"]
    if (params["axis"], params["nbits"]) != (1, config["quant_config"]["weight_quant_params"]["nbits"]):
        check(f"{module}: HQQ reads its options", False, f"{params}")
    steps = layer.meta["scale"].abs().max().item()
    farthest = max(farthest, (layer.dequantize().float() - ours[module].float()).abs().max().item() / steps)
check("HQQLinear decodes our values, within 1e-5 of a step", farthest < 1e-5, f"{farthest:.2e}")
