"""FOLDER NAME: FOLDER/NAME is a checkpoint of transformers, NAME.json what `loqa inspect` says of it, NAME-again what
`loqa init --method qlora --iters 0 --format nf4 --backbone bnb` makes of it, NAME-values.safetensors its true values.
"""

import json
import pathlib

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import load_file

from lib import arguments, check, tensors

folder, name = arguments(2)
folder = pathlib.Path(folder)
values = load_file(folder / f"{name}-values.safetensors")
theirs, ours = tensors(folder / name), tensors(folder / f"{name}-again" / "backbone")
told = (folder / f"{name}.json").read_text()
check("loqa inspect names every layer", all(key in told for key in values), f"{[k for k in values if k not in told]}")
check("loqa inspect says nf4", "nf4" in json.dumps(json.loads(told)).lower())
for key, value in values.items():
    packed, state = bnb.quantize_4bit(value, blocksize=64, quant_type="nf4", compress_statistics=False)
    same = torch.equal(packed.flatten(), ours[key].flatten()) and torch.equal(state.absmax, ours[f"{key}.absmax"])
    kept = torch.equal(ours[key].flatten(), theirs[key].flatten())
    check(f"{key}: read to the last bit, codes kept", same and kept, f"requantised equal: {same}, codes kept: {kept}")
