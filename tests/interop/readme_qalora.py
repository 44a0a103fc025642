"""ORIGINAL OUT: PEFT never takes the QA-LoRA adapter of OUT for a LoRA adapter of the model ORIGINAL."""

import json
import pathlib

from peft import LoraConfig, PeftModel

from lib import arguments, check, load

original, out = arguments(2)
adapter = pathlib.Path(out) / "adapter"
config = json.loads((adapter / "adapter_config.json").read_text())
if config["peft_type"] == "LORA":
    read = LoraConfig.from_pretrained(adapter)
    check("PEFT reads that it is QA-LoRA, and its groups", read.use_qalora and read.qalora_group_size == 32, f"{read}")
try:
    PeftModel.from_pretrained(load(original, "causal"), adapter)
    got = "it loaded"
except Exception as error:
    got = f"{type(error).__name__}: {error}"
wanted = "size mismatch" if config["peft_type"] == "LORA" else "read by loqa alone"
check("PEFT refuses it on layers that are not GPTQ's", wanted in got, got)
