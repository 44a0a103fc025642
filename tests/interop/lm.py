"""MODEL ADAPTER PROMPT TEXT: transformers and PEFT go on from PROMPT with our adapter's files, greedily, as we did."""

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from lib import arguments, check

model, adapter, prompt, wanted = arguments(4)
tokenizer = AutoTokenizer.from_pretrained(model)
ids = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)


def text(of: torch.nn.Module) -> str:
    with torch.no_grad():
        out = of.generate(**ids, max_new_tokens=12, do_sample=False)
    return tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True)


before = text(base)
after = text(PeftModel.from_pretrained(base, adapter).eval())
check("PEFT's model writes what ours wrote", after.strip() == wanted.strip(), f"{after!r}, wanted {wanted!r}")
check("the adapter counts", after != before, f"{before!r} with and without it")
