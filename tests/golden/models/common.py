"""Weights and factors of the golden models from a seed, which data.ts repeats bit for bit, and how files of them are written."""

import base64
import json
import pathlib
import re
import sys
import tempfile

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from near_normal import near_normal  # noqa: E402

F32 = np.float32


def b64(array):
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def seeded(names_and_sizes, seed, start):
    """Values by name: the seed of a tensor counts its place among the names in order; `start` gives base and scale."""
    out = {}
    for i, name in enumerate(sorted(names_and_sizes)):
        base, scale = start(name)
        out[name] = F32(base) + F32(scale) * near_normal(names_and_sizes[name], seed * 1000003 + i * 7919)
    return out


def factor_start(name):
    return (0, 0.25) if "lora_A" in name else (0, 0.125)


def fill(named, values):
    with torch.no_grad():
        for name, tensor in named:
            tensor.copy_(torch.from_numpy(values[name]).reshape(tensor.shape))


def plain_name(name):
    """PEFT's name of a factor as its file has it."""
    return name.removeprefix("base_model.model.").replace(".default.weight", "")


def saved_config(model):
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        return json.loads((pathlib.Path(folder) / "config.json").read_text())


def write(path, document):
    text = json.dumps(document, indent=1)
    # Rows of numbers on one line each.
    text = re.sub(r"\[[\s\d.,e-]+\]", lambda m: re.sub(r"\s+", "", m[0]), text)
    path.write_text(text + "\n")
