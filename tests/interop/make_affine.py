"""ORIGINAL OUT: writes OUT/mlx, the model as mlx_lm quantises it, with an embedding of 8 bits and layers of other widths."""

import pathlib

import mlx.core as mx
from mlx_lm.utils import load_model, quantize_model, save_model, save_config

from lib import arguments, check

original, out = arguments(2)
mx.set_default_device(mx.cpu)
out = pathlib.Path(out) / "mlx"
model, config = load_model(pathlib.Path(original))
model.set_dtype(mx.float16)


def widths(path, module):
    """Quantisation of a module by its path, as mixed recipes of mlx_lm give it."""
    if not hasattr(module, "to_quantized"):
        return False
    if "embed" in path:
        return {"group_size": 32, "bits": 8}
    return {"group_size": 64, "bits": 3} if "down_proj" in path else {"group_size": 32, "bits": 4}


model, config = quantize_model(model, config, group_size=32, bits=4, quant_predicate=widths)
out.mkdir(parents=True)
save_model(out, model)
save_config(config, out / "config.json")
check("mlx_lm writes a quantised model", (out / "model.safetensors").exists() and "quantization" in config, str(config.get("quantization")))
