"""ORIGINAL OUT: the small files that `loqa init` copies to OUT/backbone, as transformers reads them."""

import pathlib

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from lib import arguments, check

original, out = arguments(2)
where = pathlib.Path(original)
options = {"gguf_file": where.name} if where.suffix == ".gguf" else {}
folder = where.parent if options else where
backbone = pathlib.Path(out) / "backbone"
texts = [
    "Mira the fox lived near the old mill.", "Once upon a time, there was a little girl.", "  two  spaces\nand a line ",
    "café naïve Straße 東京 🙂", "x=1; y = 22_333", "",
]
theirs, ours = AutoTokenizer.from_pretrained(folder, **options), AutoTokenizer.from_pretrained(backbone)
for text in texts:
    wanted, got = theirs(text).input_ids, ours(text).input_ids
    check(f"tokens of {text!r}", got == wanted and (len(got) > 0 or not text), f"{got} instead of {wanted}")
    check(f"text of the tokens of {text!r}", ours.decode(got) == theirs.decode(wanted), f"{ours.decode(got)!r}")
same = [(n, getattr(ours, n), getattr(theirs, n)) for n in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")]
check("special tokens", all(a == b for _, a, b in same), f"{same}")
AutoConfig.from_pretrained(backbone)
if (folder / "generation_config.json").exists() and not options:
    check("generation_config.json", GenerationConfig.from_pretrained(backbone).to_dict() == GenerationConfig.from_pretrained(folder).to_dict())
