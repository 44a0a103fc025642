"""Writes bart.json, and with G2P words.json beside this file: what transformers and PEFT make of small BARTs, and of the
trained ones of the grapheme-to-phoneme task.

Run with Python 3.11, torch 2.13, transformers 5.23.0, peft 0.21.2, numpy 2.4.6:

    python make.py [G2P DICTIONARIES]

G2P: folder of the two models (`us`, `gb`), DICTIONARIES: of their gold files (`us_gold.json`, …). Weights and factors come from a generator that
tests/golden/models/data.ts repeats bit for bit. Everything runs in f32 on the CPU, attention by its plain formula,
without dropout.

bart.json: for each configuration scores and loss of a batch, gradients of all weights, the same of a padded batch with LoRA
factors and losses of 20 steps of AdamW on them, and what `generate` writes with some settings, and by what a
generation_config.json or config.json says. words.json: what the models make of words of their dictionaries, the US one of
100 words with four settings and with none.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import BartConfig, BartForConditionalGeneration, GenerationConfig

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "models"))
from common import b64, factor_start, fill, plain_name, saved_config, seeded, write  # noqa: E402

warnings.filterwarnings("ignore")

SIZES = {
    "vocab_size": 30,
    "d_model": 16,
    "max_position_embeddings": 24,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
}
MODELS = [
    (
        "two layers to one, scaled, gelu",
        BartConfig(
            **SIZES, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=2,
            encoder_ffn_dim=24, decoder_ffn_dim=20, scale_embedding=True, forced_eos_token_id=2,
        ),
        False,
    ),
    (
        "one layer to two, relu, a bias of the head",
        BartConfig(
            **SIZES, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=4,
            encoder_ffn_dim=20, decoder_ffn_dim=24, activation_function="relu", forced_eos_token_id=None,
        ),
        True,
    ),
    (
        "tables of their own",
        BartConfig(
            **SIZES, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=8, decoder_ffn_dim=8, activation_function="gelu_new", tie_word_embeddings=False,
        ),
        False,
    ),
]
LAYERS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
STEPS, RATE = 20, 2e-2

# Settings of generate, by our names and by transformers'.
NAMES = {
    "beams": "num_beams",
    "lengthPenalty": "length_penalty",
    "earlyStopping": "early_stopping",
    "noRepeatNgram": "no_repeat_ngram_size",
    "minLength": "min_length",
    "maxLength": "max_length",
}
SETTINGS = [
    {"beams": 1, "maxLength": 12},
    {"beams": 4, "maxLength": 12, "lengthPenalty": 1.0, "earlyStopping": False},
    {"beams": 3, "maxLength": 14, "lengthPenalty": 2.0, "earlyStopping": True, "noRepeatNgram": 2, "minLength": 5},
    {"beams": 5, "maxLength": 10, "lengthPenalty": 0.6, "earlyStopping": "never", "minLength": 3},
    {"beams": 2, "maxLength": 12, "lengthPenalty": -0.5, "earlyStopping": "never"},
]
# Contents of generation_config.json; None: there is no such file.
FILES = [
    None,
    {
        "decoder_start_token_id": 2, "eos_token_id": [2, 9], "forced_bos_token_id": 5, "forced_eos_token_id": [9, 2],
        "num_beams": 3, "early_stopping": True, "max_new_tokens": 9, "min_new_tokens": 3,
    },
    {
        "bos_token_id": 1, "eos_token_id": 2, "num_beams": 2, "length_penalty": 0.6, "max_length": 8, "max_time": None,
        "no_repeat_ngram_size": 1,
    },
    {"decoder_start_token_id": 4, "max_length": 6, "min_length": 4},
    {"decoder_start_token_id": 2, "eos_token_id": 99, "num_beams": 4, "early_stopping": "never"},
    {"decoder_start_token_id": 2, "eos_token_id": 2, "forced_bos_token_id": 7, "forced_eos_token_id": 2, "max_length": 2},
]
WORD_SETTINGS = [
    {"beams": 1, "maxLength": 50},
    {"beams": 4, "maxLength": 50, "lengthPenalty": 1.0, "earlyStopping": False},
    {"beams": 5, "maxLength": 50, "lengthPenalty": 2.0, "earlyStopping": True, "noRepeatNgram": 2},
    {"beams": 3, "maxLength": 20, "lengthPenalty": 0.6, "earlyStopping": "never", "minLength": 6},
    {},
]


def weight_start(name):
    if "norm" in name and name.endswith("weight"):
        return 1, 0.125
    if "embed" in name or "shared" in name:
        return 0, 0.5
    return (0, 0.25) if name.endswith("bias") else (0, 0.25)


def used(model):
    """Parameters, but the common table where nothing uses it."""
    tied = model.config.tie_word_embeddings
    return [(n, p) for n, p in model.named_parameters() if tied or n != "model.shared.weight"]


def build(config, seed, head_bias):
    config._attn_implementation = "eager"
    model = BartForConditionalGeneration(config).float()
    named = used(model)
    values = seeded({n: p.numel() for n, p in named}, seed, weight_start)
    fill(named, values)
    model.tie_weights()
    if head_bias:
        bias = seeded({"final_logits_bias": config.vocab_size}, seed + 50, lambda _: (0, 0.5))
        model.final_logits_bias.copy_(torch.from_numpy(bias["final_logits_bias"]).reshape(1, -1))
    return model.eval()


def pairs(rng, sources, targets):
    one = lambda n: [*rng.integers(3, SIZES["vocab_size"], n - 1).tolist(), 2]
    return {"sources": [one(n) for n in sources], "targets": [one(n) for n in targets]}


def inputs(batch):
    def table(rows, value):
        time = max(len(row) for row in rows)
        return torch.tensor([row + [value] * (time - len(row)) for row in rows])

    return {
        "input_ids": table(batch["sources"], 0),
        "attention_mask": table([[1] * len(row) for row in batch["sources"]], 0),
        "labels": table(batch["targets"], -100),
    }


def adapt(model, seed):
    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=LAYERS))
    named = [(plain_name(n), p) for n, p in adapted.named_parameters() if "lora_" in n]
    fill(named, seeded({n: p.numel() for n, p in named}, seed, factor_start))
    return adapted, named


def generated(model, rows, settings):
    """Each row by itself and all together: padding must not show."""
    eos = model.generation_config.eos_token_id
    ends = [] if eos is None else np.ravel(eos).tolist()

    def run(some):
        batch = inputs({"sources": some, "targets": some})
        with torch.no_grad():
            out = model.generate(
                batch["input_ids"], attention_mask=batch["attention_mask"], do_sample=False,
                **{NAMES[k]: v for k, v in settings.items()},
            )
        return [row[1:] for row in out.tolist()]

    def bare(row):
        at = next((i for i, token in enumerate(row) if token in ends), len(row) - 1)
        return row[: at + 1]

    together = [bare(row) for row in run(rows)]
    assert together == [bare(run([row])[0]) for row in rows]
    return {"settings": settings, "written": together}


def random_file(rng):
    """Contents of a generation_config.json; some tokens that small models like to write end a sequence."""
    ends = rng.choice([2, 4, 9, 11, 12, 18, 19, 26], int(rng.integers(1, 4)), replace=False).tolist()
    longest = int(rng.integers(3, 17))
    file = {
        "decoder_start_token_id": 2,
        "eos_token_id": ends,
        "num_beams": int(rng.integers(1, 7)),
        "max_length": longest,
        "min_length": int(rng.integers(0, min(7, longest))),
        "length_penalty": float(rng.choice([-1, 0, 0.3, 0.6, 1, 1.7, 2])),
        "early_stopping": [True, False, "never"][rng.integers(3)],
        "no_repeat_ngram_size": int(rng.integers(0, 4)),
    }
    if rng.random() < 0.3:
        file["forced_bos_token_id"] = int(rng.integers(3, 30))
    if rng.random() < 0.4:
        file["forced_eos_token_id"] = ends[0]
    return file


def by_file(model, rows, file):
    model.generation_config = (
        GenerationConfig.from_model_config(model.config) if file is None else GenerationConfig.from_dict(file)
    )
    return {"file": file, "written": generated(model, rows, {})["written"]}


def one_model(number, name, config, head_bias):
    model = build(config, number + 1, head_bias)
    rng = np.random.default_rng(number)
    whole = pairs(rng, [7, 7, 7], [6, 6, 6])
    padded = pairs(rng, [9, 4, 6], [3, 8, 5])
    out = model(**inputs(whole))
    out.loss.backward()
    named = used(model)
    result = {
        "name": name,
        "config": saved_config(model),
        "tensors": [[n, list(p.shape)] for n, p in sorted(named)],
        "seed": number + 1,
        "headBias": head_bias,
        "whole": {**whole, "logits": b64(out.logits.detach()), "loss": out.loss.item()},
        "gradients": {n: b64(p.grad) for n, p in named},
    }
    model.zero_grad()
    with torch.no_grad():
        out = model(**inputs(padded))
    rows = [out.logits[b, : len(target)] for b, target in enumerate(padded["targets"])]
    result["padded"] = {**padded, "logits": [b64(row) for row in rows], "loss": out.loss.item()}
    sources = pairs(rng, [6, 9, 3, 12, 7, 5], [2])["sources"]
    result["generate"] = {
        "sources": sources,
        "runs": [generated(model, sources, s) for s in SETTINGS],
        "byFile": [by_file(model, sources, f) for f in [*FILES, *map(random_file, [np.random.default_rng(number)] * 25)]],
    }
    adapted, named = adapt(model, 100 + number)
    out = adapted(**inputs(padded))
    out.loss.backward()
    result["lora"] = {
        "targets": LAYERS,
        "rank": 2,
        "alpha": 4,
        "seed": 100 + number,
        "loss": out.loss.item(),
        "gradients": {n: b64(p.grad) for n, p in named},
    }
    optimizer = torch.optim.AdamW([p for _, p in named], lr=RATE, weight_decay=0.1)
    losses, batches = [], []
    for step in range(STEPS):
        rows = pairs(rng, *[([5, 8, 6], [4, 4, 7]), ([6, 6, 6], [5, 5, 5])][step % 2])
        batches.append(rows)
        optimizer.zero_grad()
        loss = adapted(**inputs(rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        optimizer.step()
        losses.append(loss.item())
    result["training"] = {"learningRate": RATE, "weightDecay": 0.1, "clip": 1.0, "batches": batches, "losses": losses}
    return result


def words(folder, dictionary, count, settings):
    model = BartForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    chars = {c: i for i, c in enumerate(model.config.grapheme_chars) if i > 3}
    gold = json.loads(pathlib.Path(dictionary).read_text())
    some = [w for w in gold if 3 <= len(w) <= 14 and all(c in chars for c in w)]
    picked = sorted(np.random.default_rng(0).choice(some, count, replace=False).tolist())
    rows = [[1, *(chars[c] for c in w), 2] for w in picked]
    return {"words": picked, "runs": [generated(model, rows, s) for s in settings]}


if __name__ == "__main__":
    torch.manual_seed(0)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, peft, np)}
    write(HERE / "bart.json", {"versions": versions, "models": [one_model(i, *row) for i, row in enumerate(MODELS)]})
    if len(sys.argv) > 2:
        models, golds = map(pathlib.Path, sys.argv[1:3])
        us = words(models / "us", golds / "us_gold.json", 100, WORD_SETTINGS)
        gb = words(models / "gb", golds / "gb_gold.json", 40, WORD_SETTINGS[:2])
        write(HERE / "words.json", {"versions": versions, "us": us, "gb": gb})
