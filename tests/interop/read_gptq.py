"""PACKED OUT: OUT is what `loqa export --to gptq` makes of the backbone PACKED. GPTQModel needs CUDA builds: gptq.py reads it."""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file

from lib import arguments, check
from packed import unpack

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "golden" / "affine"))
from gptq import unpack_down  # noqa: E402

packed, out = (pathlib.Path(folder) for folder in arguments(2))
config = json.loads((out / "config.json").read_text())["quantization_config"]
bits, group = config["bits"], config["group_size"]
check("version 2, columns in order", (config["checkpoint_format"], config["desc_act"]) == ("gptq_v2", False), str(config))
ours, theirs = load_file(packed / "model.safetensors"), load_file(out / "model.safetensors")
modules = [key.removesuffix(".qweight") for key in theirs if key.endswith(".qweight")]
codes_same = order_same = bool(modules)
worst = 0.0
for module in modules:
    g_idx = theirs[f"{module}.g_idx"]
    order_same &= np.array_equal(g_idx, np.arange(len(g_idx)) // group)
    codes = unpack_down(theirs[f"{module}.qweight"], bits, len(g_idx)).T
    codes_same &= np.array_equal(codes, unpack(ours[f"{module}.weight.codes"], len(g_idx), bits, "low"))
    scales = theirs[f"{module}.scales"].astype(np.float32)
    zeros = unpack_down(theirs[f"{module}.qzeros"].T, bits, scales.shape[1]).T
    s, b = ours[f"{module}.weight.scales"], ours[f"{module}.weight.biases"]
    wanted = np.clip(np.rint(-b / s), 0, 2**bits - 1)
    # f16 scales may bring a zero that lies between two codes to the other one.
    worst = max(worst, np.abs(zeros.T - (-b / s))[np.abs(wanted + b / s) <= 0.5].max())
check("codes are ours", codes_same)
check("g_idx is k // group", order_same)
check("zeros are the nearest whole ones", worst < 0.51, f"{worst:.3f}")
