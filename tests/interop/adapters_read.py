"""FOLDER REQUEST: what transformers and PEFT say of models and adapters that loqa wrote.

REQUEST is JSON, a list of {"name", "kind": "llama" or "bart", "model", "adapter" or null, "said": file of loqa's scores}.
"""

import json
import pathlib

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from lib import arguments, close, scores

folder, request = arguments(2)
ids = json.loads((pathlib.Path(folder) / "ids.json").read_text())
for row in json.loads(request):
    cls = AutoModelForCausalLM if row["kind"] == "llama" else AutoModelForSeq2SeqLM
    model = cls.from_pretrained(row["model"], dtype=torch.float32)
    if row["adapter"]:
        model = PeftModel.from_pretrained(model, row["adapter"])
    wanted = scores(model, ids)
    got = torch.from_numpy(np.fromfile(row["said"], "<f4")).reshape(wanted.shape)
    close(row["name"], got, wanted, 1e-5)
