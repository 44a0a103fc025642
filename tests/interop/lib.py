"""What the interop scripts share: reporting, models of the peers, inputs."""

import json
import pathlib
import re
import sys

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

torch.manual_seed(0)
CLASSES = {"causal": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM, "encoder": AutoModel}


# Of encoders: rows of several lengths, that every vocabulary of theirs has.
ENCODER_ROWS = [[2, 8, 13, 5, 17, 9, 18, 3], [2, 20, 3], [2, 4, 4, 14, 3]]


def padded_rows(pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`ENCODER_ROWS` as one batch, and its mask."""
    time = max(len(row) for row in ENCODER_ROWS)
    ids = [row + [pad] * (time - len(row)) for row in ENCODER_ROWS]
    mask = [[1] * len(row) + [0] * (time - len(row)) for row in ENCODER_ROWS]
    return torch.tensor(ids), torch.tensor(mask)


def encoder_says(model: torch.nn.Module) -> torch.Tensor:
    """Scores of `ENCODER_ROWS`, or features of their tokens, row by row; padding says nothing that counts."""
    ids, mask = padded_rows(model.config.pad_token_id)
    with torch.no_grad():
        out = model.eval()(input_ids=ids, attention_mask=mask)
    if "logits" in out:
        return out.logits.flatten()
    parts = (out.start_logits, out.end_logits) if "start_logits" in out else (out.last_hidden_state,)
    return torch.cat([part[b, : len(row)].flatten() for b, row in enumerate(ENCODER_ROWS) for part in parts])


def check(name: str, ok: bool, detail: str = "") -> None:
    """One fact, for run.ts to turn into a test."""
    print("CHECK " + json.dumps({"name": name, "ok": bool(ok), "detail": detail or name}), flush=True)


def close(name: str, got: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> None:
    """Largest difference at most `tolerance` times the spread of the values, and something there to differ."""
    ok = got.shape == wanted.shape and bool(torch.isfinite(got).all())
    far = (got.double() - wanted.double()).abs().max().item() if ok else float("inf")
    spread = wanted.double().std().item()
    check(
        f"{name} within {tolerance:g} of their standard deviation", ok and spread > 0.01 and far <= tolerance * spread,
        f"largest difference {far:.3e}, standard deviation {spread:.3e}, shape {tuple(got.shape)}",
    )


def load(path: str, kind: str, **options) -> torch.nn.Module:
    """A model of transformers in f32, from a folder or a GGUF file."""
    where = pathlib.Path(path)
    if where.suffix == ".gguf":
        options |= {"gguf_file": where.name}
        where = where.parent
    return CLASSES[kind].from_pretrained(where, dtype=torch.float32, **options).eval()


def outputs(model: torch.nn.Module, kind: str) -> torch.Tensor:
    """Logits (of an encoder: last hidden states) on seeded token ids, the same for every model of one vocabulary."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = torch.from_numpy(np.random.default_rng(7).integers(4, vocabulary, (2, 24)))
    inputs = {"input_ids": ids}
    if kind == "seq2seq":
        inputs["decoder_input_ids"] = ids[:, :12].flip(1)
    with torch.no_grad():
        out = model(**inputs)
    return (out.last_hidden_state if kind == "encoder" else out.logits).float()


def scores(model: torch.nn.Module, ids: list[list[int]]) -> torch.Tensor:
    """Scores of the token after each of `ids`; an encoder-decoder reads and writes them."""
    rows = torch.tensor(ids)
    both = model.config.is_encoder_decoder
    with torch.no_grad():
        return model.eval()(input_ids=rows, **({"decoder_input_ids": rows} if both else {})).logits.float()


def tensors(folder: pathlib.Path, name: str = "model") -> dict[str, torch.Tensor]:
    """Every tensor of a folder's safetensors, shards included."""
    index = folder / f"{name}.safetensors.index.json"
    files = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else [f"{name}.safetensors"]
    found = {}
    for file in files:
        with safe_open(folder / file, "pt") as f:
            found |= {key: f.get_tensor(key) for key in f.keys()}
    return found


def by_pattern(module: str, patterns: dict, otherwise: int) -> int:
    """PEFT's rule: the first key that matches the end of the path after a dot, or the whole of it."""
    return next((value for key, value in patterns.items() if re.match(rf"^(.*\.)?({key})$", module)), otherwise)


def adapter_deltas(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """module path -> s * B * A in f64, computed from the adapter's files alone."""
    config = json.loads((folder / "adapter_config.json").read_text())
    state = tensors(folder, "adapter_model")
    deltas = {}
    for key, a in state.items():
        if not key.endswith(".lora_A.weight"):
            continue
        module = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        b = state[key.replace("lora_A", "lora_B")].double()
        rank = by_pattern(module, config["rank_pattern"], config["r"])
        alpha = by_pattern(module, config["alpha_pattern"], config["lora_alpha"])
        assert rank == a.shape[0] == b.shape[1], (module, rank, a.shape, b.shape)
        scale = alpha / (rank**0.5 if config["use_rslora"] else rank)
        deltas[module] = scale * b @ a.double()
    return deltas


def replace_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Puts dense weights into linear layers, by module path."""
    with torch.no_grad():
        for module, weight in weights.items():
            model.get_submodule(module).weight.copy_(weight.float())


def arguments(count: int) -> list[str]:
    """Exactly `count` arguments of the command line."""
    if len(sys.argv) != count + 1:
        raise SystemExit(f"wants {count} arguments, got {sys.argv[1:]}")
    return sys.argv[1:]
