"""ORIGINAL START OUT TEXT: PEFT trains the adapter START as `loqa train OUT --data TEXT` did, and loads what that made.

OUT holds a bitsandbytes backbone, or none: then the adapter is ORIGINAL's. The settings are those of OUT/loqa.json: blocks of
the text one after the other, AdamW, the schedule of transformers.
"""

import json
import pathlib

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoTokenizer, get_scheduler

from lib import arguments, check, close, load, tensors

original, start, out, text = arguments(4)
out = pathlib.Path(out)
told = json.loads((out / "loqa.json").read_text())["train"]
options, steps = told["options"], told["steps"]
quantised = (out / "backbone").exists()


def base() -> torch.nn.Module:
    model = load(str(out / "backbone") if quantised else original, "causal")
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            # f32 all the way, whatever the processor could do.
            module.compute_dtype, module.compute_type_is_set = torch.float32, True
            module.support_avx512bf16_for_cpu = False
    return model


model = PeftModel.from_pretrained(base(), start, is_trainable=True).train()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=options["learningRate"], weight_decay=options["weightDecay"])
rates = get_scheduler(options["schedule"], optimizer, options["warmup"], steps)
ids = AutoTokenizer.from_pretrained(original)(pathlib.Path(text).read_text())["input_ids"]
blocks = torch.tensor(ids[: len(ids) // options["block"] * options["block"]]).reshape(-1, options["block"])
losses, norms = [], []
for step in range(steps):
    total = 0.0
    for i in range(options["accumulation"]):
        at = (step * options["accumulation"] + i) * options["batch"]
        rows = blocks[at : at + options["batch"]]
        loss = model(input_ids=rows, labels=rows).loss / options["accumulation"]
        loss.backward()
        total += loss.item()
    norms.append(torch.nn.utils.clip_grad_norm_(trained, options["clip"]).item())
    optimizer.step()
    rates.step()
    optimizer.zero_grad()
    losses.append(total)

rows = [json.loads(line) for line in (out / "runs/1/metrics.jsonl").read_text().splitlines()]
ours = np.array([row["loss"] for row in rows])
far = np.abs(ours - losses).max()
check(f"{steps} losses of PEFT, each within 1e-3", len(ours) == steps and far <= 1e-3, f"largest difference {far:.2e}: {ours} against {losses}")
check("the text was learnt", np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.05, f"{losses}")
far = max(abs(row["gradientNorm"] / norm - 1) for row, norm in zip(rows, norms))
check("norms of the gradients within 1 %", far <= 1e-2, f"{far:.2e}")

factors = tensors(out / "adapter", "adapter_model")
state = {name.replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad}
check("the same factors by name and shape", {n: p.shape for n, p in state.items()} == {n: p.shape for n, p in factors.items()}, f"{state.keys() ^ factors.keys()}")
begun = tensors(pathlib.Path(start), "adapter_model")
far = max(((factors[n] - p).norm() / (p - begun[n]).norm()).item() for n, p in state.items())
check("every factor moved as PEFT's did, within 5 % of the way", far <= 0.05, f"{far:.2e}")

model = PeftModel.from_pretrained(base(), out / "adapter").eval()
ids = torch.tensor(json.loads((out / "ids.json").read_text())).reshape(2, -1)
with torch.no_grad():
    wanted = model(input_ids=ids).logits
got = torch.from_numpy(np.fromfile(out / "logits.bin", "<f4")).reshape(wanted.shape)
close("PEFT loads what we trained: logits", got, wanted, 1e-4)
