"""Makes plan.json beside it: sizes of models as transformers and PEFT count them, without weights (meta device).

Run from this folder: python make.py
Versions used: transformers 5.24.0 (5.23.0 gives the same), peft 0.21.2, torch 2.13.0.
"""

import json
import re

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

BERT = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 101}
LLAMA = BERT | {"num_key_value_heads": 2}
DEBERTA = BERT | {"model_type": "deberta-v2", "relative_attention": True, "max_position_embeddings": 40}
BART = {
    "model_type": "bart", "d_model": 48, "encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 96, "decoder_ffn_dim": 64,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 101, "max_position_embeddings": 40,
}
CONFIGS = {
    "llama": LLAMA | {"model_type": "llama"},
    "llama, tied, biases, head_dim": LLAMA | {
        "model_type": "llama", "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "head_dim": 16,
    },
    "mistral": LLAMA | {"model_type": "mistral"},
    "qwen2": LLAMA | {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen3, its own head_dim": LLAMA | {"model_type": "qwen3", "attention_bias": True},
    "smollm3": LLAMA | {"model_type": "smollm3", "pad_token_id": 0},
    "bert": BERT | {"model_type": "bert", "max_position_embeddings": 40, "type_vocab_size": 2},
    "roberta": BERT | {"model_type": "roberta", "max_position_embeddings": 42, "type_vocab_size": 1},
    "deberta v3": DEBERTA | {
        "type_vocab_size": 0, "position_biased_input": False, "position_buckets": 16, "share_att_key": True,
        "norm_rel_ebd": "layer_norm", "pos_att_type": "p2c|c2p",
    },
    "deberta v2, own positions, convolution, narrow embedding": DEBERTA | {
        "type_vocab_size": 3, "pos_att_type": ["p2c", "c2p"], "embedding_size": 24, "conv_kernel_size": 3, "conv_act": "gelu",
    },
    "bart": BART,
    # The papers' models.
    "llama-7b": {"model_type": "llama"},
    "deberta-v3-base": DEBERTA | {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 128100,
        "max_position_embeddings": 512, "type_vocab_size": 0, "position_biased_input": False, "position_buckets": 256,
        "share_att_key": True, "norm_rel_ebd": "layer_norm", "pos_att_type": "p2c|c2p",
    },
    "bart-large": {"model_type": "bart", "vocab_size": 50265},
}

rows = {}
for name, config in CONFIGS.items():
    options = dict(config)
    full = AutoConfig.for_model(options.pop("model_type"), **options)
    kind = AutoModelForCausalLM if full.model_type in ("llama", "mistral", "qwen2", "qwen3", "smollm3") else AutoModel
    with torch.device("meta"):
        model = kind.from_config(full)
        linears = {
            n: m for n, m in model.named_modules()
            if isinstance(m, torch.nn.Linear) and re.search(r"\blayers?\.\d+\.", n)
        }
        parameters = sum(p.numel() for p in model.parameters())
        weights = sum(m.weight.numel() for m in linears.values())
        adapted = get_peft_model(model, LoraConfig(r=8, target_modules=list(linears)), low_cpu_mem_usage=True)
    rows[name] = {
        "config": config if len(config) > 2 else {k: v for k, v in full.to_dict().items() if isinstance(v, (int, str))},
        "parameters": parameters,
        "linearParameters": weights,
        "loraParameters": sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n),
    }
with open("plan.json", "w") as file:
    json.dump(rows, file, indent=1)
    file.write("\n")
