"""README FOLDER AUTO SAYS: the Python block of README.md, word for word, on what `loqa init -o FOLDER` wrote.

AUTO is the class that `init` named in its last line; README has AutoModelForCausalLM in the block, and must name any other
in its text. SAYS is `loads` or `refused`: then the block must fail with our own words.
"""

import os
import pathlib
import re
import tempfile
import traceback

import torch
import transformers
from peft import PeftModel

from lib import arguments, check, padded_rows

readme, folder, auto, says = arguments(4)
text = pathlib.Path(readme).read_text()
blocks = [block for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S) if "DIR/backbone" in block]
check("README has one block of Python that loads DIR", len(blocks) == 1, f"{len(blocks)}")
check(f"README names {auto}", f"`{auto}`" in text or auto in blocks[0])


def run_block() -> torch.nn.Module:
    """The block as it stands, where DIR is FOLDER."""
    scope: dict = {}
    with tempfile.TemporaryDirectory() as place:
        (pathlib.Path(place) / "DIR").symlink_to(pathlib.Path(folder).resolve())
        before = os.getcwd()
        os.chdir(place)
        try:
            exec(blocks[0].replace("AutoModelForCausalLM", auto), scope)
        finally:
            os.chdir(before)
    return scope["model"]


def refused(what: str, load) -> None:
    try:
        got = f"it loaded a {type(load()).__name__}"
    except Exception as error:
        got = "".join(traceback.format_exception_only(error))
    check(f"{what} fails with our own words", "of loqa" in got or "read by loqa" in got, got)


def fails() -> None:
    refused("the block", run_block)
    backbone = f"{folder}/backbone"
    named = {"AutoModel": "BertModel", "AutoModelForSeq2SeqLM": "BartForConditionalGeneration"}.get(auto, "LlamaForCausalLM")
    refused(f"{named}, called by name,", lambda: getattr(transformers, named).from_pretrained(backbone))
    if (pathlib.Path(backbone) / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(backbone)
        check("its tokenizer loads all the same", len(tokenizer) > 0)


def works() -> None:
    model = run_block()
    floats = {p.dtype for n, p in model.named_parameters() if p.is_floating_point() and "lora_" not in n and "modules_to_save" not in n}
    check("what is not quantised has one floating-point type", len(floats) == 1, f"{floats}")
    factors = [p for n, p in model.named_parameters() if "lora_" in n]
    check("there are factors, and they train", len(factors) > 0 and all(p.requires_grad for p in factors), f"{len(factors)}")

    encoder = auto in ("AutoModel", "AutoModelForSequenceClassification")
    if encoder:
        ids, mask = padded_rows(model.config.pad_token_id)
        batch = {"input_ids": ids, "attention_mask": mask}
        if auto != "AutoModel":
            batch["labels"] = torch.arange(len(ids)) % model.config.num_labels
    else:
        ids = torch.randint(4, model.config.vocab_size, (2, 12), generator=torch.Generator().manual_seed(1))
        batch = {"input_ids": ids, "labels": ids}


    def loss_of(out) -> torch.Tensor:
        # An encoder without a head has no loss of its own.
        return out.loss if "labels" in batch else out.last_hidden_state.float().sub(1).pow(2).mean()


    model.eval()
    with torch.no_grad():
        out = model(**batch)
        said = out.last_hidden_state if "labels" not in batch else out.logits
        before = loss_of(out).item()
        check("a forward pass gives finite values", bool(torch.isfinite(said).all()) and said.float().std() > 0, f"{said}")
        with model.disable_adapter():
            bare = model(**batch)
        check("the adapter counts", before != loss_of(bare).item() or all(bool((p == 0).all()) for n, p in model.named_parameters() if "lora_B" in n))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    loss_of(model(**batch)).backward()
    check("every trained parameter gets a gradient", all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in trained))
    optimizer.step()
    model.eval()
    with torch.no_grad():
        after = loss_of(model(**batch)).item()
    check("a training step lowers the loss", after < before, f"{before} before, {after} after")
    if not encoder:
        with torch.no_grad():
            made = model.generate(input_ids=ids[:1], max_new_tokens=4, min_new_tokens=4, do_sample=False)
        check("it generates", made.shape[1] >= 4, f"{made}")


works() if says == "loads" else fails()
