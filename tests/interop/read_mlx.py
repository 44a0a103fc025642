"""ORIGINAL PACKED EXACT HALF: EXACT and HALF are what `loqa export --to mlx` makes of the backbone PACKED, in f32 and f16."""

import json
import pathlib

import mlx.core as mx
import numpy as np
import torch
from mlx_lm.utils import load_model

from lib import arguments, check, close, load, outputs, replace_weights
from packed import read_packed

original, packed, exact, half = arguments(4)
mx.set_default_device(mx.cpu)
ours = read_packed(pathlib.Path(packed))


def values(folder):
    """module path -> f32 weight, as mlx decodes it."""
    tensors = mx.load(str(pathlib.Path(folder) / "model.safetensors"))
    settings = json.loads((pathlib.Path(folder) / "config.json").read_text())["quantization"]
    found = {}
    for module in (key.removesuffix(".scales") for key in tensors if key.endswith(".scales")):
        own = settings.get(module, settings)
        parts = tensors[f"{module}.scales"].astype(mx.float32), tensors[f"{module}.biases"].astype(mx.float32)
        found[module] = torch.from_numpy(np.array(mx.dequantize(
            tensors[f"{module}.weight"], *parts, group_size=own["group_size"], bits=own["bits"],
        )))
    return found


full = values(exact)
check("every quantised layer is one to MLX", full.keys() == ours.keys() and len(full) > 0, f"{full.keys() ^ ours.keys()}")
different = [key for key, w in full.items() if not torch.equal(w, ours[key].float())]
check("mx.dequantize gives our values to the last bit", not different, f"{different}")
far = max((values(half)[key] - w).abs().max().item() / w.std().item() for key, w in full.items())
check("f16 moves them by less than 1 % of their standard deviation", 0 < far < 0.01, f"{far:.2e}")

reference = load(original, "causal")
replace_weights(reference, ours)
ids = torch.from_numpy(np.random.default_rng(7).integers(4, reference.config.vocab_size, (2, 24)))
with torch.no_grad():
    wanted = reference(input_ids=ids).logits
for folder, tolerance in [(exact, 1e-4), (half, 0.05)]:
    model, _ = load_model(pathlib.Path(folder))
    got = torch.from_numpy(np.array(model(mx.array(ids.numpy())).astype(mx.float32)))
    close(f"mlx_lm's logits of {pathlib.Path(folder).name}", got, wanted, tolerance)
