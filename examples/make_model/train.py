"""Trains the small LLaMA in ../model on the text of text.py, and writes it in the Hugging Face layout.

    python train.py [--steps 1600] [--threads 1] [--out ../model]

Needs torch, transformers and tokenizers (versions in README.md). Same seed and thread count, same machine: same model.
"""

import argparse
import json
import math
import pathlib
import time

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from text import documents, text

END = "<|endoftext|>"
VOCABULARY, WINDOW, BATCH = 768, 256, 16
TRAIN_SEED, HELDOUT_SEED = 1, 2


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, merges learnt from 1 MB of the training text and a little of the other variant."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([text("valley", TRAIN_SEED, 1_000_000), text("sea", TRAIN_SEED, 100_000)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=END, eos_token=END, model_max_length=512, clean_up_tokenization_spaces=False,
    )


def token_stream(tokenizer: PreTrainedTokenizerFast, tokens: int) -> torch.Tensor:
    """Pages of five documents, each page between end-of-text tokens."""
    out, page = [tokenizer.eos_token_id], []
    for document in documents("valley", TRAIN_SEED):
        page.append(document)
        if len(page) == 5:
            out += tokenizer("\n\n".join(page) + "\n").input_ids + [tokenizer.eos_token_id]
            page = []
        if len(out) >= tokens:
            return torch.tensor(out)
    raise AssertionError("documents() is endless")


@torch.no_grad()
def perplexity(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, sample: str) -> tuple[float, float, int]:
    """(perplexity a token, bits a character, tokens) over windows of 512 that do not overlap, each after one BOS."""
    ids = torch.tensor(tokenizer(sample).input_ids)
    total, count = 0.0, 0
    for at in range(0, len(ids), 511):
        window = torch.cat([torch.tensor([tokenizer.bos_token_id]), ids[at : at + 511]])
        logits = model(input_ids=window[None]).logits[0, :-1].float()
        total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
        count += len(window) - 1
    return math.exp(total / count), total / math.log(2) / len(sample), count


@torch.no_grad()
def round_trip(model: torch.nn.Module, levels: list[float]) -> None:
    """Plain round-to-nearest of every linear layer in place: blocks of 64, absmax, the given codebook."""
    table = torch.tensor(levels)
    for name, parameter in model.named_parameters():
        if "proj" in name:
            blocks = parameter.float().reshape(-1, 64)
            scale = blocks.abs().amax(1, keepdim=True)
            codes = (blocks / scale)[..., None].sub(table).abs().argmin(-1)
            parameter.copy_((table[codes] * scale).reshape(parameter.shape))


NF4 = [
    -1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0, 0.0795803, 0.1609302,
    0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
]
NF3 = [-1.0, -0.47862916, -0.21714182, 0.0, 0.16093017, 0.3379152, 0.56261697, 1.0]
NF2 = [-1.0, 0.0, 0.33791524, 1.0]


def report(folder: pathlib.Path) -> None:
    """Prints the figures that README.md quotes."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    heldout = (folder / "heldout.txt").read_text()
    for label, levels in [("bf16", None), ("plain nf4", NF4), ("plain nf3", NF3), ("plain nf2", NF2)]:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        if levels:
            round_trip(model, levels)
        rows = [perplexity(model, tokenizer, heldout)]
        if not levels:
            rows.append(perplexity(model, tokenizer, text("sea", HELDOUT_SEED, 60_000)))
        for where, (ppl, bits, count) in zip(["heldout.txt", "sea variant"], rows):
            print(f"{label:10s} {where}: perplexity {ppl:.4f} ({count} tokens), {bits:.4f} bits a character", flush=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for prompt in ["Mira the fox lived near", "Travellers come to"]:
        ids = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=60, do_sample=False)
        print(tokenizer.decode(ids[0]))


def edit(path: pathlib.Path, **changes: str | None) -> None:
    """Sets keys of a JSON file, or takes them away."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if k not in changes or v is not None}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "model")
    parser.add_argument("--report", action="store_true", help="only print the figures of the model that is there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.report:
        return report(options.out)

    tokenizer = make_tokenizer()
    stream = token_stream(tokenizer, 4_000_000)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=320, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    ))
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    peak, warmup = 4e-3, 60
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=peak, betas=(0.9, 0.98),
    )
    starts = torch.nonzero(stream[: -2 * WINDOW - 1] == tokenizer.eos_token_id)[:, 0]
    began = time.time()
    for step in range(options.steps):
        done = step / options.steps
        rate = peak * min((step + 1) / warmup, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        # Half of the windows begin a page, as a prompt does; every eighth batch has the whole context in it.
        window, batch = (2 * WINDOW, BATCH // 2) if step % 8 == 7 else (WINDOW, BATCH)
        at = torch.randint(0, len(stream) - window - 1, (batch,))
        at[: batch // 2] = starts[torch.randint(0, len(starts), (batch // 2,))]
        x = torch.stack([stream[i : i + window + 1] for i in at.tolist()])
        logits = model(input_ids=x[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0 or step == options.steps - 1:
            print(f"step {step} loss {loss.item():.4f} after {time.time() - began:.0f} s", flush=True)

    options.out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    (options.out / "heldout.txt").write_text(text("valley", HELDOUT_SEED, 60_000))
    (options.out / "train-sample.txt").write_text(text("valley", TRAIN_SEED, 60_000))
    (options.out / "sea-sample.txt").write_text(text("sea", TRAIN_SEED, 30_000))
    edit(options.out / "config.json", transformers_version=None)
    edit(options.out / "generation_config.json", transformers_version=None, _from_model_config=None)
    # The name that transformers 4 knows as well.
    edit(options.out / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", backend=None)
    (options.out / "model.safetensors").chmod(0o644)
    report(options.out)


if __name__ == "__main__":
    main()
