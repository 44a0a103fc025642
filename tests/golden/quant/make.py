"""Writes the quantisation goldens beside this file, from bitsandbytes and from LoftQ's formulae in torch.

Run with Python 3.11, torch 2.13.0+cpu, bitsandbytes 0.50.2, numpy 2.4.6, scipy 1.17.1, safetensors and gguf:

    python make.py [SHARED_DATA] [LOQA_MODELS]

The folders hold the real models (default: ../shared/data beside the project, ~/.cache/loqa-models); without one of
them its rows of real.json are kept from the file that is there. Only hashes of what a model gives are written.
"""

import base64
import hashlib
import json
import os
import pathlib
import sys

import bitsandbytes
import bitsandbytes.functional as F
import numpy as np
import scipy
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from scipy.stats import norm

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
SHARED = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT.parent / "shared/data")
MODELS = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else os.path.expanduser("~/.cache/loqa-models"))
VERSIONS = {
    "bitsandbytes": bitsandbytes.__version__,
    "numpy": np.__version__,
    "scipy": scipy.__version__,
    "torch": torch.__version__,
}


def b64(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def write(name, content):
    text = json.dumps({"versions": VERSIONS, **content}, indent=1) + "\n"
    (HERE / name).write_text(text)
    print(name, len(text))


# --- bitsandbytes ------------------------------------------------------------------------------------------------


def bnb(x, block, nested):
    q, s = F.quantize_4bit(torch.from_numpy(x), blocksize=block, quant_type="nf4", compress_statistics=nested)
    return q.flatten().numpy(), s


def around(values):
    """Each value with its two neighbours in f32."""
    v = np.float32(values)
    return np.stack([np.nextafter(v, np.float32(-9)), v, np.nextafter(v, np.float32(9))]).T.flatten()


def edge_cases():
    g = np.random.default_rng(1)
    normal = lambda n: g.standard_normal(n).astype(np.float32)
    code = F.get_4bit_type("nf4", device="cpu").numpy()
    ties = around((code[:-1] + code[1:]) / np.float32(2))
    yield "normal", normal(64 * 40) * np.float32(0.02)
    yield "short last block", normal(64 * 4 + 18)
    yield "odd count", normal(64 * 2 + 63)
    yield "zero short last block", np.concatenate([normal(128), np.zeros(30, np.float32)])
    yield "one element", np.float32([-0.25])
    yield "two elements", np.float32([0.5, -2])
    yield "zero block inside", np.concatenate([normal(128), np.zeros(128, np.float32), normal(128)])
    yield "all zero", np.zeros(256, np.float32)
    yield "constant blocks", np.repeat(np.float32([0.37, -2.5, 1e-3, -7e5]), 128)
    for scale in (1, -1, 0.5, 3, 0.0371):
        block = np.zeros(128, np.float32)
        block[0] = 1
        block[1 : 1 + ties.size] = ties
        yield f"ties at the thresholds, times {scale}", block * np.float32(scale)
    yield "subnormal blocks", np.concatenate([normal(128) * np.float32(s) for s in (1e-37, 1e-38, 3e-39, 1e-40, 1e-44)])
    large = normal(256) * np.float32(1e38)
    large[:2] = [3.4028234663852886e38, -3.4028234663852886e38]
    yield "as large as f32 goes", np.clip(large, -3.4e38, None)
    yield "one outlier a block", np.concatenate([np.r_[np.float32(100), normal(127)] for _ in range(2)])
    yield "bf16 values", torch.from_numpy(normal(640)).bfloat16().float().numpy()
    yield "heavy tails", (normal(1024) / np.abs(normal(1024))).astype(np.float32)


def bnb_cases():
    for name, x in edge_cases():
        for block in (64, 128):
            q, s = bnb(x, block, False)
            yield {"name": name, "block": block, "input": b64(x), "codes": b64(q), "absmax": b64(s.absmax.numpy())}


def nested_row(scales, offset=None):
    scales = torch.from_numpy(scales)
    offset = scales.mean() if offset is None else offset
    q, s = F.quantize_blockwise(scales - offset, blocksize=256)
    back = F.dequantize_blockwise(q, s) + offset
    return {"offset": float(offset), "codes": q.numpy(), "absmax": s.absmax.numpy(), "back": back.numpy()}


def nested_cases():
    g = np.random.default_rng(2)
    for name, scales in (
        ("300 near 0.05", 0.05 + 0.01 * g.standard_normal(300)),
        ("257, the last alone in its block", np.abs(g.standard_normal(257))),
        ("one", np.float32([0.3])),
        ("all equal", np.full(256, 0.125)),
        ("2000 over many magnitudes", np.exp(2 * g.standard_normal(2000))),
    ):
        scales = np.float32(scales)
        row = nested_row(scales)
        yield {
            "name": name,
            "scales": b64(scales),
            "offset": row["offset"],
            **{key: b64(row[key]) for key in ("codes", "absmax", "back")},
        }


# --- real matrices -----------------------------------------------------------------------------------------------

REAL = [
    ("shared", "models/stories260K-hf/model.safetensors", "model.layers.0.self_attn.q_proj.weight"),
    ("shared", "models/stories260K-hf/model.safetensors", "model.layers.3.mlp.down_proj.weight"),
    ("shared", "models/g2p-bart/us/model.safetensors", "model.encoder.layers.0.fc1.weight"),
    ("models", "all-minilm-l6-v2/model.safetensors", "encoder.layer.2.attention.self.query.weight"),
    ("models", "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf", "blk.5.attn_output.weight"),
]


def load(path, tensor):
    if path.suffix == ".gguf":
        from gguf import GGUFReader, dequantize

        row = next(t for t in GGUFReader(path).tensors if t.name == tensor)
        return np.ascontiguousarray(dequantize(row.data, row.tensor_type), np.float32)
    from safetensors import safe_open

    with safe_open(path, "pt") as f:
        return f.get_tensor(tensor).float().numpy()


def real_rows():
    there = HERE / "real.json"
    kept = {(r["file"], r["tensor"]): r for r in json.loads(there.read_text())["rows"]} if there.exists() else {}
    for root, file, tensor in REAL:
        path = {"shared": SHARED, "models": MODELS}[root] / file
        if not path.exists():
            yield kept[(file, tensor)]
            continue
        w = load(path, tensor)
        blocks = []
        for block in (64, 128):
            q, s = bnb(w, block, False)
            _, n = bnb(w, block, True)
            row = nested_row(s.absmax.numpy())
            assert (row["codes"] == n.absmax.numpy()).all() and row["offset"] == float(n.offset)
            # Not F.dequantize_4bit: its AVX-512 kernel is wrong where a block is longer than a row (0.50.2).
            back = _dequantize_4bit_compute(torch.from_numpy(q), s.absmax, s.code, block, w.shape, torch.float32)
            error = back.numpy() - w
            blocks.append(
                {
                    "block": block,
                    "codes": sha(q),
                    "absmax": sha(s.absmax.numpy()),
                    "error": float(np.linalg.norm(error.astype(float)) / np.linalg.norm(w.astype(float))),
                    "nested": {
                        "offset": row["offset"],
                        "codes": sha(row["codes"]),
                        "absmax": sha(row["absmax"]),
                        "back": sha(row["back"]),
                    },
                }
            )
        yield {"root": root, "file": file, "tensor": tensor, "shape": list(w.shape), "blocks": blocks}


# --- LoftQ's own quantisers, from their formulae (Li et al., 2310.08659, and the deleted NFQuantizer) --------------


def normal_map(bits, offset=0.9677083):
    n = 2**bits
    upper = norm.ppf(torch.linspace(offset, 0.5, n // 2 + 1)[:-1]).tolist()
    lower = (-norm.ppf(torch.linspace(offset, 0.5, n // 2)[:-1])).tolist()
    values = torch.tensor(upper + [0.0] + lower, dtype=torch.float32).sort().values
    return values / values.max()


def blocks_of(w, table, scale):
    """Codes by division and argmin over blocks of 64, and what they stand for."""
    x = w.reshape(-1, 64)
    s = x.abs().amax(-1, keepdim=True) if scale == "absmax" else (x.mean(-1) + 2.5 * x.std(-1)).unsqueeze(-1)
    code = ((x / s).unsqueeze(-1) - table).abs().argmin(-1)
    return code, s.flatten(), (table[code] * s).reshape(w.shape)


def clipped(w, bits):
    """One range for the whole matrix: mean plus and minus two standard deviations."""
    mean, std = w.mean(), w.std()
    x = torch.minimum(torch.maximum(w, mean - 2 * std), mean + 2 * std)
    alpha, beta, s = x.max() - x.min(), x.min(), 2**bits - 1
    code = torch.round((x - beta) / (alpha + 1e-8) * s)
    return code, code / s * (alpha + 1e-8) + beta


def loftq_rows():
    w = torch.from_numpy(np.random.default_rng(3).standard_normal((12, 64 * 3)).astype(np.float32))
    rows = []
    for bits in (2, 3, 4):
        tables = {"nf": (normal_map(bits), "absmax"), "uniform": (torch.linspace(-1, 1, 2**bits), "std")}
        for kind, (table, scale) in tables.items():
            code, s, value = blocks_of(w, table, scale)
            row = {"format": f"{kind}{bits}", "codes": b64(code.numpy().astype(np.uint8)), "scales": b64(s.numpy())}
            rows.append({**row, "norm": float((value - w).double().norm() / w.double().norm())})
        code, value = clipped(w, bits)
        row = {"format": f"clip{bits}", "codes": b64(code.numpy().astype(np.uint8))}
        rows.append({**row, "norm": float((value - w).double().norm() / w.double().norm())})
    return b64(w.numpy()), rows


def plain_errors():
    """First column of the usual comparison: W = 1024 x 1024, N(0, 1), seed 0, relative Frobenius error of q(W)."""
    w = torch.from_numpy(np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32))
    out = {}

    def put(key, value):
        out[key] = float((value - w).double().norm() / w.double().norm())

    for bits in (2, 3, 4):
        put(f"nf{bits} absmax", blocks_of(w, normal_map(bits), "absmax")[2])
        put(f"uniform{bits} absmax", blocks_of(w, torch.linspace(-1, 1, 2**bits), "absmax")[2])
        put(f"uniform{bits} std", blocks_of(w, torch.linspace(-1, 1, 2**bits), "std")[2])
        put(f"clip{bits} clip", clipped(w, bits)[1])
    return out


if __name__ == "__main__":
    write(
        "codebooks.json",
        {
            "nf4": b64(F.get_4bit_type("nf4", device="cpu").numpy()),
            "nf3": b64(normal_map(3).numpy()),
            "nf2": b64(normal_map(2).numpy()),
            **{f"uniform{b}": b64(torch.linspace(-1, 1, 2**b).numpy()) for b in (2, 3, 4)},
            "dynamic": b64(F.create_dynamic_map().numpy()),
        },
    )
    write("bnb.json", {"cases": list(bnb_cases()), "nested": list(nested_cases())})
    write("real.json", {"rows": list(real_rows())})
    weights, rows = loftq_rows()
    write("loftq.json", {"shape": [12, 192], "weights": weights, "rows": rows, "plain": plain_errors()})
