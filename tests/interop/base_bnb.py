"""ORIGINAL KIND FOLDER NAME: FOLDER/NAME is a bitsandbytes checkpoint of transformers, FOLDER/NAME-base what
`loqa init ORIGINAL --base FOLDER/NAME --backbone packed` makes: its Q kept, factors found for what it lacks.
"""

import pathlib

import torch
from safetensors.torch import load_file

from lib import adapter_deltas, arguments, check, load, outputs, replace_weights
from packed import read_packed

original, kind, folder, name = arguments(4)
folder = pathlib.Path(folder)
values = {key.removesuffix(".weight"): value for key, value in load_file(folder / f"{name}-values.safetensors").items()}
quantised = read_packed(folder / f"{name}-base" / "backbone")
deltas = adapter_deltas(folder / f"{name}-base" / "adapter")
check("every layer has its factors", quantised.keys() == deltas.keys() and len(deltas) > 0, f"{quantised.keys() ^ deltas.keys()}")
different = [key for key, q in quantised.items() if not torch.equal(q.float(), values[key])]
check("Q is bitsandbytes' own, to the last bit", not different, f"{different}")

model = load(original, kind)
weights = {key: model.get_submodule(key).weight.detach().double().clone() for key in quantised}
for key, q in quantised.items():
    u, s, vh = torch.linalg.svd(weights[key] - q)
    rank = 8
    least = s[rank:].pow(2).sum().sqrt().item()
    error = (weights[key] - q - deltas[key]).norm().item()
    check(f"{key}: the error is that of the best factors, within 2 %", least * 0.999 <= error <= 1.02 * least, f"{error:.5f}, best {least:.5f}")
wanted = outputs(model, kind)
replace_weights(model, quantised)
plain = (outputs(model, kind) - wanted).pow(2).mean().item()
replace_weights(model, {key: q + deltas[key] for key, q in quantised.items()})
helped = (outputs(model, kind) - wanted).pow(2).mean().item()
check("the factors bring the outputs nearer to the original's", helped * 1.03 < plain, f"{helped:.3e} with, {plain:.3e} without")
