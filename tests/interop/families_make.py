"""FOLDER: writes a small random model for each row of families.py, and rows.json with what init is to be told of each."""

import json
import pathlib

import torch
import transformers
from safetensors.torch import load_file, save_file

from families import ROWS, Row
from lib import arguments, check


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Every parameter is felt: biases are not 0, norms not 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim >= 2:
                p.copy_(noise * (0.3 if "embed" in name else p.shape[-1] ** -0.5))
            elif name.endswith("bias"):
                p.copy_(0.1 * noise)
            else:
                p.copy_(1 + 0.2 * noise)


def renamed(name: str, how: str) -> str:
    """A tensor's name as another tool leaves it."""
    if how == "bare":
        return name.removeprefix("model.")
    if how == "twice":
        return f"model.{name}"
    if how == "_orig_mod.":
        return name.replace("model.", "model._orig_mod.", 1) if name.startswith("model.") else f"_orig_mod.{name}"
    prefix = how.removeprefix("prefix ")
    return f"{prefix}{'' if prefix.endswith('.') else '.'}{name}"


def make(row: Row, folder: pathlib.Path, seed: int) -> None:
    config = transformers.AutoConfig.for_model(row.type, **row.sizes | row.more)
    config.dtype = torch.float32
    model = getattr(transformers, row.auto).from_config(config)
    randomise(model, seed)
    model.save_pretrained(folder)
    if row.names:
        model.save_pretrained(folder.parent / "plain")
        file = folder / "model.safetensors"
        save_file({renamed(key, row.names): value for key, value in load_file(file).items()}, file, {"format": "pt"})


[out] = arguments(1)
told = []
for i, row in enumerate(ROWS):
    place = pathlib.Path(out) / f"{i:03d}"
    error = ""
    try:
        make(row, place / "model", i)
    except Exception as e:
        error = f"{type(e).__name__}: {e}".splitlines()[0]
    check(f"{row.label} is made", error == "", error)
    told.append({"label": row.label, "place": str(place), "options": row.options, "made": error == ""})
(pathlib.Path(out) / "rows.json").write_text(json.dumps(told))
