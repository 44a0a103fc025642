"""Writes chat.json: what transformers makes of templates*.py, records.jsonl and expressions.py.

Run with transformers 5.23.0, tokenizers 0.23.3, jinja2 3.1.6:

    python tests/golden/chat/make.py
"""

import json
import pathlib
import re
import warnings

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from expressions import EXPRESSIONS
from templates import TEMPLATES
import templates_thinking  # noqa: F401 - it adds to them.
import templates_constructs  # noqa: F401

here = pathlib.Path(__file__).parent
warnings.simplefilter("ignore")

# One token a byte, so that a mask of tokens is one of bytes.
vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
bytes_ = Tokenizer(models.BPE(vocabulary, []))
bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
bytes_.decoder = decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_, bos_token="<s>", eos_token="</s>")

records = [json.loads(line) for line in (here / "records.jsonl").read_text().splitlines()]


def spans(mask):
    """From and to of each run of ones."""
    return [[m.start(), m.end()] for m in re.finditer("1+", "".join(map(str, mask)))]


def apply(template, record, **options):
    return tokenizer.apply_chat_template(
        record["messages"],
        tools=record.get("tools"),
        documents=record.get("documents"),
        chat_template=template,
        add_generation_prompt=record.get("add_generation_prompt", False),
        continue_final_message=record.get("continue_final_message", False),
        **record.get("kwargs", {}),
        **options,
    )


def row(template, record):
    try:
        made = {"text": apply(template, record, tokenize=False)}
        if re.search(r"{%-?\s*generation", template) and "continue_final_message" not in record:
            whole = apply(template, record, return_dict=True, return_assistant_tokens_mask=True, tokenizer_kwargs={"split_special_tokens": True})
            made["masked"] = spans(whole["assistant_masks"])
        return made
    except Exception as error:  # noqa: BLE001 - whatever it is, transformers refuses it.
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


# The date is not kept: the day's is known to whoever reads it.
templates = {
    name: {"template": t["template"], "rows": None if "strftime_now(" in t["template"] else [row(t["template"], r) for r in records]}
    for name, t in TEMPLATES.items()
}
conversation = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes", "tool_calls": []}]}
expressions = [
    {"expression": e, **row("{% set result = (" + e + ") %}{{ result }}", conversation)} for e in EXPRESSIONS
]
(here / "chat.json").write_text(
    json.dumps({"templates": templates, "expressions": expressions}, ensure_ascii=False, indent=1) + "\n"
)
print(len(templates), "templates", len(expressions), "expressions")
