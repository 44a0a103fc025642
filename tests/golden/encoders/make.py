"""Writes encoders.json beside this file: what transformers and PEFT make of small BERTs, RoBERTas and DeBERTas.

Run with Python 3.11, torch 2.13, transformers 5.23.0, peft 0.21.2, numpy 2.4.6:

    python make.py [MINILM]

Weights and factors come from a generator that tests/golden/models/data.ts repeats bit for bit (xorshift32, a seed a tensor), so that only
results are written. Everything runs in f32 on the CPU, attention by its plain formula, without dropout.

For each configuration and head: scores and loss of a batch, its gradients of all weights, scores and loss of a batch padded
on the right, and from that one (for spans from the first) the gradients of LoRA factors. For one of each family also the
losses of 20 steps of AdamW on the factors. buckets: DeBERTa's relative positions. minilm.json, only with MINILM, the folder
of all-MiniLM-L6-v2: features of some sentences.
"""

import pathlib
import sys

import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, DebertaV2Config, RobertaConfig
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "models"))
from common import b64, factor_start, fill, plain_name, saved_config, seeded, write  # noqa: E402

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout": 0.0,
}
DEBERTA = {**SIZES, "pooler_hidden_size": 16, "pooler_dropout": 0.0, "cls_dropout": 0.0}
DEBERTA.pop("classifier_dropout")
V3 = {
    "relative_attention": True,
    "position_buckets": 4,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}

BERT_LAYERS = ["query", "key", "value", "dense"]
DEBERTA_LAYERS = ["query_proj", "key_proj", "value_proj", "dense"]

# Name, config, head (labels, or "span"), layers with factors.
MODELS = [
    ("bert: classes", BertConfig(**SIZES), 3, BERT_LAYERS),
    ("bert: a number, gelu_new", BertConfig(**SIZES, hidden_act="gelu_new", type_vocab_size=3), 1, ["query", "value"]),
    ("bert: spans, relu, one layer", BertConfig(**{**SIZES, "num_hidden_layers": 1}, hidden_act="relu"), "span", BERT_LAYERS),
    ("roberta: classes", RobertaConfig(**SIZES, pad_token_id=1, type_vocab_size=1), 2, BERT_LAYERS),
    ("roberta: spans", RobertaConfig(**SIZES, pad_token_id=1, type_vocab_size=1), "span", BERT_LAYERS),
    ("deberta: as version 3", DebertaV2Config(**DEBERTA, **V3), 2, DEBERTA_LAYERS),
    (
        "deberta: own keys, both terms, positions, types, convolution",
        DebertaV2Config(
            **DEBERTA, **{**V3, "share_att_key": False, "position_buckets": -1, "norm_rel_ebd": "none",
            "position_biased_input": True, "type_vocab_size": 2, "max_relative_positions": 6},
            conv_kernel_size=3, conv_act="gelu", pooler_hidden_act="tanh",
        ),
        3,
        DEBERTA_LAYERS + ["pos_key_proj", "pos_query_proj"],
    ),
    (
        "deberta: c2p alone, narrow embeddings, grouped convolution",
        DebertaV2Config(
            **DEBERTA, **{**V3, "pos_att_type": ["c2p"], "position_buckets": 3, "max_relative_positions": 12},
            embedding_size=10, conv_kernel_size=5, conv_groups=2,
        ),
        "span",
        ["query_proj", "dense"],
    ),
    (
        "deberta: p2c alone, a number",
        DebertaV2Config(**DEBERTA, **{**V3, "pos_att_type": ["p2c"], "share_att_key": False}),
        1,
        DEBERTA_LAYERS,
    ),
    (
        "deberta: no relative positions",
        DebertaV2Config(
            **DEBERTA, **{**V3, "relative_attention": False, "position_biased_input": True, "pos_att_type": []},
        ),
        2,
        DEBERTA_LAYERS,
    ),
]
TRAINED = {0, 3, 5}
STEPS, RATE = 20, 2e-2


def weight_start(name):
    if name.endswith("LayerNorm.weight"):
        return 1, 0.125
    if "embeddings" in name and not name.endswith("bias"):
        return 0, 1
    return (0, 0.5) if name.endswith("bias") else (0, 0.25)


def build(config, head, seed):
    config._attn_implementation = "eager"
    if head == "span":
        model = AutoModelForQuestionAnswering.from_config(config, dtype=torch.float32)
    else:
        config.num_labels = head
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    named = list(model.named_parameters())
    fill(named, seeded({n: p.numel() for n, p in named}, seed, weight_start))
    return model.eval()


def answers(head, rng, lengths):
    if head == "span":
        return {
            "start_positions": [int(rng.integers(0, n)) for n in lengths],
            "end_positions": [int(rng.integers(0, n)) for n in lengths],
        }
    if head == 1:
        return {"labels": [float(rng.integers(-8, 8)) / 4 for _ in lengths]}
    return {"labels": [int(rng.integers(0, head)) for _ in lengths]}


def inputs(config, rng, lengths):
    time = max(lengths)
    pad = config.pad_token_id or 0
    low = pad + 1
    ids = [rng.integers(low, config.vocab_size, n).tolist() + [pad] * (time - n) for n in lengths]
    types = max(config.type_vocab_size, 1)
    type_ids = [sorted(rng.integers(0, types, n).tolist()) + [0] * (time - n) for n in lengths]
    return ids, type_ids


def run(model, head, ids, type_ids, lengths, wanted):
    time = len(ids[0])
    mask = [[1] * n + [0] * (time - n) for n in lengths]
    out = model(
        input_ids=torch.tensor(ids),
        token_type_ids=torch.tensor(type_ids),
        attention_mask=torch.tensor(mask),
        **{k: torch.tensor(v) for k, v in wanted.items()},
    )
    if head == "span":
        return torch.stack([out.start_logits.reshape(-1), out.end_logits.reshape(-1)]), out.loss
    return out.logits, out.loss


def adapt(model, layers, seed):
    adapted = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=rf".*encoder\.layer\..*\.({'|'.join(layers)})"))
    named = [(plain_name(n), p) for n, p in adapted.named_parameters() if "lora_" in n]
    fill(named, seeded({n: p.numel() for n, p in named}, seed, factor_start))
    return adapted, named


def batch(config, head, rng, lengths):
    ids, type_ids = inputs(config, rng, lengths)
    return {"ids": ids, "typeIds": type_ids, "lengths": lengths, "answers": answers(head, rng, lengths)}


def one_model(number, name, config, head, layers):
    model = build(config, head, number + 1)
    rng = np.random.default_rng(number)
    whole = batch(config, head, rng, [9, 9, 9])
    padded = batch(config, head, rng, [11, 4, 7])
    take = lambda b: run(model, head, b["ids"], b["typeIds"], b["lengths"], b["answers"])
    logits, loss = take(whole)
    loss.backward()
    gradients = {n: b64(p.grad if p.grad is not None else torch.zeros_like(p)) for n, p in model.named_parameters()}
    result = {
        "name": name,
        "config": saved_config(model),
        "tensors": [[n, list(p.shape)] for n, p in sorted(model.named_parameters())],
        "seed": number + 1,
        "head": head,
        "whole": {**whole, "logits": b64(logits.detach()), "loss": loss.item()},
        "gradients": gradients,
    }
    model.zero_grad()
    with torch.no_grad():
        logits, loss = take(padded)
    result["padded"] = {**padded, "logits": b64(logits), "loss": loss.item()}
    adapted, named = adapt(model, layers, 100 + number)
    take = lambda b: run(adapted, head, b["ids"], b["typeIds"], b["lengths"], b["answers"])
    # A loss of spans looks at padding too, which ours does not.
    _, loss = take(whole if head == "span" else padded)
    loss.backward()
    result["lora"] = {
        "targets": layers,
        "rank": 2,
        "alpha": 4,
        "seed": 100 + number,
        "loss": loss.item(),
        "gradients": {n: b64(p.grad) for n, p in named},
    }
    if number in TRAINED:
        optimizer = torch.optim.AdamW([p for _, p in named], lr=RATE, weight_decay=0.1)
        losses, batches = [], []
        for step in range(STEPS):
            rows = batch(config, head, rng, [[5, 9, 6], [8, 8, 8]][step % 2])
            batches.append(rows)
            optimizer.zero_grad()
            _, loss = take(rows)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
            optimizer.step()
            losses.append(loss.item())
        result["training"] = {"learningRate": RATE, "weightDecay": 0.1, "clip": 1.0, "batches": batches, "losses": losses}
    return result


def buckets():
    for size, most in [(256, 512), (4, 32), (3, 12), (32, 128)]:
        positions = torch.arange(-most + 1, most)
        yield {"buckets": size, "positions": most, "found": make_log_bucket_position(positions, size, most).long().tolist()}


def minilm(folder):
    sentences = ["A short one.", "The quick brown fox jumps over the lazy dog, twice, and then sleeps.", "Tokyo?"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    given = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        features = model(**given).last_hidden_state
    lengths = given["attention_mask"].sum(1).tolist()
    return {
        "sentences": sentences,
        "ids": [row[:n] for row, n in zip(given["input_ids"].tolist(), lengths)],
        # Of each token the first eight features.
        "features": [b64(row[:n, :8]) for row, n in zip(features, lengths)],
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, peft, np)}
    write(HERE / "encoders.json", {
        "versions": versions,
        "models": [one_model(i, *row) for i, row in enumerate(MODELS)],
        "buckets": list(buckets()),
    })
    if len(sys.argv) > 1:
        write(HERE / "minilm.json", {"versions": versions, **minilm(sys.argv[1])})
