"""FOLDER: a LLaMA and a Qwen2 in every block type that is read, by the gguf package, for our side to open.

FOLDER/ARCHITECTURE.gguf is the file, FOLDER/ARCHITECTURE/model.safetensors its values in f32 as transformers loads
them. The package cannot quantise to the K types: their blocks are random bits with scales of about a weight's size.
"""

import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.torch import save_file

from lib import arguments, check, load

(folder,) = map(pathlib.Path, arguments(1))
HIDDEN, FFN, LAYERS, HEADS, KV, VOCAB = 256, 512, 2, 4, 2, 40
# By type, where the f16 scales of a block begin, in bytes.
PLACES = {
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0],
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
}
rng = np.random.default_rng(23)


def blocks(rows, cols, type):
    values, size = gguf.GGML_QUANT_SIZES[type]
    made = rng.integers(0, 256, (rows * cols // values, size), dtype=np.uint8)
    for at in PLACES[type]:
        scale = rng.normal(0, 1e-3, made.shape[0]).astype(np.float16)
        made[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return made.reshape(rows, -1)


def write(path, architecture):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(["<|end|>"] + [f"t{i}" for i in range(1, VOCAB)])
    writer.add_token_types([3] + [1] * (VOCAB - 1))
    writer.add_token_merges([])
    writer.add_eos_token_id(0)
    types = list(PLACES)
    count = 0

    def add(name, rows, cols):
        nonlocal count
        type = types[count % len(types)]
        count += 1
        writer.add_tensor(f"{name}.weight", blocks(rows, cols, type), raw_dtype=type)

    def vector(name, length):
        writer.add_tensor(name, rng.normal(1, 0.1, length).astype(np.float32))

    add("token_embd", VOCAB, HIDDEN)
    add("output", VOCAB, HIDDEN)
    vector("output_norm.weight", HIDDEN)
    for i in range(LAYERS):
        p = f"blk.{i}."
        vector(f"{p}attn_norm.weight", HIDDEN)
        vector(f"{p}ffn_norm.weight", HIDDEN)
        for name, rows in [("q", HIDDEN), ("k", HIDDEN // HEADS * KV), ("v", HIDDEN // HEADS * KV)]:
            add(f"{p}attn_{name}", rows, HIDDEN)
            if architecture == "qwen2":
                vector(f"{p}attn_{name}.bias", rows)
        add(f"{p}attn_output", HIDDEN, HIDDEN)
        add(f"{p}ffn_gate", FFN, HIDDEN)
        add(f"{p}ffn_up", FFN, HIDDEN)
        add(f"{p}ffn_down", HIDDEN, FFN)
    assert count >= len(types)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


for architecture in ["llama", "qwen2"]:
    path = folder / f"{architecture}.gguf"
    write(path, architecture)
    state = load(str(path), "causal").state_dict()
    (folder / architecture).mkdir()
    save_file({key: w.contiguous().clone() for key, w in state.items()}, folder / architecture / "model.safetensors")
    read = {t.tensor_type for t in gguf.GGUFReader(path).tensors}
    check(f"{architecture} has every block type", read >= PLACES.keys(), f"{read}")
