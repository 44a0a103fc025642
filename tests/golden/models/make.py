"""Writes models.json and training.json beside this file: what transformers, PEFT and transformers' Trainer make of small
models of the LLaMA family.

Run with Python 3.11, torch 2.13, transformers 5.23.0, peft 0.21.2, bitsandbytes 0.50.2, numpy 2.4.6:

    python make.py [STORIES]

Weights and factors come from a generator that data.ts repeats bit for bit (xorshift32, a seed a tensor), so that only
results are written. Everything runs in f32 on the CPU, attention by its plain formula.

models.json: for each configuration the logits and the loss of a batch, its gradients of all weights, the logits of a
short sequence padded on the right and on the left, and the gradients of LoRA factors of the batch padded on the right.
training.json: losses, gradient norms and learning rates of 20 steps of the Trainer (AdamW, linear schedule with
warm-up, clipping, weight decay, two batches a step, part of the labels left out): LoRA, all weights, and LoRA on the
project's own model (examples/model) in nf4, its base the values that bitsandbytes dequantises.
stories.json, only with STORIES, the folder of stories260K in the Hugging Face layout: greedy continuations of prompts.
"""

import pathlib
import sys
import tempfile

import bitsandbytes.functional as bnb
import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config, SmolLM3Config

from common import b64, factor_start, fill, plain_name, saved_config, seeded, write

HERE = pathlib.Path(__file__).parent
EXAMPLE = HERE.parent.parent.parent / "examples" / "model"

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

MODELS = {
    "llama: two key heads, tied, linear rope": LlamaConfig(
        **SIZES,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
    ),
    "llama: biases, wide heads, llama3 rope": LlamaConfig(
        **SIZES,
        num_key_value_heads=1,
        head_dim=8,
        attention_bias=True,
        mlp_bias=True,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        # Wavelengths 6.3, 19.9, 62.8 and 198.7: one is kept, one in the ramp, two stretched.
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 100.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "mistral: window of 3, untied": MistralConfig(
        **SIZES, num_key_value_heads=2, sliding_window=3, tie_word_embeddings=False, head_dim=4,
    ),
    "mistral: no window, tied, all heads": MistralConfig(
        **SIZES, num_key_value_heads=4, sliding_window=None, tie_word_embeddings=True, head_dim=8,
    ),
    "qwen2: tied": Qwen2Config(
        **SIZES, num_key_value_heads=2, tie_word_embeddings=True, use_sliding_window=False, sliding_window=3,
    ),
    "qwen2: window of 2 from the second layer on, untied": Qwen2Config(
        **SIZES,
        num_key_value_heads=1,
        tie_word_embeddings=False,
        use_sliding_window=True,
        sliding_window=2,
        max_window_layers=1,
    ),
    "qwen3: wide heads, biases, tied": Qwen3Config(
        **SIZES, num_key_value_heads=2, head_dim=8, attention_bias=True, tie_word_embeddings=True, rms_norm_eps=1e-2,
    ),
    "qwen3: window of 3 from the second layer on, untied": Qwen3Config(
        **SIZES,
        num_key_value_heads=4,
        head_dim=6,
        tie_word_embeddings=False,
        use_sliding_window=True,
        sliding_window=3,
        max_window_layers=1,
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1000000.0},
    ),
    "smollm3: every second layer without positions, a window there": SmolLM3Config(
        **SIZES,
        num_key_value_heads=2,
        pad_token_id=0,
        no_rope_layer_interval=2,
        use_sliding_window=True,
        sliding_window=3,
    ),
    "smollm3: the first layer without positions, biases, untied": SmolLM3Config(
        **SIZES,
        num_key_value_heads=4,
        pad_token_id=0,
        # Without positions the gradient of a bias of k is 0: softmax does not see it.
        mlp_bias=True,
        tie_word_embeddings=False,
        no_rope_layers=[0, 1],
    ),
}

# Rank, alpha and the like of each model's adapter, in the order of MODELS.
ADAPTERS = [
    {"r": 2, "lora_alpha": 4},
    {"r": 3, "lora_alpha": 5, "use_rslora": True},
    {"r": 2, "lora_alpha": 2, "target_modules": ["q_proj", "v_proj"]},
    {"r": 2, "lora_alpha": 3, "rank_pattern": {"down_proj": 1}, "alpha_pattern": {"k_proj": 8}},
    {"r": 2, "lora_alpha": 4},
    {"r": 1, "lora_alpha": 2, "target_modules": ["o_proj", "gate_proj", "up_proj", "down_proj"]},
    {"r": 2, "lora_alpha": 4},
    {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "k_proj"]},
    {"r": 2, "lora_alpha": 4},
    {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "k_proj"]},
]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def weight_start(name):
    if "norm" in name:
        return 1, 0.125
    if "embed_tokens" in name:
        return 0, 1
    return (0, 0.5) if "lm_head" in name or name.endswith("bias") else (0, 0.25)


def settings(options):
    """PEFT's options by our names."""
    names = {
        "r": "rank", "lora_alpha": "alpha", "use_rslora": "rslora", "rank_pattern": "rankPattern",
        "alpha_pattern": "alphaPattern", "target_modules": "targets",
    }
    return {names[key]: value for key, value in options.items()}


def build(config, seed):
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    named = list(model.named_parameters())
    fill(named, seeded({n: p.numel() for n, p in named}, seed, weight_start))
    return model.eval()


def adapt(model, options, seed):
    options = {"target_modules": ALL, "lora_dropout": 0.0, "task_type": "CAUSAL_LM", **options}
    adapted = get_peft_model(model, LoraConfig(**options))
    named = [(plain_name(n), p) for n, p in adapted.named_parameters() if "lora_" in n]
    fill(named, seeded({n: p.numel() for n, p in named}, seed, factor_start))
    return adapted, named


# --- one step ----------------------------------------------------------------------------------------------------


def padded(rows, side, time):
    """Ids, mask, labels of sequences padded to `time`. Nothing is learnt of a sequence's first token."""
    ids, mask, labels = [], [], []
    for row in rows:
        gap = time - len(row)
        own = [-100, *row[1:]]
        before, after = (gap, 0) if side == "left" else (0, gap)
        ids.append([0] * before + row + [0] * after)
        mask.append([0] * before + [1] * len(row) + [0] * after)
        labels.append([-100] * before + own + [-100] * after)
    mask = torch.tensor(mask)
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
        "labels": torch.tensor(labels),
    }


def one_model(number, name, config):
    model = build(config, number + 1)
    rng = np.random.default_rng(number)
    ids = rng.integers(3, SIZES["vocab_size"], (2, 9)).tolist()
    time, short = 9, ids[1][:5]
    out = model(input_ids=torch.tensor(ids), labels=torch.tensor(ids))
    out.loss.backward()
    result = {
        "name": name,
        "config": saved_config(model),
        "tensors": [[n, list(p.shape)] for n, p in sorted(model.named_parameters())],
        "seed": number + 1,
        "ids": ids,
        "short": short,
        "logits": b64(out.logits.detach()),
        "loss": out.loss.item(),
        "gradients": {n: b64(p.grad) for n, p in model.named_parameters()},
    }
    model.zero_grad()
    rows = [ids[0], short]
    for side in ("right", "left"):
        with torch.no_grad():
            out = model(**padded(rows, side, time))
        own = out.logits[1, :5] if side == "right" else out.logits[1, -5:]
        result[side] = {"logits": b64(own), "loss": out.loss.item()}
    adapted, named = adapt(model, ADAPTERS[number], 100 + number)
    out = adapted(**padded(rows, "right", time))
    out.loss.backward()
    result["lora"] = {
        "options": settings(ADAPTERS[number]),
        "seed": 100 + number,
        "loss": out.loss.item(),
        "gradients": {n: b64(p.grad) for n, p in named},
    }
    return result


# --- twenty steps ------------------------------------------------------------------------------------------------

STEPS, WARMUP, BATCH, ACCUMULATION = 20, 3, 2, 2


class Recorder(Trainer):
    """Takes the examples as they come and notes what the losses of a step add up to."""

    def __init__(self, *args, **options):
        self.parts = []
        super().__init__(*args, **options)

    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)

    def training_step(self, *args, **options):
        loss = super().training_step(*args, **options)
        self.parts.append(loss.item())
        return loss


def labels_of(row):
    return [-100] * row["skip"] + row["ids"][row["skip"] :]


def collate(rows):
    time = max(len(row["ids"]) for row in rows)
    table = lambda of, value: torch.tensor([of(row) + [value] * (time - len(row["ids"])) for row in rows])
    return {
        "input_ids": table(lambda row: row["ids"], 0),
        "labels": table(labels_of, -100),
        "attention_mask": table(lambda row: [1] * len(row["ids"]), 0),
    }


def train(model, examples, rate, decay, clip):
    with tempfile.TemporaryDirectory() as folder:
        trainer = Recorder(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                max_steps=STEPS,
                per_device_train_batch_size=BATCH,
                gradient_accumulation_steps=ACCUMULATION,
                learning_rate=rate,
                lr_scheduler_type="linear",
                warmup_steps=WARMUP,
                weight_decay=decay,
                max_grad_norm=clip,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                remove_unused_columns=False,
            ),
            train_dataset=examples,
            data_collator=collate,
        )
        trainer.train()
    logs = [row for row in trainer.state.log_history if "grad_norm" in row]
    parts = np.array(trainer.parts).reshape(STEPS, ACCUMULATION)
    assert len(logs) == STEPS
    return {
        "steps": STEPS,
        "warmup": WARMUP,
        "batch": BATCH,
        "accumulation": ACCUMULATION,
        "learningRate": rate,
        "weightDecay": decay,
        "clip": clip,
        "losses": parts.sum(1).tolist(),
        "norms": [row["grad_norm"] for row in logs],
        "rates": [row["learning_rate"] for row in logs],
    }


def chains(count, vocabulary):
    """Sequences with a rule in them, of 5 to 9 tokens; of every other one only the end is learnt."""
    rng = np.random.default_rng(5)
    rows = []
    for i in range(count):
        ids = [int(rng.integers(3, vocabulary))]
        while len(ids) < 5 + i % 5:
            ids.append((ids[-1] * 5 + 7) % (vocabulary - 3) + 3)
        rows.append({"ids": ids, "skip": 3 * (i % 2)})
    return rows


def packed_nf4(model):
    """Every linear layer of the blocks in nf4, as bitsandbytes dequantises it. PyTorch has no 4-bit type of its own."""
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        codes, state = bnb.quantize_4bit(module.weight.data, blocksize=64, quant_type="nf4")
        module.weight.data = bnb.dequantize_4bit(codes, state).float()
    return model


def text_examples(count, time):
    ids = transformers.AutoTokenizer.from_pretrained(EXAMPLE)((EXAMPLE / "train-sample.txt").read_text())["input_ids"]
    return [{"ids": ids[i * time : (i + 1) * time], "skip": 0} for i in range(count)]


def trainings():
    count = STEPS * BATCH * ACCUMULATION
    examples = chains(count, SIZES["vocab_size"])
    tiny = list(MODELS.items())
    for kind, at in (("lora", 1), ("full", 5)):
        name, config = tiny[at]
        model = build(config, at + 1)
        if kind == "lora":
            model, _ = adapt(model, ADAPTERS[at], 100 + at)
        rates = {"lora": (5e-2, 0.1, 1.0), "full": (2e-2, 0.1, 2.0)}
        yield {
            "kind": kind,
            "model": name,
            "examples": examples,
            **train(model, examples, *rates[kind]),
        }
    model = AutoModelForCausalLM.from_pretrained(EXAMPLE, dtype=torch.float32, attn_implementation="eager")
    options = {"r": 4, "lora_alpha": 8}
    model, named = adapt(packed_nf4(model), options, 200)
    # A start near LoRA's own: small B, so that the model still knows its texts.
    with torch.no_grad():
        for name, p in named:
            p.mul_(0.25)
    examples = text_examples(count, 16)
    yield {
        "kind": "qlora",
        "model": "examples/model",
        "examples": examples,
        "seed": 200,
        "options": settings(options),
        **train(model, examples, 5e-3, 0.1, 1.0),
    }


def stories(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for prompt in ("", "Once upon a time", "Lily and Tom went to the park. They saw", "The dog"):
        # Nothing to go on from: the token that begins a text.
        ids = torch.tensor([tokenizer(prompt)["input_ids"] or [1]])
        count = 60 if prompt else 200
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, pad_token_id=0)
        yield {
            "prompt": prompt,
            "ids": ids[0].tolist(),
            "new": out[0, ids.shape[1] :].tolist(),
            "text": tokenizer.decode(out[0], skip_special_tokens=True),
        }


if __name__ == "__main__":
    torch.manual_seed(0)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, peft, np)}
    write(HERE / "models.json", {
        "versions": versions,
        "models": [one_model(i, name, config) for i, (name, config) in enumerate(MODELS.items())],
    })
    write(HERE / "training.json", {"versions": versions, "trainings": list(trainings())})
    if len(sys.argv) > 1:
        write(HERE / "stories.json", {"versions": versions, "stories": list(stories(sys.argv[1]))})
