"""Writes qalora.json beside this file: HQQ by the hqq package, GPTQ, biases and starts from their formulae in NumPy.

Run with Python 3.11, torch 2.13.0+cpu, numpy 2.4.6 and the source of hqq 0.2.8.post1 (`pip download --no-deps hqq`,
unpacked), of which only core/optimize.py is loaded:

    python make.py hqq-0.2.8.post1

Inputs come from a generator that tests/golden/loftq/data.ts repeats bit for bit, so that only results are written. GPTQ
is optimal brain surgery as it stands in the paper: an explicit inverse that loses a row and column with each weight, in
f64, with neither blocks nor Cholesky factors.
"""

import base64
import importlib.util
import json
import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
F32 = np.float32
ROWS, COLS, TOKENS = 24, 160, 320


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HQQ = load("optimize", pathlib.Path(sys.argv[1]) / "hqq/core/optimize.py")
near_normal = load("loftq_make", HERE.parent / "loftq/make.py").near_normal


def b64(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def groups_of(cols, block):
    return [np.arange(j, min(j + block, cols)) for j in range(0, cols, block)]


# --- hqq ---------------------------------------------------------------------------------------------------------


def solve(w, top, iters):
    """Zero point of one group, as Quantizer.quantize calls the solver but for its bounds for f16; in f64."""
    w = torch.from_numpy(w)[None].double()
    low, high = w.min(), w.max()
    scale = (top / (high - low)).reshape(1, 1)
    options = {"lp_norm": 0.7, "beta": 1e1, "kappa": 1.01, "iters": iters, "tol": 0.0, "early_stop": True}
    codes, scale, zero = HQQ.optimize_weights_proximal_v2(
        w,
        scale,
        -low * scale,
        [0, top],
        axis=1,
        dtype=torch.float64,
        opt_params={**options, "scale_gridsearch": False},
    )
    return codes.numpy()[0], scale.item(), zero.item()


def hqq_cases():
    for size in (0.02, 1):
        w = (near_normal(16, 96, 31) * F32(size)).astype(F32)
        for bits in (2, 3, 4):
            top = 2**bits - 1
            codes, scales, biases, settled = [], [], [], []
            for row in w:
                for at in groups_of(96, 64):
                    q, inverse, zero = solve(row[at], top, 20)
                    codes.append(q.astype(np.uint8))
                    scales.append(1 / inverse)
                    biases.append(-zero / inverse)
                    # After its last step the package does not look whether that one was any good.
                    settled.append(zero == solve(row[at], top, 60)[2])
            yield {
                "size": size,
                "bits": bits,
                "codes": b64(np.concatenate(codes)),
                "scales": b64(np.array(scales, F32)),
                "biases": b64(np.array(biases, F32)),
                "settled": [int(x) for x in settled],
            }


# --- inputs with second moments ------------------------------------------------------------------------------------


def moments():
    """E[x xᵀ] of inputs that depend on eight factors, with channels of different sizes."""
    own = near_normal(TOKENS, COLS, 41).astype(float)
    factors = near_normal(TOKENS, 8, 42).astype(float)
    loads = near_normal(8, COLS, 43).astype(float)
    sizes = 2.0 ** (np.arange(COLS) * 7 % 5 - 2)
    x = (own + factors @ loads) * sizes
    return (x.T @ x / TOKENS).astype(F32)


def search(w, top, weights):
    """The best of 25 shrunk ranges of each row."""
    low, high = w.min(1), w.max(1)
    best = np.full(len(w), np.inf)
    scale, bias = np.zeros(len(w)), np.zeros(len(w))
    for step in range(25):
        f = (40 - step) / 40
        s = (f * (high - low) / top).astype(F32).astype(float)
        b = (low + (1 - f) * (high - low) / 2).astype(F32).astype(float)
        q = np.clip(np.rint((w - b[:, None]) / s[:, None]), 0, top)
        error = ((w - q * s[:, None] - b[:, None]) ** 2 * weights).sum(1)
        better = error < best
        best[better], scale[better], bias[better] = error[better], s[better], b[better]
    return scale, bias


def gptq(w, h, bits, block, order, damping=0.01):
    top = 2**bits - 1
    w = w.astype(float).copy()
    h = h.astype(float) + damping * np.diag(h).astype(float).mean() * np.eye(COLS)
    groups = list(enumerate(groups_of(COLS, block)))
    if order == "group":
        d = np.diag(h)
        groups = [(g, at[np.argsort(-d[at], kind="stable")]) for g, at in groups]
        groups.sort(key=lambda group: -d[group[1][0]])
    sequence = np.concatenate([at for _, at in groups])
    inverse = np.linalg.inv(h)
    # What is left of the inverse's diagonal when a weight's turn comes.
    left = np.empty(COLS)
    remaining = inverse.copy()
    for j in sequence:
        left[j] = remaining[j, j]
        remaining -= np.outer(remaining[:, j], remaining[j]) / remaining[j, j]
    codes = np.zeros((ROWS, COLS), np.uint8)
    scales = np.zeros((ROWS, len(groups)))
    biases = np.zeros((ROWS, len(groups)))
    out = np.zeros((ROWS, COLS))
    for g, at in groups:
        scales[:, g], biases[:, g] = search(w[:, at], top, 1 / left[at])
        for j in at:
            q = np.clip(np.rint((w[:, j] - biases[:, g]) / scales[:, g]), 0, top)
            codes[:, j] = q
            out[:, j] = q * scales[:, g] + biases[:, g]
            w -= np.outer((w[:, j] - out[:, j]) / inverse[j, j], inverse[j])
            inverse -= np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return codes, scales, biases, out


def output_error(e, w, h):
    return np.sqrt(np.sum((e @ h) * e) / np.sum((w @ h) * w))


def gptq_cases(h):
    w = near_normal(ROWS, COLS, 44)
    for bits, block, order in ((4, 32, "none"), (3, 64, "none"), (2, 32, "group"), (3, 48, "group"), (2, 48, "none")):
        codes, scales, biases, out = gptq(w, h, bits, block, order)
        yield {
            "bits": bits,
            "block": block,
            "order": order,
            "codes": b64(codes),
            "scales": b64(scales.astype(F32)),
            "biases": b64(biases.astype(F32)),
            "error": output_error(w - out, w.astype(float), h.astype(float)),
        }


# --- biases and starts -----------------------------------------------------------------------------------------------


def start_cases(h):
    w = near_normal(ROWS, COLS, 45).astype(float)
    for kind in ("identity", "diag", "full"):
        metric = {"identity": np.eye(COLS), "diag": np.diag(np.diag(h)), "full": h}[kind].astype(float)
        if kind != "identity":
            metric += 0.01 * np.diag(metric).mean() * np.eye(COLS)
        values, vectors = np.linalg.eigh(metric)
        root = vectors * np.sqrt(values) @ vectors.T
        for block in (32, 48):
            at = groups_of(COLS, block)
            low = np.stack([w[:, j].min(1) for j in at], 1)
            scale = np.stack([np.ptp(w[:, j], 1) / 3 for j in at], 1)
            q = np.concatenate(
                [np.rint((w[:, j] - low[:, [g]]) / scale[:, [g]]) * scale[:, [g]] + low[:, [g]] for g, j in enumerate(at)], 1
            )
            e = w - q
            pool = np.zeros((COLS, len(at)))
            for g, j in enumerate(at):
                pool[j, g] = 1
            constants = np.linalg.lstsq(root @ pool, root @ e.T)[0].T
            sums, turns = np.linalg.eigh(pool.T @ metric @ pool)
            half = turns * np.sqrt(sums) @ turns.T
            u, s, vt = np.linalg.svd(constants @ half)
            low_rank = (u[:, :2] * s[:2]) @ vt[:2] @ np.linalg.inv(half)
            yield {
                "kind": kind,
                "block": block,
                "constants": b64(constants.astype(F32)),
                "lowRank": b64(low_rank.astype(F32)),
                "plain": output_error(e, w, metric),
                "full": output_error(e - constants @ pool.T, w, metric),
                "rank2": output_error(e - low_rank @ pool.T, w, metric),
            }


def main():
    h = moments()
    content = {
        "versions": {"hqq": "0.2.8.post1", "numpy": np.__version__, "torch": torch.__version__},
        "hqq": list(hqq_cases()),
        "gptq": list(gptq_cases(h)),
        "starts": list(start_cases(h)),
    }
    text = json.dumps(content, indent=1) + "\n"
    (HERE / "qalora.json").write_text(text)
    print("qalora.json", len(text))


main()
