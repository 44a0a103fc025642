"""Makes the golden files beside it, with the real peers.

Run from this folder: python make.py
Versions used: torch 2.13.0, safetensors 0.8.0, gguf 0.19.0, transformers 5.23.0, bitsandbytes 0.50.2,
peft 0.21.2, numpy 2.4.6. Seeds are fixed; only torch's zip archives differ from run to run (in nothing that is read).
"""

import hashlib
import json
import os
import pickle
import shutil
import tempfile
import zipfile

import gguf
import numpy as np
import torch
from bitsandbytes import functional as bnb
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from gguf import GGMLQuantizationType as T
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.tokenization_utils_base import generate_merges

HERE = os.path.dirname(os.path.abspath(__file__))


def path(name):
    return os.path.join(HERE, name)


def sha(array):
    if isinstance(array, torch.Tensor):
        array = array.detach().contiguous().reshape(-1)
        array = array.view(torch.uint8).numpy() if array.numel() else np.zeros(0, np.uint8)
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def write_json(name, value):
    with open(path(name), "w") as f:
        json.dump(value, f, indent=1, ensure_ascii=False)
        f.write("\n")


def safetensors():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(5, 6, generator=g)
    tensors = {
        "f64": x.double() * np.pi,
        "f32": x,
        "f16": x.half(),
        "bf16": x.bfloat16(),
        "i64": torch.arange(7) - 3,
        "i32": torch.arange(4, dtype=torch.int32),
        "i16": torch.arange(3, dtype=torch.int16),
        "i8": torch.arange(5, dtype=torch.int8) - 2,
        "u8": torch.arange(5, dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }
    save_file(tensors, path("plain.safetensors"), {"format": "pt", "note": "héllo"})
    write_json("plain.json", {
        k: {"shape": list(v.shape), "sha256": sha(v), "f32": sha(v.float()) if v.is_floating_point() else None}
        for k, v in tensors.items()
    })


BLOCKS = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.F16, T.BF16, T.F32]
HIDDEN, HEADS, KV, FFN, VOCAB, LAYERS = 64, 2, 1, 96, 40, 2


def permute(w, heads):
    """As llama.cpp's converter reorders q and k."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def gguf_model(name, arch, permuted, biased, tied, head=HIDDEN // HEADS, head_norms=False):
    rng = np.random.default_rng(7)
    w = gguf.GGUFWriter(path(name), arch)
    w.add_name(name)
    w.add_context_length(128)
    w.add_embedding_length(HIDDEN)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(50000.0)
    w.add_rope_dimension_count(head)
    if head != HIDDEN // HEADS:
        w.add_key_length(head)
        w.add_value_length(head)
    w.add_vocab_size(VOCAB)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm" if arch == "llama" else "qwen2")
    tokens = ["<|end|>", "<|start|>"] + list("abcdefgh0123456789") + ["Ġ", "ab", "Ġa", "Ġab"]
    tokens += [f"[PAD{i}]" for i in range(len(tokens), VOCAB)]
    types = [3, 3] + [1] * 22 + [5] * (VOCAB - 24)
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(["a b", "Ġ a", "Ġa b"])
    w.add_bos_token_id(1)
    w.add_eos_token_id(0)
    w.add_add_bos_token(False)
    w.add_chat_template("{{ messages }}")
    w.add_array("test.numbers", [1, 2, 3])
    count = 0

    def add(key, shape, kind=None):
        nonlocal count
        data = rng.standard_normal(shape, dtype=np.float32)
        if ".attn_q." in key and permuted:
            data = permute(data, HEADS)
        if ".attn_k." in key and permuted:
            data = permute(data, KV)
        if kind is None:
            kind = BLOCKS[count % len(BLOCKS)]
            count += 1
        raw = gguf.quantize(data, kind) if kind not in (T.F32, T.F16) else data.astype(
            np.float32 if kind == T.F32 else np.float16)
        w.add_tensor(key, raw, raw_dtype=None if kind in (T.F32, T.F16) else kind)

    add("token_embd.weight", (VOCAB, HIDDEN), T.Q8_0)
    add("output_norm.weight", (HIDDEN,), T.F32)
    if not tied:
        add("output.weight", (VOCAB, HIDDEN), T.F16)
    for i in range(LAYERS):
        p = f"blk.{i}."
        add(p + "attn_norm.weight", (HIDDEN,), T.F32)
        add(p + "attn_q.weight", (head * HEADS, HIDDEN))
        add(p + "attn_k.weight", (head * KV, HIDDEN))
        add(p + "attn_v.weight", (head * KV, HIDDEN))
        if biased:
            add(p + "attn_q.bias", (head * HEADS,), T.F32)
            add(p + "attn_k.bias", (head * KV,), T.F32)
            add(p + "attn_v.bias", (head * KV,), T.F32)
        if head_norms:
            add(p + "attn_q_norm.weight", (head,), T.F32)
            add(p + "attn_k_norm.weight", (head,), T.F32)
        add(p + "attn_output.weight", (HIDDEN, head * HEADS))
        add(p + "ffn_norm.weight", (HIDDEN,), T.F32)
        add(p + "ffn_gate.weight", (FFN, HIDDEN))
        add(p + "ffn_up.weight", (FFN, HIDDEN))
        add(p + "ffn_down.weight", (HIDDEN, FFN))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def ggufs():
    # transformers takes every file of Qwen3 for one with heads of 128.
    for arch, tied, shape in (
        ("llama", True, dict(permuted=True, biased=False)),
        ("qwen2", False, dict(permuted=False, biased=True)),
        ("qwen3", True, dict(permuted=False, biased=False, head=128, head_norms=True)),
    ):
        name = f"{arch}.gguf"
        gguf_model(name, arch, tied=tied, **shape)
        model = AutoModelForCausalLM.from_pretrained(HERE, gguf_file=name, dtype=torch.float32)
        write_json(f"{arch}-gguf.json", {
            "tensors": {k: {"shape": list(v.shape), "f32": sha(v)} for k, v in model.state_dict().items()
                        if not (tied and k == "lm_head.weight")},
            "encodings": {t.name: t.tensor_type.name for t in gguf.GGUFReader(path(name)).tensors},
            "config": {k: getattr(model.config, k) for k in (
                "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                "num_key_value_heads", "max_position_embeddings", "vocab_size", "tie_word_embeddings",
                "bos_token_id", "eos_token_id", "model_type")},
        })


def merges():
    tokens = ["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "d", "ab", "▁a", "bc", "▁ab", "abc", "▁abc", "cd", "😀",
              "😀a", "abcd"]
    rng = np.random.default_rng(3)
    scores = [float(np.float32(s)) for s in -rng.permutation(len(tokens))]
    scores[8] = scores[9]  # two pieces with one score
    vocab = {t: i for i, t in enumerate(tokens)}
    write_json("merges.json", {
        "tokens": tokens,
        "scores": scores,
        "merges": [" ".join(m) for m in generate_merges(vocab, dict(zip(tokens, scores)))],
    })


def bitsandbytes():
    g = torch.Generator().manual_seed(11)
    out, expected = {}, {}
    cases = [
        ("plain", (48, 80), "nf4", False, torch.bfloat16, 64),
        ("nested", (160, 128), "nf4", True, torch.float16, 64),
        ("odd", (7, 9), "nf4", False, torch.float32, 64),
        ("fp4", (32, 64), "fp4", False, torch.bfloat16, 128),
        ("fp4nested", (64, 288), "fp4", True, torch.float32, 64),
    ]
    for name, shape, kind, nested, dtype, block in cases:
        w = torch.randn(shape, generator=g) * 0.02
        if name == "plain":
            w[3] = 0
        q, state = bnb.quantize_4bit(w.to(dtype), blocksize=block, compress_statistics=nested, quant_type=kind)
        key = f"model.{name}.weight"
        out[key] = q
        for k, v in state.as_dict(packed=True).items():
            out[f"{key}.{k}"] = v
        absmax = state.absmax
        if nested:
            absmax = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset
        # Decoded in f32 by definition: level * absmax, whatever type the state asks for. By the portable
        # implementation: the CPU kernel of 0.50.2 takes the wrong scales where blocks straddle rows.
        decoded = _dequantize_4bit_compute(
            q.reshape(-1), absmax.float(), state.code, block, shape, torch.float32)
        expected[key] = {
            "shape": list(shape), "encoding": kind, "dtype": str(dtype).split(".")[1], "block": block,
            "values": [round(float(x), 9) for x in decoded.flatten()[:8]],
            "f32": sha(decoded), "absmax": sha(absmax.float()), "codes": sha(q),
        }
    out["model.norm.weight"] = torch.ones(16)
    save_file(out, path("bnb.safetensors"), {"format": "pt"})
    write_json("bnb.json", expected)


def torch_files():
    g = torch.Generator().manual_seed(5)
    base = torch.randn(6, 4, generator=g)
    tensors = {
        "plain": base,
        "transposed": base.t(),
        "rows": base[2:5],
        "columns": base[:, 1:3],
        "half": base.half(),
        "bf16": base.bfloat16(),
        "long": torch.arange(6).reshape(2, 3),
        "flag": torch.tensor([True, False]),
        "double": base.double(),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base + 1),
    }
    torch.save(tensors, path("tensors.bin"))
    torch.save({"epoch": 3, "loss": 0.5, "state_dict": {"w": base}}, path("wrapped.pt"))
    write_json("torch.json", {
        k: {"shape": list(v.shape), "sha256": sha(v)} for k, v in tensors.items()
    })

    class Evil:
        def __reduce__(self):
            return (os.system, ("echo harmed",))

    with zipfile.ZipFile(path("evil.bin"), "w") as z:
        z.writestr("archive/data.pkl", pickle.dumps({"w": Evil()}, protocol=2))
        z.writestr("archive/version", "3\n")
    torch.save({"w": base}, path("legacy.bin"), _use_new_zipfile_serialization=False)


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.ModuleDict({
            "q_proj": torch.nn.Linear(16, 24), "v_proj": torch.nn.Linear(16, 8)}) for _ in range(3)])
        self.head = torch.nn.Linear(8, 4)


def peft():
    torch.manual_seed(2)
    config = LoraConfig(
        r=4, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "v_proj"], init_lora_weights=False,
        rank_pattern={"layers.1.q_proj": 2, r"layers\.[02]\.v_proj": 8},
        alpha_pattern={"v_proj": 3, "layers.1.q_proj": 5}, modules_to_save=["head"])
    model = get_peft_model(Tiny(), config)
    # A folder of its own: transformers takes a folder with adapter_config.json for an adapter.
    os.makedirs(path("adapter"), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(os.path.join(folder, name), path("adapter/" + name))
    expected = {}
    for name, module in model.base_model.model.named_modules():
        if hasattr(module, "scaling"):
            expected[name] = {
                "rank": module.r["default"], "alpha": module.lora_alpha["default"],
                "scaling": module.scaling["default"],
                "A": sha(module.lora_A["default"].weight), "B": sha(module.lora_B["default"].weight),
            }
    write_json("peft.json", expected)


if __name__ == "__main__":
    safetensors()
    ggufs()
    merges()
    bitsandbytes()
    torch_files()
    peft()
