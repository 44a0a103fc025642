"""Measures the Python peers for main.ts: one JSON request a line on stdin, one JSON answer a line on stdout.

{"op": "matmul", "n": 1024, "threads": 1} -> {"seconds": 0.02}. An answer may hold "error" instead.

The models' weights are loaded before the clock starts, as on our side.
"""

import json
import os
import resource
import sys
import time
import warnings
from time import perf_counter

warnings.filterwarnings("ignore")
answers = os.fdopen(os.dup(1), "w")  # bitsandbytes prints at import
os.dup2(2, 1)

import bitsandbytes.functional as bnb  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402

torch.set_grad_enabled(False)


def clock(work, least: float = 0.0) -> float:
    """Seconds of one call of `work`, repeated within one measurement until `least` seconds have passed."""
    began, times = time.perf_counter(), 0
    while True:
        work()
        times += 1
        spent = time.perf_counter() - began
        if spent >= least:
            return spent / times


def matrix(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def matmul(m: int, n: int, k: int) -> float:
    a, b = matrix(m, k), matrix(k, n, 1)
    out = torch.empty(m, n)
    torch.mm(a, b, out=out)
    return clock(lambda: torch.mm(a, b, out=out), 0.2)


def quantize(rows: int, cols: int) -> float:
    w = matrix(rows, cols)
    return clock(lambda: bnb.quantize_4bit(w, blocksize=64, quant_type="nf4", compress_statistics=False), 0.2)


def dequantize(rows: int, cols: int) -> float:
    packed, state = bnb.quantize_4bit(matrix(rows, cols), blocksize=64, quant_type="nf4", compress_statistics=False)
    bnb.dequantize_4bit(packed, state)
    return clock(lambda: bnb.dequantize_4bit(packed, state), 0.2)


def svd(rows: int, cols: int) -> float:
    w = matrix(rows, cols)
    return clock(lambda: torch.linalg.svd(w, full_matrices=False))


def svd_lowrank(rows: int, cols: int, rank: int, niter: int) -> float:
    w = matrix(rows, cols)
    return clock(lambda: torch.svd_lowrank(w, q=rank + 10, niter=niter), 0.2)


def rms_norm(rows: int, cols: int) -> float:
    x, weight = matrix(rows, cols), matrix(1, cols)[0]
    return clock(lambda: functional.rms_norm(x, (cols,), weight, 1e-5), 0.2)


def swiglu(rows: int, cols: int) -> float:
    gate, up = matrix(rows, cols), matrix(rows, cols, 1)
    return clock(lambda: functional.silu(gate) * up, 0.2)


def cross_entropy(rows: int, cols: int) -> float:
    logits = matrix(rows, cols).requires_grad_()
    labels = torch.arange(rows)

    def step() -> None:
        logits.grad = None
        functional.cross_entropy(logits, labels).backward()

    with torch.enable_grad():
        return clock(step, 0.2)


def attention(batch: int, time: int, heads: int, kv: int, dim: int, backward: bool = False) -> float:
    q, k, v = (torch.randn(batch, h, time, dim, requires_grad=backward) for h in (heads, kv, kv))

    def forward() -> torch.Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    if not backward:
        return clock(forward, 0.2)
    with torch.enable_grad():
        out, dy = forward(), torch.randn(batch, heads, time, dim)
        return clock(lambda: torch.autograd.grad(out, (q, k, v), dy, retain_graph=True), 0.2)


def attention_backward(**sizes: int) -> float:
    return attention(**sizes, backward=True)


def low_rank(residual: torch.Tensor, rank: int, how: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Balanced factors B, A of the best rank-r part, as PEFT's loftq_init has them (`full`), or randomised."""
    if how == "full":
        u, s, vh = torch.linalg.svd(residual, full_matrices=False)
    else:
        u, s, v = torch.svd_lowrank(residual, q=rank + 10, niter=2)
        vh = v.T
    root = torch.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * vh[:rank]


weights: dict[str, list[torch.Tensor]] = {}


def load(path: str, most: int) -> int:
    """The first `most` linear layers of a GGUF file in f32; number of values."""
    from gguf import GGUFReader
    from gguf.quants import dequantize as decode

    names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    reader = GGUFReader(path)
    weights[path] = [
        torch.from_numpy(decode(t.data, t.tensor_type).copy()) for t in reader.tensors if t.name.split(".")[-2] in names
    ][:most]
    return sum(w.numel() for w in weights[path])


def round_to_nf4(w: torch.Tensor) -> torch.Tensor:
    """nf4 there and back in torch's own operations, which on a CPU is many times as fast as bitsandbytes."""
    levels = bnb.get_4bit_type("nf4", device="cpu")
    blocks = w.reshape(-1, 64)
    scales = blocks.abs().amax(dim=1, keepdim=True)
    codes = torch.bucketize(blocks / scales, (levels[1:] + levels[:-1]) / 2)
    return (levels[codes] * scales).reshape(w.shape)


def loftq(path: str, rank: int, iterations: int, how: str) -> dict:
    """PEFT's loop over all linear layers, with the fastest quantiser that torch has."""
    began, square = time.perf_counter(), 0.0
    own = 0.0
    for w in weights[path]:
        residual = w
        for _ in range(iterations):
            q = round_to_nf4(residual)
            b, a = low_rank(w - q, rank, how)
            product = b @ a
            residual = w - product
        aside = time.perf_counter()
        square += (w - q - product).double().pow(2).sum().item() / w.double().pow(2).sum().item()
        own += time.perf_counter() - aside
    return {"seconds": time.perf_counter() - began - own, "meanSquareError": square / len(weights[path])}


models: dict[str, object] = {}


def model_of(path: str) -> object:
    """SmolLM2 in f32 from its GGUF file, or a bitsandbytes backbone with f32 between its layers."""
    from transformers import AutoModelForCausalLM

    if path not in models:
        folder, name = os.path.split(path)
        if name.endswith(".gguf"):
            model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        else:
            model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
            for parameter in model.parameters():
                if parameter.dtype.is_floating_point:
                    parameter.data = parameter.data.float()
            for module in model.modules():
                if hasattr(module, "compute_dtype"):
                    module.compute_dtype = torch.float32
        models[path] = model.eval()
    return models[path]


def train_step(path: str, batch: int, time: int, rank: int) -> float:
    """A step of LoRA on all linear layers with AdamW; of QLoRA where the weights are bitsandbytes'."""
    from peft import LoraConfig, get_peft_model

    key = f"{path} LoRA {rank}"
    if key not in models:
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model_of(path), config).train()
        del models[path]
        models[key] = model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    model, optimizer = models[key]
    ids = torch.randint(0, 49152, (batch, time), generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        began = perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return perf_counter() - began


def prefill(path: str, prompt: int) -> dict:
    """The logits behind a prompt, of its last token only."""
    model = model_of(path)
    ids = torch.randint(0, 49152, (1, prompt), generator=torch.Generator().manual_seed(0))
    began = perf_counter()
    model(ids, logits_to_keep=1)
    return {"tokens": prompt, "seconds": perf_counter() - began}


def decode(path: str, count: int) -> dict:
    """Greedy tokens behind sixteen others."""
    model = model_of(path)
    ids = torch.arange(100, 116)[None]
    began = perf_counter()
    model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False)
    return {"tokens": count, "seconds": perf_counter() - began}


def peak() -> dict:
    """The most memory of this process so far."""
    return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


TIMED = {
    work.__name__: work
    for work in (
        matmul,
        quantize,
        dequantize,
        svd,
        svd_lowrank,
        rms_norm,
        swiglu,
        cross_entropy,
        attention,
        attention_backward,
        train_step,
    )
}


def answer(request: dict) -> dict:
    torch.set_num_threads(request.pop("threads", os.cpu_count()))
    op = request.pop("op")
    if op == "versions":
        import bitsandbytes

        return {"torch": torch.__version__, "bitsandbytes": bitsandbytes.__version__}
    if op == "load":
        return {"values": load(**request)}
    if op == "loftq":
        return loftq(**request)
    if op in ("prefill", "decode", "peak"):
        return globals()[op](**request)
    return {"seconds": TIMED[op](**request)}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:  # the harness prints it in the row
        reply = {"error": f"{type(error).__name__}: {error}"}
    answers.write(json.dumps(reply) + "\n")
    answers.flush()
