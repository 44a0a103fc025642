"""Numbers from a seed that the tests' TypeScript repeats bit for bit, so that goldens hold results only."""

import numpy as np


def near_normal(count, seed):
    """Sums of twelve uniform numbers less six, from xorshift32."""
    state = seed
    out = np.empty(count)
    for i in range(count):
        total = -6.0
        for _ in range(12):
            state ^= (state << 13) & 0xFFFFFFFF
            state ^= state >> 17
            state ^= (state << 5) & 0xFFFFFFFF
            total += state / 2**32
        out[i] = total
    return out.astype(np.float32)
