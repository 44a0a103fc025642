"""FOLDER: tied models that transformers writes, and adapters that PEFT puts on them, each with what PEFT says of it.

FOLDER/llama and FOLDER/bart are models; FOLDER/llama-NAME and FOLDER/bart-NAME adapters, with said.bin: scores of ids.json.
FOLDER/llama-other is the first model with a head of its own and a config that still says tied.
"""

import json
import pathlib

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BartConfig, LlamaConfig

from lib import arguments, check, scores

(folder,) = map(pathlib.Path, arguments(1))
IDS = [[1, 7, 30, 12, 9, 28, 17, 3], [5, 5, 22, 14, 2, 19, 33, 8]]
(folder / "ids.json").write_text(json.dumps(IDS))
LLAMA = LlamaConfig(
    vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=32, initializer_range=0.3, tie_word_embeddings=True,
)
BART = BartConfig(
    vocab_size=40, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
    encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=32, init_std=0.3, scale_embedding=True,
)
CASES = {
    "llama": {
        "head": dict(modules_to_save=["lm_head"]),
        "table": dict(modules_to_save=["embed_tokens"]),
        "both": dict(modules_to_save=["embed_tokens", "lm_head"]),
        "kept-tied": dict(modules_to_save=["embed_tokens"], ensure_weight_tying=True),
        "lora-head": dict(target_modules=["q_proj", "lm_head"]),
        "lora-table": dict(target_modules=["q_proj", "embed_tokens"]),
        "lora-both": dict(target_modules=["q_proj", "embed_tokens", "lm_head"], use_rslora=True),
        "lora-kept-tied": dict(target_modules=["q_proj", "embed_tokens"], ensure_weight_tying=True),
        "gaussian": dict(init_lora_weights="gaussian"),
        "pissa": dict(init_lora_weights="pissa"),
        "olora": dict(init_lora_weights="olora"),
        "lora-bias": dict(lora_bias=True),
        "dora": dict(use_dora=True),
        "alora": dict(alora_invocation_tokens=[12, 9]),
        "rows": dict(trainable_token_indices=[1, 2]),
    },
    "bart": {
        "head": dict(modules_to_save=["lm_head"]),
        "tables": dict(modules_to_save=["embed_tokens"]),
        "lora-head": dict(target_modules=["q_proj", "lm_head"]),
        "lora-tables": dict(target_modules=["q_proj", "embed_tokens"]),
    },
}
CLASSES = {"llama": AutoModelForCausalLM, "bart": AutoModelForSeq2SeqLM}


def base(kind: str) -> torch.nn.Module:
    return CLASSES[kind].from_pretrained(folder / kind, dtype=torch.float32)


for kind, config in (("llama", LLAMA), ("bart", BART)):
    torch.manual_seed(3)
    CLASSES[kind].from_config(config).save_pretrained(folder / kind)
    for name, options in CASES[kind].items():
        out = folder / f"{kind}-{name}"
        settings = dict(r=4, lora_alpha=6, target_modules=["q_proj"]) | options
        task = "CAUSAL_LM" if kind == "llama" else "SEQ_2_SEQ_LM"
        model = get_peft_model(base(kind), LoraConfig(task_type=task, **settings))
        torch.manual_seed(4)
        for p in model.parameters():
            if p.requires_grad:
                p.data += 0.1 * torch.randn_like(p)
        model.save_pretrained(out)
        again = PeftModel.from_pretrained(base(kind), out)
        scores(again, IDS).numpy().astype("<f4").tofile(out / "said.bin")

other = folder / "llama-other"
model = base("llama")
model.save_pretrained(other)
state = load_file(other / "model.safetensors")
torch.manual_seed(5)
state["lm_head.weight"] = torch.randn_like(state["model.embed_tokens.weight"])
save_file(state, other / "model.safetensors", metadata={"format": "pt"})
scores(AutoModelForCausalLM.from_pretrained(other, dtype=torch.float32), IDS).numpy().astype("<f4").tofile(other / "said.bin")
check("PEFT writes adapters of every kind", True)
