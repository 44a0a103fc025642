"""ORIGINAL START OUT DATA MARKED: TRL trains the adapter START on DATA as `loqa train OUT --task sft --data DATA` did.

OUT holds loqa.json and examples.json, our ids and labels of each record; MARKED is ORIGINAL's chat template with
{% generation %} marks, which TRL's assistant_only_loss wants. TRL's own templates for training are tried on records too:
OUT/trl.json has our ids and labels by template and record.
"""

import json
import pathlib

import numpy as np
import torch
import trl
from datasets import Dataset
from peft import PeftModel
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from lib import arguments, check, load

original, start, out, data, marked = arguments(5)
out = pathlib.Path(out)
told = json.loads((out / "loqa.json").read_text())["train"]
options, steps = told["options"], told["steps"]
tokenizer = AutoTokenizer.from_pretrained(original)
plain = tokenizer.chat_template
tokenizer.chat_template = pathlib.Path(marked).read_text()
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
records = [json.loads(line) for line in pathlib.Path(data).read_text().splitlines()]


class InOrder(SFTTrainer):
    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


model = PeftModel.from_pretrained(load(original, "causal"), start, is_trainable=True)
trainer = InOrder(
    model=model,
    processing_class=tokenizer,
    train_dataset=Dataset.from_list(records),
    args=SFTConfig(
        output_dir=str(out / "trl"), max_steps=steps, per_device_train_batch_size=options["batch"],
        gradient_accumulation_steps=options["accumulation"], learning_rate=options["learningRate"],
        lr_scheduler_type=options["schedule"], warmup_steps=options["warmup"], weight_decay=options["weightDecay"],
        max_grad_norm=options["clip"], optim="adamw_torch", logging_steps=1, save_strategy="no", report_to=[],
        assistant_only_loss=True, max_length=None, packing=False, bf16=False, gradient_checkpointing=False,
        use_cpu=True, dataset_num_proc=None, disable_tqdm=True,
    ),
)


def labels_of(ids, mask):
    return [id if is_answer else -100 for id, is_answer in zip(ids, mask)]


wanted = [(row["input_ids"], row["labels"]) for row in trainer.train_dataset]
ours = json.loads((out / "examples.json").read_text())
wrong = [i for i, (ids, labels) in enumerate(wanted) if ours[i] != {"ids": list(ids), "labels": labels}]
check(f"ids and labels of {len(wanted)} conversations", len(ours) == len(wanted) == len(records) and not wrong, f"{len(wrong)} differ: {wrong[:1] and (ours[wrong[0]], wanted[wrong[0]])}")

trainer.train()
losses = np.array([row["loss"] for row in trainer.state.log_history if "loss" in row])
rows = [json.loads(line) for line in (out / "runs/1/metrics.jsonl").read_text().splitlines()]
got = np.array([row["loss"] for row in rows])
far = np.abs(got - losses).max() if len(got) == len(losses) else float("inf")
check(f"{steps} losses of TRL's SFTTrainer, each within 1e-3", len(got) == steps and far <= 1e-3, f"largest difference {far:.2e}: {got} against {losses}")
check("the answers were learnt", losses[-5:].mean() < losses[:5].mean() - 0.05, f"{losses}")

templates = pathlib.Path(trl.__file__).parent / "chat_templates"
for name, rows in json.loads((out / "trl.json").read_text()).items():
    tokenizer.chat_template = (templates / name).read_text()
    wrong = []
    for row in rows:
        made = tokenizer.apply_chat_template(
            row["messages"], tools=row.get("tools"), return_dict=True, return_assistant_tokens_mask=True,
        )
        labels = labels_of(made["input_ids"], made["assistant_masks"])
        if (row["ids"], row["labels"]) != (made["input_ids"], labels):
            wrong.append((row, made["input_ids"], labels))
    check(f"ids and labels of {len(rows)} conversations in TRL's {name}", rows and not wrong, f"{wrong[:1]}")
