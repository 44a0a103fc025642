"""ORIGINAL KIND OUT: OUT is `loqa init --method qlora --iters 0 --format nf4 --backbone bnb` of ORIGINAL."""

import json
import pathlib

import bitsandbytes.functional as bnb
import torch

from lib import arguments, check, load, tensors

original, kind, out = arguments(3)
backbone = tensors(pathlib.Path(out) / "backbone")
model = load(original, kind)
layers = [key.removesuffix(".absmax") for key in backbone if key.endswith(".weight.absmax")]
linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
check("linear layers quantised", len(layers) > 0 and len(layers) >= 0.9 * (len(linear) - 2), f"{len(layers)} of {linear}")
dtypes = set()
for key in layers:
    weight = model.get_submodule(key.removesuffix(".weight")).weight.detach()
    packed, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=False)
    codes = int((packed.flatten() != backbone[key].flatten()).sum()) if packed.shape == backbone[key].shape else -1
    absmax = torch.equal(state.absmax, backbone[f"{key}.absmax"])
    described = json.loads(bytes(backbone[f"{key}.quant_state.bitsandbytes__nf4"].tolist()))
    table = torch.equal(state.code, backbone[f"{key}.quant_map"])
    told = (described["quant_type"], described["blocksize"], described["shape"]) == ("nf4", 64, list(weight.shape))
    check(
        f"{key}: codes, absmax, table and description as bitsandbytes has them", codes == 0 and absmax and table and told,
        f"{codes} bytes differ of {packed.numel()}, absmax equal: {absmax}, table equal: {table}, {described}",
    )
