"""PEER AGAIN: AGAIN is what `loqa export --to mlx --dtype f32` makes of PEER, a model that mlx_lm quantised."""

import json
import pathlib

import mlx.core as mx

from lib import arguments, check

peer, again = (pathlib.Path(folder) for folder in arguments(2))
mx.set_default_device(mx.cpu)
theirs, ours = (mx.load(str(folder / "model.safetensors")) for folder in (peer, again))
settings = json.loads((peer / "config.json").read_text())["quantization"]
count = 0
for module in (key.removesuffix(".scales") for key in theirs if key.endswith(".scales")):
    own = settings.get(module)
    group, bits = (own["group_size"], own["bits"]) if isinstance(own, dict) else (settings["group_size"], settings["bits"])
    wanted = mx.dequantize(
        theirs[f"{module}.weight"], *(theirs[f"{module}.{k}"].astype(mx.float32) for k in ("scales", "biases")), group_size=group, bits=bits,
    )
    if bits > 4:
        same = mx.array_equal(ours[f"{module}.weight"], wanted).item()
        check(f"{module}: {bits} bits are decoded to MLX's values", same)
        continue
    count += 1
    same = all(mx.array_equal(theirs[f"{module}.{k}"], ours[f"{module}.{k}"]).item() for k in ("weight", "scales", "biases"))
    if not same:
        check(f"{module}: codes, scales and biases are MLX's", False)
check("codes, scales and biases of all layers are MLX's own", count > 0, f"{count} layers")
kept = json.loads((again / "config.json").read_text())["quantization"]
wrong = [k for k, v in settings.items() if isinstance(v, dict) and v["bits"] < 8 and kept.get(k, kept)["bits"] != v["bits"]]
check("widths of single layers are in the config", not wrong, f"{wrong}")
