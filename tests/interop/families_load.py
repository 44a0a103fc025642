"""FOLDER: loads what init made of each row of families.py as README says, and compares it with the original that has backbone + BA in it."""

import json
import pathlib

import numpy as np
import torch
import transformers
from peft import PeftModel

from families import ROWS, Row
from lib import adapter_deltas, arguments, check, tensors

TOLERANCE = 1e-5


def decoded(state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """A weight of the backbone's file, in f64, from codes and scales alone."""
    weight = state[name]
    if f"{name}.absmax" not in state:
        return weight.double()
    about = json.loads(bytes(state[f"{name}.quant_state.bitsandbytes__nf4"].tolist()))
    codes = weight.flatten().numpy()
    codes = np.stack([codes >> 4, codes & 15], 1).flatten()
    rows, cols = about["shape"]
    levels = state[f"{name}.quant_map"].double().numpy()
    scales = state[f"{name}.absmax"].double().numpy()
    values = levels[codes[: rows * cols]] * np.repeat(scales, about["blocksize"])[: rows * cols]
    return torch.from_numpy(values).reshape(rows, cols)


def put(model: torch.nn.Module, module: str, weight: torch.Tensor) -> None:
    """Puts a weight where the model has it: in a layer, or in one of the experts that it holds in one tensor."""
    path, _, last = module.rpartition(".")
    owner, _, number = path.rpartition(".")
    with torch.no_grad():
        if not owner.endswith("experts"):
            model.get_submodule(module).weight.copy_(weight.float())
            return
        experts = model.get_submodule(owner.replace("block_sparse_moe", "mlp"))
        into = experts.down_proj if last in ("down_proj", "w2") else experts.gate_up_proj
        half = into.shape[1] // 2
        part = {"gate_proj": slice(0, half), "w1": slice(0, half), "up_proj": slice(half, None), "w3": slice(half, None)}
        into[int(number), part.get(last, slice(None))] = weight.float()


def inputs(model: torch.nn.Module, row: Row) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    if row.type in ("vit", "deit", "dinov2"):
        return {"pixel_values": torch.randn(2, 3, 16, 16, generator=generator)}
    ids = torch.randint(3, 90, (2, 24), generator=generator)
    if row.auto == "AutoModelForSpeechSeq2Seq":
        return {"input_features": torch.randn(2, 16, 64, generator=generator), "decoder_input_ids": ids[:, :8]}
    if row.auto == "AutoModelForSeq2SeqLM":
        return {"input_ids": ids, "decoder_input_ids": ids[:, :12].flip(1)}
    if "tower" in row.label:
        ids[:, 4:8] = model.config.image_token_id
        pixels = torch.randn(2 * 16, 3 * 2 * 4 * 4, generator=generator)
        return {
            "input_ids": ids, "pixel_values": pixels, "image_grid_thw": torch.tensor([[1, 4, 4]] * 2),
            "mm_token_type_ids": (ids == model.config.image_token_id).int(),
        }
    return {"input_ids": ids}


def says(model: torch.nn.Module, row: Row) -> torch.Tensor:
    with torch.no_grad():
        out = model.eval()(**inputs(model, row))
    found = [out[key] for key in ("logits", "start_logits", "end_logits", "last_hidden_state") if out.get(key) is not None]
    return torch.cat([part.flatten() for part in found]).double()


def compare(row: Row, place: pathlib.Path) -> float:
    """Relative distance. @raises AssertionError where something is missing on either side."""
    said = json.loads((place / "out/loqa.json").read_text())["autoClass"]
    assert said == row.auto, f"init says {said}"
    auto = getattr(transformers, said)
    made = auto.from_pretrained(place / "out/backbone")
    factors = adapter_deltas(place / "out/adapter")
    state = tensors(place / "out/backbone")
    model = PeftModel.from_pretrained(made, place / "out/adapter", is_trainable=True)
    got = says(model, row)
    dead = [name for name, p in model.named_parameters() if "lora_B" in name and not p.any()]
    assert not dead, f"{len(dead)} factors were not loaded: {dead[0]}"
    original = auto.from_pretrained(renamed(place), dtype=torch.float32)
    for module, delta in factors.items():
        put(original, module, decoded(state, f"{module}.weight") + delta)
    wanted = says(original, row)
    assert got.shape == wanted.shape and torch.isfinite(got).all() and wanted.std() > 1e-3
    return ((got - wanted).norm() / wanted.norm()).item()


def renamed(place: pathlib.Path) -> pathlib.Path:
    """The original, or where its names were changed the model before that."""
    plain = place / "plain"
    return plain if plain.exists() else place / "model"


[out] = arguments(1)
for row, told in zip(ROWS, json.loads((pathlib.Path(out) / "rows.json").read_text())):
    place = pathlib.Path(told["place"])
    if not (place / "out/loqa.json").exists():
        continue
    try:
        far = compare(row, place)
        check(f"{row.label} agrees", far <= TOLERANCE, f"{far:.2e}")
    except Exception as e:
        check(f"{row.label} agrees", False, f"{type(e).__name__}: {e}"[:600])
