"""ORIGINAL KIND OUT: writes bitsandbytes checkpoints as transformers does, and the values they stand for.

OUT/nf4 and OUT/nf4-nested hold the checkpoints, OUT/values.safetensors the f32 weights of OUT/nf4's linear layers.
"""

import pathlib
import sys

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file
from transformers import BitsAndBytesConfig

from lib import CLASSES, arguments, check

original, kind, out = arguments(3)
out = pathlib.Path(out)
for name, nested in [("nf4", False), ("nf4-nested", True)]:
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=nested, bnb_4bit_compute_dtype=torch.float32,
    )
    model = CLASSES[kind].from_pretrained(original, dtype=torch.float32, quantization_config=config)
    model.save_pretrained(out / name)
    values = {
        f"{n}.weight": bnb.dequantize_4bit(m.weight.data, m.weight.quant_state).float().contiguous()
        for n, m in model.named_modules() if type(m).__name__ == "Linear4bit"
    }
    save_file(values, out / f"{name}-values.safetensors")
    check(f"transformers writes {name}", (out / name / "model.safetensors").exists() and len(values) > 0, f"{len(values)} layers")
