"""ORIGINAL OUT: PEFT's own QA-LoRA layers compute what `loqa train OUT` made of OUT/adapter.

OUT holds a packed backbone in affine groups. PEFT puts such layers on GPTQModel's kernels only, so the model is ORIGINAL with
the decoded weights of the backbone, and PEFT's class for those kernels, GPTQLoraLinear, is put on its plain linear layers: it
calls the layer below it and adds QALoraLinearVariant's forward (peft/tuners/lora/gptq.py, variants.py).
"""

import json
import pathlib
import re

import numpy as np
import torch
from peft import LoraConfig
from peft.tuners.lora.gptq import GPTQLoraLinear

from lib import adapter_deltas, arguments, check, close, load, replace_weights, tensors
from packed import read_packed

original, out = arguments(2)
out = pathlib.Path(out)
config = LoraConfig.from_pretrained(str(out / "adapter"))
check("PEFT reads the settings", config.use_qalora and config.qalora_group_size == 32, f"{config}")

model = load(original, "causal")
replace_weights(model, read_packed(out / "backbone"))
ids = torch.tensor(json.loads((out / "ids.json").read_text())).reshape(2, -1)
with torch.no_grad():
    bare = model(input_ids=ids).logits

state = tensors(out / "adapter", "adapter_model")
modules = [key.removeprefix("base_model.model.").removesuffix(".lora_A.weight") for key in state if ".lora_A." in key]
for name in modules:
    below = model.get_submodule(name)
    alpha = next((v for k, v in config.alpha_pattern.items() if re.match(rf"^(.*\.)?({k})$", name)), config.lora_alpha)
    rank = next((v for k, v in config.rank_pattern.items() if re.match(rf"^(.*\.)?({k})$", name)), config.r)
    layer = GPTQLoraLinear(below, "default", config, r=rank, lora_alpha=alpha)
    with torch.no_grad():
        for factor, part in (("A", layer.lora_A), ("B", layer.lora_B)):
            value = state[f"base_model.model.{name}.lora_{factor}.weight"]
            assert part["default"].weight.shape == value.shape, (name, factor, value.shape)
            part["default"].weight.copy_(value)
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer)
with torch.no_grad():
    wanted = model.eval()(input_ids=ids).logits
got = torch.from_numpy(np.fromfile(out / "logits.bin", "<f4")).reshape(wanted.shape)
close("logits of PEFT's QA-LoRA layers", got, wanted, 1e-4)
check("the adapter changes the logits", (wanted - bare).abs().max() > 0.05 * bare.std(), f"{(wanted - bare).abs().max()}")

merged = pathlib.Path(f"{out}-merged")
before, after = read_packed(out / "backbone"), read_packed(merged / "backbone")
far = 0.0
for name, delta in adapter_deltas(out / "adapter").items():
    inputs = before[name].shape[1]
    # PEFT's pooling: the mean over a group of 32 times the number of groups.
    spread = (delta * (inputs / 32) / 32).repeat_interleave(32, dim=1)
    far = max(far, (after[name] - before[name] - spread).abs().max().item() / spread.abs().max().item())
check("the merged weights are the decoded ones plus PEFT's update", far <= 1e-4, f"{far:.2e} of the largest update")
