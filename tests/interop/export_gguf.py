"""ORIGINAL PACKED OUT DENSE RAN BLOCKS: the GGUF file OUT that was exported from the packed backbone PACKED of ORIGINAL, and
DENSE from ORIGINAL in f32: read by the gguf package and by transformers, and run by llama.cpp, whose probabilities and
tokens are in RAN (`-` where it is not here). BLOCKS is the type of the quantised layers.

llama.cpp rounds what goes into a quantised layer to 8 bits, 32 values at a time. What that costs is measured here, as
the Kullback-Leibler divergence that the same rounding brings about in transformers; llama.cpp may be three times as far."""

import json
import pathlib

import gguf
import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoTokenizer

from lib import arguments, check, close, load, outputs, replace_weights
from packed import decode

original, packed, out, dense, ran, blocks = arguments(6)


def rounded(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """module path -> weight decoded with scales and biases rounded to f16, as blocks have them."""
    found = {}
    with safe_open(folder / "model.safetensors", "np") as file:
        weights = json.loads(file.metadata()["loqa.packed"])["weights"]
        for key, weight in weights.items():
            parts = {part: file.get_tensor(f"{key}.{part}") for part in ("codes", "scales", "biases")}
            halves = {part: parts[part].astype(np.float16).astype(np.float32) for part in ("scales", "biases")}
            found[key.removesuffix(".weight")] = decode(weight, parts | halves, {})
    return found


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """The rows as llama.cpp's converter puts them."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def eight_bits(_, inputs):
    x = inputs[0].reshape(*inputs[0].shape[:-1], -1, 32)
    step = x.abs().amax(-1, keepdim=True) / 127
    codes = torch.where(step > 0, x / step, 0.0).round()
    return ((codes * step.half().float()).reshape(inputs[0].shape),)


weights = rounded(pathlib.Path(packed))
model = load(original, "causal")
config = model.config
reader = gguf.GGUFReader(out)
tensors = {t.name: t for t in reader.tensors}
names = {
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
}
heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
wrong = []
for module, weight in weights.items():
    _, _, layer, _, part = module.split(".")
    tensor = tensors[f"blk.{layer}.{names[part]}.weight"]
    wanted = interleaved(weight, heads[part]) if part in heads and config.model_type not in ("qwen2", "qwen3") else weight
    if tensor.tensor_type.name != blocks or not np.array_equal(gguf.dequantize(tensor.data, tensor.tensor_type), wanted):
        wrong.append(module)
check("the gguf package decodes every layer to the same bits", not wrong and len(weights) > 0, f"{wrong}")

replace_weights(model, {module: torch.from_numpy(weight) for module, weight in weights.items()})
scaled = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default") != "default"
if not scaled and config.model_type != "smollm3":  # transformers reads neither rope_freqs.weight nor SmolLM3's files
    close("outputs of transformers on the file", outputs(load(out, "causal"), "causal"), outputs(model, "causal"), 1e-4)

if ran != "-":
    told = json.loads(pathlib.Path(ran).read_text())
    tokenizer = AutoTokenizer.from_pretrained(original)
    for text, tokens in told["tokens"]:
        wanted = tokenizer(text, add_special_tokens=False).input_ids
        check(f"llama.cpp's tokens of {text!r}", tokens == wanted, f"{tokens} instead of {wanted}")
    ids = torch.tensor([told["ids"]])

    def log_probabilities(of: torch.nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return of(input_ids=ids).logits[0].double().log_softmax(-1)

    def divergence(wanted: torch.Tensor, got: torch.Tensor) -> float:
        return (wanted.exp() * (wanted - got)).sum(-1).mean().item()

    got = [torch.tensor(told["probabilities"][path]).double().clamp_min(1e-30).log().log_softmax(-1) for path in (out, dense)]
    plain = log_probabilities(model)
    hooks = [model.get_submodule(module).register_forward_pre_hook(eight_bits) for module in weights]
    cost = divergence(plain, log_probabilities(model))
    for hook in hooks:
        hook.remove()
    far = divergence(plain, got[0])
    check("llama.cpp on the quantised file: within three times what 8-bit inputs cost", far <= 3 * cost + 1e-5, f"{far:.3e}, 8 bits cost {cost:.3e}")
    far = divergence(log_probabilities(load(original, "causal")), got[1])
    # Keys and values are f16 there.
    check("llama.cpp on the dense file: within 1e-5", far <= 1e-5, f"{far:.3e}")
