"""BASE OUT: PEFT loads the adapter that we trained on the encoder BASE, with its head, and trains others for our side.

OUT/logits.bin is what our side said to `lib.ENCODER_ROWS`. OUT/theirs-classes and OUT/theirs-spans are adapters that PEFT
trained on BASE, each with said.bin, what `lib.encoder_says` of it.
"""

import pathlib

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

from lib import ENCODER_ROWS, arguments, check, close, encoder_says, padded_rows, tensors

base, out = map(pathlib.Path, arguments(2))
KINDS = {"classes": AutoModelForSequenceClassification, "spans": AutoModelForQuestionAnswering}


def load(kind: str) -> torch.nn.Module:
    torch.manual_seed(3)
    return KINDS[kind].from_pretrained(base, num_labels=2, dtype=torch.float32)


model = PeftModel.from_pretrained(load("classes"), out / "adapter")
held = tensors(out / "adapter", "adapter_model")
state = dict(model.state_dict())
placed = [
    name for name, value in held.items()
    if any(torch.equal(value, other) for key, other in state.items() if key.replace(".default", "").replace(".modules_to_save", "") == name)
]
check("every tensor of our adapter has its place in PEFT's", len(placed) == len(held), f"without {held.keys() - set(placed)}")
ours = torch.from_numpy(np.fromfile(out / "logits.bin", "<f4"))
close("our logits", ours, encoder_says(model), 1e-4)
with model.disable_adapter():
    plain = encoder_says(model)
check("the adapter says something", (plain - ours).abs().max().item() > 0.01, f"{ours} and without it {plain}")

for kind, task in (("classes", "SEQ_CLS"), ("spans", "QUESTION_ANS")):
    model = load(kind)
    # What the base may have no weights of goes with the adapter.
    pooler = ["pooler"] if any("pooler" in name for name, _ in model.named_parameters()) else None
    layers = ["query", "value", "query_proj", "value_proj", "intermediate.dense"]
    config = LoraConfig(task_type=task, r=3, lora_alpha=5, target_modules=layers, modules_to_save=pooler)
    model = get_peft_model(model, config).eval()  # without dropout
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    ids, mask = padded_rows(model.config.pad_token_id)
    wanted = {"labels": torch.tensor([1, 0, 1])} if kind == "classes" else {"start_positions": torch.tensor([3, 1, 0]), "end_positions": torch.tensor([5, 1, 2])}
    losses = []
    for _ in range(20):
        loss = model(input_ids=ids, attention_mask=mask, **wanted).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    check(f"PEFT learns {kind}", losses[-1] < 0.5 * losses[0], f"{losses}")
    theirs = out / f"theirs-{kind}"
    model.save_pretrained(theirs)
    encoder_says(model).numpy().tofile(theirs / "said.bin")
