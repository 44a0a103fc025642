"""Independent readers, in NumPy: of loqa's packed layout, written from the description in src/io/packed/packed.ts, and of
bitsandbytes' 4-bit layout, nested scales included (bitsandbytes: functional.py, QuantState.from_dict and dequantize_4bit)."""

import json
import pathlib

import numpy as np
import torch
from safetensors import safe_open


def unpack(stream: np.ndarray, count: int, bits: int, order: str) -> np.ndarray:
    """`count` codes of each row of a `[rows, bytes]` bit stream."""
    if order == "high":
        if bits != 4:
            raise ValueError(f"order high is for 4 bits, got {bits}")
        codes = np.stack([stream >> 4, stream & 15], axis=-1).reshape(len(stream), -1)
    else:
        single = np.unpackbits(stream, axis=1, bitorder="little")
        single = single[:, : single.shape[1] // bits * bits].reshape(len(stream), -1, bits)
        codes = (single << np.arange(bits, dtype=np.uint8)).sum(-1, dtype=np.uint8)
    return codes[:, :count]


def decode(weight: dict, parts: dict[str, np.ndarray], levels: dict[str, list[float]]) -> np.ndarray:
    """f32 values `[rows, cols]` of one weight: one affine range or one codebook scale a block."""
    rows, cols = weight["shape"]
    by_row = parts["codes"].ndim == 2
    lines, length = (rows, cols) if by_row else (1, rows * cols)
    block = weight["block"] or length
    codes = unpack(parts["codes"].reshape(lines, -1), length, weight["bits"], weight["order"])
    at = np.arange(length) // block
    scales = parts["scales"].reshape(lines, -1)[:, at]
    if "biases" in parts:
        values = scales * codes.astype(np.float32) + parts["biases"].reshape(lines, -1)[:, at]
    else:
        values = scales * np.asarray(levels[weight["format"]], np.float32)[codes]
    return values.reshape(rows, cols)


def read_packed(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """module path -> dequantised weight in f64."""
    config = json.loads((folder / "config.json").read_text())
    assert config["loqa"]["layout"] == "packed" and config["quantization_config"]["quant_method"] == "loqa"
    index = folder / "model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    found = {}
    for name in names:
        with safe_open(folder / name, "np") as file:
            metadata = file.metadata()
            description = json.loads(metadata["loqa.packed"])
            assert description["version"] == 1
            levels = json.loads(metadata["loqa.levels"])
            for key, weight in description["weights"].items():
                parts = {
                    part: file.get_tensor(f"{key}.{part}")
                    for part in ("codes", "scales", "biases") if f"{key}.{part}" in file.keys()
                }
                found[key.removesuffix(".weight")] = torch.from_numpy(decode(weight, parts, levels)).double()
    return found


def read_bnb(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """module path -> dequantised weight in f64."""
    found = {}
    with safe_open(folder / "model.safetensors", "np") as file:
        for key in file.keys():
            weight, mark, kind = key.partition(".quant_state.bitsandbytes__")
            if not mark:
                continue
            state = json.loads(bytes(file.get_tensor(key)))
            packed, absmax = file.get_tensor(weight).reshape(1, -1), file.get_tensor(f"{weight}.absmax")
            if "nested_blocksize" in state:
                scales, table = file.get_tensor(f"{weight}.nested_absmax"), file.get_tensor(f"{weight}.nested_quant_map")
                at = np.arange(len(absmax)) // state["nested_blocksize"]
                absmax = table[absmax] * scales[at] + np.float32(state["nested_offset"])
            rows, cols = state["shape"]
            levels = {kind: file.get_tensor(f"{weight}.quant_map")}
            described = {"shape": [rows, cols], "block": state["blocksize"], "bits": 4, "order": "high", "format": kind}
            values = decode(described, {"codes": packed.reshape(-1), "scales": absmax}, levels)
            found[weight.removesuffix(".weight")] = torch.from_numpy(values).double()
    return found
