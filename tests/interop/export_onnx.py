"""ORIGINAL PACKED OUT RAN: the ONNX model OUT that was exported from the packed backbone PACKED of ORIGINAL, run by ONNX
Runtime, against transformers with the decoded weights: a prefill with padding on the left, then steps on its cache. RAN is what transformers.js wrote on greedily, `-` where it is not here."""

import json
import pathlib

import numpy as np
import onnxruntime
import torch
from transformers import AutoConfig

from lib import arguments, check, close, load, replace_weights
from packed import read_packed

original, packed, out, ran = arguments(4)
model = load(original, "causal")
replace_weights(model, read_packed(pathlib.Path(packed)))
config = AutoConfig.from_pretrained(out)
session = onnxruntime.InferenceSession(pathlib.Path(out) / "onnx" / "model_q4.onnx", providers=["CPUExecutionProvider"])

layers, parts = range(config.num_hidden_layers), ("key", "value")
inputs = ["input_ids", "attention_mask", "position_ids", *(f"past_key_values.{i}.{part}" for i in layers for part in parts)]
outputs = ["logits", *(f"present.{i}.{part}" for i in layers for part in parts)]
got = [x.name for x in session.get_inputs()], [x.name for x in session.get_outputs()]
check("inputs and outputs have optimum's names", (set(got[0]), set(got[1])) == (set(inputs), set(outputs)), f"{got}")

ids = np.random.default_rng(7).integers(4, config.vocab_size, (2, 12))
mask = np.ones_like(ids)
mask[1, :3] = 0
positions = np.clip(mask.cumsum(1) - 1, 0, None)
width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
past = {name: np.zeros((2, config.num_key_value_heads, 0, width), np.float32) for name in inputs[3:]}
logits = []
for start, end in ((0, 9), (9, 10), (10, 12)):
    feed = {"input_ids": ids[:, start:end], "attention_mask": mask[:, :end], "position_ids": positions[:, start:end]}
    step = dict(zip(outputs, session.run(outputs, feed | past)))
    logits.append(torch.from_numpy(step.pop("logits")))
    past = {name.replace("present", "past_key_values"): value for name, value in step.items()}
with torch.no_grad():
    wanted = model(
        input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), position_ids=torch.from_numpy(positions),
    ).logits
seen = torch.from_numpy(mask).bool()
whole = torch.cat(logits, 1)
close("logits of the prefill", whole[:, :9][seen[:, :9]], wanted[:, :9][seen[:, :9]], 1e-4)
close("logits of cached steps", whole[:, 9:], wanted[:, 9:], 1e-4)
check("the same likeliest token everywhere", torch.equal(whole.argmax(-1)[seen], wanted.argmax(-1)[seen]))

if ran != "-":
    told = json.loads(pathlib.Path(ran).read_text())
    tokens, start = told["tokens"], len(told["ids"])
    with torch.no_grad():
        likeliest = model(input_ids=torch.tensor([tokens])).logits[0].argmax(-1).tolist()
    check("transformers.js goes on with the likeliest tokens", tokens[start:] == likeliest[start - 1 : -1] and len(tokens) == start + 16, f"{tokens} instead of {likeliest}")
