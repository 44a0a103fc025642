"""Writes loftq.json beside this file: LoftQ, its metrics and plain SVDs, from their formulae in NumPy (LAPACK in f64).

Run with Python 3.11, numpy 2.4.6, scipy 1.17.1:

    python make.py

Small matrices come from a generator that data.ts repeats bit for bit, so that only results are written. The table of
1024 x 1024 has NumPy's own N(0, 1), seed 0; the tests compare another sample with it.
"""

import base64
import json
import pathlib
import sys

import numpy as np
import scipy
from scipy.stats import norm

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from near_normal import near_normal as numbers  # noqa: E402

F32 = np.float32


def b64(array):
    return base64.b64encode(np.ascontiguousarray(array, F32).tobytes()).decode()


# --- inputs, as in data.ts ---------------------------------------------------------------------------------------


def near_normal(rows, cols, seed):
    return numbers(rows * cols, seed).reshape(rows, cols)


def product(rows, cols, rank, seed):
    """A matrix of rank `rank` with whole numbers, exact in f32."""
    left = np.round(near_normal(rows, rank, seed) * 4)
    right = np.round(near_normal(rank, cols, seed + 1) * 4)
    return (left @ right).astype(F32)


def svd_inputs():
    yield "tall 96 x 64", near_normal(96, 64, 1)
    yield "wide 64 x 96", near_normal(64, 96, 2)
    yield "one column 50 x 1", near_normal(50, 1, 3)
    yield "one row 1 x 50", near_normal(1, 50, 4)
    yield "rank 7 of 48 x 40", product(48, 40, 7, 5)
    w = near_normal(80, 80, 6)
    yield "flat: rounding errors of 80 x 80", w - np.floor(w + F32(0.5))
    yield "slice 300 x 200", near_normal(300, 200, 7)
    yield "graded columns 60 x 60", near_normal(60, 60, 8) * F32(2) ** -(np.arange(60) // 4).astype(F32)


# --- LoftQ's quantisers ------------------------------------------------------------------------------------------


def normal_map(bits, offset=0.9677083):
    n = 2**bits
    upper = norm.ppf(np.linspace(offset, 0.5, n // 2 + 1)[:-1])
    lower = -norm.ppf(np.linspace(offset, 0.5, n // 2)[:-1])
    values = np.sort(np.concatenate([upper, [0.0], lower]))
    return (values / values.max()).astype(F32)


def nearest(table):
    middles = (table[1:] + table[:-1]) / F32(2)
    return lambda x: table[np.searchsorted(middles, x, "left")]


def blocked(table, scale):
    look = nearest(table.astype(F32))

    def quantize(w):
        x = w.astype(F32).reshape(-1, 64)
        if scale == "absmax":
            s = np.abs(x).max(-1, keepdims=True)
        else:
            wide = x.astype(float)
            s = (wide.mean(-1, keepdims=True) + 2.5 * wide.std(-1, ddof=1, keepdims=True)).astype(F32)
        return (look(x / s) * s).reshape(w.shape).astype(float)

    return quantize


def clipped(bits):
    def quantize(w):
        w = w.astype(F32).astype(float)
        mean, std = w.mean(), w.std(ddof=1)
        x = np.clip(w, mean - 2 * std, mean + 2 * std)
        low, width, steps = x.min(), x.max() - x.min(), 2**bits - 1
        return np.round((x - low) / width * steps) / steps * width + low

    return quantize


QUANTIZERS = {
    "nf4 absmax": blocked(normal_map(4), "absmax"),
    "nf3 absmax": blocked(normal_map(3), "absmax"),
    "nf2 absmax": blocked(normal_map(2), "absmax"),
    "uniform4 absmax": blocked(np.linspace(-1, 1, 16), "absmax"),
    "uniform2 std": blocked(np.linspace(-1, 1, 4), "std"),
    "clip2 clip": clipped(2),
}


# --- LoftQ -------------------------------------------------------------------------------------------------------


def truncated(e, rank):
    u, s, vt = np.linalg.svd(e, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


def loftq(w, quantize, rank, iterations):
    """Relative errors: plain, after each iteration, and with the last factors applied at other scalings."""
    w = w.astype(float)
    total = np.linalg.norm(w)
    low = np.zeros_like(w)
    history = []
    plain = None
    for _ in range(iterations):
        q = quantize(w - low)
        if plain is None:
            plain = np.linalg.norm(w - q) / total
        low = truncated(w - q, rank)
        history.append(np.linalg.norm(w - q - low) / total)
    scaled = {str(s): np.linalg.norm(w - q - s * low) / total for s in (0.25, 0.5, 2)}
    return {"plain": plain, "history": history, "scaled": scaled}


def loftq_rows(w, rank, iterations):
    return [{"name": name, **loftq(w, q, rank, iterations)} for name, q in QUANTIZERS.items()]


# --- metrics -----------------------------------------------------------------------------------------------------


def metrics(rank=6, damping=0.01):
    """Best corrections of an nf2 weight, 48 x 40, at its output: SVD_r(E C) C^-1 with C C^T = H + damping."""
    w = near_normal(48, 40, 20)
    e = w - QUANTIZERS["nf2 absmax"](w)
    mix = near_normal(40, 40, 21).astype(float)
    for name, samples in (("full rank", 200), ("20 samples of 40 inputs", 20)):
        x = near_normal(samples, 40, 22).astype(float) @ mix
        h = (x.T @ x / samples).astype(F32)
        row = {"name": name, "moments": b64(h)}
        for kind, moments in (("diag", np.diag(np.diag(h)).astype(float)), ("full", h.astype(float))):
            m = moments + damping * np.diag(moments).mean() * np.eye(40)
            values, vectors = np.linalg.eigh(m)
            c = vectors * np.sqrt(values)

            def error(x):
                return float(np.linalg.norm(x @ c) / np.linalg.norm(w.astype(float) @ c))

            best = truncated(e @ c, rank) @ np.linalg.inv(c)
            row[kind] = {
                "product": b64(best),
                "plain": error(e),
                "best": error(e - best),
                "identity": error(e - truncated(e, rank)),
            }
        yield row


if __name__ == "__main__":
    large = np.random.default_rng(0).standard_normal((1024, 1024)).astype(F32)
    document = {
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__},
        "svd": [
            {"name": name, "values": np.linalg.svd(a.astype(float), compute_uv=False).tolist()}
            for name, a in svd_inputs()
        ],
        "small": {"rank": 8, "rows": loftq_rows(near_normal(96, 128, 10), 8, 5)},
        "large": {"rank": 64, "rows": loftq_rows(large, 64, 5)},
        "metrics": {"rank": 6, "rows": list(metrics())},
    }
    (HERE / "loftq.json").write_text(json.dumps(document, indent=1) + "\n")
