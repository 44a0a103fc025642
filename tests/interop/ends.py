"""Where texts begin and end: ids with BOS and EOS, and the tokens at which transformers' generate stops.

Arguments: a folder of models, one folder each. Each holds ours.json: {text, ids, new, most}, our ids of a text and the
tokens that we add to it.
"""

import json
import pathlib

import torch
from lib import arguments, check
from transformers import AutoModelForCausalLM, AutoTokenizer

(folder,) = arguments(1)
for path in sorted(pathlib.Path(folder).iterdir()):
    ours = json.loads((path / "ours.json").read_text())
    ids = AutoTokenizer.from_pretrained(path)(ours["text"]).input_ids
    check(f"{path.name}: ids", ids == ours["ids"], f"{ours['ids']} against {ids}")
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        out = model.generate(torch.tensor([ids]), max_new_tokens=ours["most"], do_sample=False)
    new = out[0, len(ids):].tolist()
    ends = model.generation_config.eos_token_id
    # The token that ends a text is a part of their result and none of ours.
    if new[-1] in (ends if isinstance(ends, list) else [ends]):
        new = new[:-1]
    check(f"{path.name}: tokens up to the end", new == ours["new"], f"{ours['new']} against {new}")
