"""ORIGINAL KIND PACKED PEER FORM LAYOUT: what PEFT computes from our files, against our own reconstruction of them.

PACKED and PEER are outputs of one `loqa init`, with `--backbone packed` and `--backbone LAYOUT` (bnb or dense).
The reconstruction is the original model in f32 with each layer replaced by dequantised codes plus s * B * A, both
computed here, the codes by the decoders of packed.py. PACKED may be PEER itself, of layout bnb, for what the packed
layout cannot say (scales in 8 bits).
"""

import json
import pathlib

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoConfig

from lib import adapter_deltas, arguments, check, close, load, outputs, replace_weights, tensors
from packed import read_bnb, read_packed

original, kind, packed, peer, form, layout = arguments(6)
packed, peer = pathlib.Path(packed), pathlib.Path(peer)

base = load(original, kind)
untouched = outputs(base, kind)
quantised = (read_bnb if packed == peer else read_packed)(packed / "backbone")
deltas = adapter_deltas(packed / "adapter")
check("every quantised layer has its factors", quantised.keys() == deltas.keys() and len(deltas) > 0, f"{quantised.keys() ^ deltas.keys()}")
if packed != peer:
    one, other = (tensors(folder / "adapter", "adapter_model") for folder in (packed, peer))
    check("both layouts carry the same factors", all(torch.equal(one[k], other[k]) for k in one), "factors differ")

ours = json.loads((peer / "adapter" / "adapter_config.json").read_text())
saved = pathlib.Path(peer) / "peft-config"
LoraConfig(r=8, target_modules=["q_proj"]).save_pretrained(saved)
theirs = json.loads((saved / "adapter_config.json").read_text())
check("adapter_config.json has the keys that PEFT writes", ours.keys() == theirs.keys(), f"{sorted(ours.keys() ^ theirs.keys())}")

errors = {}
for module, q in quantised.items():
    weight = base.get_submodule(module).weight.detach().double()
    errors[module] = ((weight - q - deltas[module]).norm() / weight.norm()).item(), ((weight - q).norm() / weight.norm()).item()
told = {layer["name"]: layer for layer in json.loads((peer / "loqa.json").read_text())["layers"]}
far = max(abs(told[m if m in told else f"{m}.weight"]["error"] - e) for m, (e, _) in errors.items())
check("errors in loqa.json are those of the files, within 1e-5", far <= 1e-5, f"largest difference {far:.3e}")

replace_weights(base, {m: q + deltas[m] for m, q in quantised.items()})
wanted = outputs(base, kind)
replace_weights(base, quantised)
plain = outputs(base, kind)
check(
    "the factors bring the outputs nearer to the original's", (wanted - untouched).pow(2).mean() * 1.03 < (plain - untouched).pow(2).mean(),
    f"mean square {(wanted - untouched).pow(2).mean():.3e} with, {(plain - untouched).pow(2).mean():.3e} without",
)

del base
model = load(str(peer / "backbone"), kind)
quantised_layers = [n for n, m in model.named_modules() if type(m).__name__ == "Linear4bit"]
if layout == "bnb":
    check("transformers loads the layers as Linear4bit", sorted(quantised_layers) == sorted(quantised), f"{set(quantised_layers) ^ set(quantised)}")
    # f32 all the way, whatever the file asks for: what is compared are the weights. bitsandbytes' inference path for
    # AVX512-BF16 processors rounds inputs to bf16, and refuses layers whose rows are no multiple of 32.
    for name in quantised_layers:
        module = model.get_submodule(name)
        module.compute_dtype, module.compute_type_is_set = torch.float32, True
        module.support_avx512bf16_for_cpu = False
else:
    check("the dense backbone has plain layers", not quantised_layers and not hasattr(model.config, "quantization_config"), f"{quantised_layers}")
model = PeftModel.from_pretrained(model, peer / "adapter").eval()
loaded = sum(name.endswith("lora_A.default") for name, _ in model.named_modules())
check("PEFT put factors on every one of them", loaded == len(deltas), f"{loaded} of {len(deltas)}")
close(f"{form}: outputs of PEFT on the {layout} backbone", outputs(model, kind), wanted, 1e-3 if layout == "bnb" else 1e-5)

left, right = AutoConfig.from_pretrained(peer / "backbone").to_dict(), None
if not original.endswith(".gguf"):
    right = AutoConfig.from_pretrained(original).to_dict()
    ignored = {"quantization_config", "_name_or_path", "transformers_version", "dtype", "torch_dtype"}
    different = [k for k in left.keys() | right.keys() if k not in ignored and left.get(k) != right.get(k)]
    check("config.json says what the original's does", not different, f"{different}")
