"""OUT IDS LOGITS THEIRS: PEFT loads the adapter of OUT, with factors of the table of tokens and trained biases.

IDS and LOGITS are what our side saw and said. An adapter of the same kind, made by PEFT on OUT's backbone, goes to THEIRS with
its logits, for our side to load.
"""

import json
import pathlib

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification

from lib import arguments, check, close

out, ids, logits, theirs = map(pathlib.Path, arguments(4))
tokens = torch.tensor(json.loads(ids.read_text()))


def base() -> torch.nn.Module:
    return AutoModelForSequenceClassification.from_pretrained(out / "backbone", num_labels=2, dtype=torch.float32)


def said(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=tokens).logits


plain = said(base())
model = PeftModel.from_pretrained(base(), out / "adapter")
config = model.peft_config["default"]
ours = torch.from_numpy(np.fromfile(logits, dtype=np.float32)).reshape(-1, 2)
check("PEFT reads its settings", config.bias == "all" and "word_embeddings" in config.target_modules)
check("the adapter says something", (said(model) - plain).abs().max().item() > 0.01)
close("our logits", ours, said(model), 1e-4)

torch.manual_seed(1)
settings = LoraConfig(task_type="SEQ_CLS", r=3, lora_alpha=5, bias="all", target_modules=["word_embeddings", "query_proj", "query"], modules_to_save=["classifier", "pooler"])
model = get_peft_model(base(), settings)
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.1 * torch.randn_like(parameter))
model.save_pretrained(theirs)
said(model).numpy().tofile(theirs / "logits.bin")
