"""FOLDER: encoders that transformers writes, each with what it says, for our side to load.

FOLDER/NAME is a checkpoint, FOLDER/NAME/said.bin what `lib.encoder_says` of it. FOLDER/roberta-base has a tokenizer too,
to be trained.
"""

import pathlib

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification
from transformers import BertConfig, DebertaV2Config, RobertaConfig, RobertaTokenizerFast

from lib import arguments, check, encoder_says

(folder,) = map(pathlib.Path, arguments(1))
SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=32, initializer_range=0.3)
V3 = dict(
    relative_attention=True, position_buckets=4, max_relative_positions=-1, norm_rel_ebd="layer_norm", share_att_key=True,
    pos_att_type="p2c|c2p", position_biased_input=False, type_vocab_size=0, pooler_hidden_size=32, pooler_hidden_act="gelu",
)
V2 = V3 | dict(share_att_key=False, position_buckets=-1, conv_kernel_size=3, conv_act="gelu", pos_att_type=["c2p", "p2c"], type_vocab_size=2)
PLAIN = V3 | dict(relative_attention=False, position_biased_input=True, pos_att_type=[])
CASES = {
    "bert": (BertConfig(vocab_size=40, **SIZES), AutoModelForSequenceClassification, 3),
    "bert-spans": (BertConfig(vocab_size=40, hidden_act="gelu_new", **SIZES), AutoModelForQuestionAnswering, 2),
    "bert-base": (BertConfig(vocab_size=40, **SIZES), AutoModel, 0),
    "roberta": (RobertaConfig(vocab_size=300, type_vocab_size=1, **SIZES), AutoModelForSequenceClassification, 3),
    "roberta-base": (RobertaConfig(vocab_size=300, type_vocab_size=1, **SIZES), AutoModel, 0),
    "deberta-v3": (DebertaV2Config(vocab_size=40, **SIZES, **V3), AutoModelForSequenceClassification, 3),
    "deberta-v3-number": (DebertaV2Config(vocab_size=40, **SIZES, **V3), AutoModelForSequenceClassification, 1),
    "deberta-v2-spans": (DebertaV2Config(vocab_size=40, **SIZES, **V2), AutoModelForQuestionAnswering, 2),
    "deberta-plain": (DebertaV2Config(vocab_size=40, **SIZES, **PLAIN), AutoModelForSequenceClassification, 2),
}
# Of a published DeBERTaV3: what stands in its files beside the model that is run here.
EXTRA = {
    "deberta.embeddings.position_embeddings.weight": (32, 32), "mask_predictions.dense.weight": (32, 32),
    "mask_predictions.LayerNorm.weight": (32,), "lm_predictions.lm_head.dense.weight": (32, 32), "lm_predictions.lm_head.bias": (40,),
}
PUBLISHED = {
    "bert": ["bert.encoder.layer.0.attention.self.query.weight", "bert.pooler.dense.weight", "classifier.weight"],
    "roberta": ["roberta.encoder.layer.1.output.dense.bias", "classifier.dense.weight", "classifier.out_proj.bias"],
    "roberta-base": ["embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.key.bias"],
    "deberta-v3": ["deberta.encoder.rel_embeddings.weight", "deberta.encoder.LayerNorm.weight", "deberta.encoder.layer.0.attention.self.query_proj.weight", "pooler.dense.bias"],
    "deberta-v2-spans": ["deberta.encoder.conv.conv.weight", "deberta.encoder.layer.0.attention.self.pos_key_proj.weight", "qa_outputs.weight"],
}


torch.manual_seed(2)
for name, (config, kind, labels) in CASES.items():
    if labels and kind is AutoModelForSequenceClassification:
        config.num_labels = labels
    model = kind.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Zeros and ones, as norms and biases begin, would hide one that is left out.
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder / name)
    values = encoder_says(model)
    check(f"{name} says something", values.std().item() > 0.1 and bool(torch.isfinite(values).all()), f"{values.std()}")
    values.numpy().tofile(folder / name / "said.bin")

for name, wanted in PUBLISHED.items():
    with safe_open(folder / name / "model.safetensors", "pt") as file:
        missing = set(wanted) - set(file.keys())
    check(f"{name} has the published names", not missing, f"without {missing}")

path = folder / "deberta-v3" / "model.safetensors"
state = load_file(path) | {name: torch.randn(shape) for name, shape in EXTRA.items()}
save_file(state, path, {"format": "pt"})

# As in BERT's first files.
path = folder / "bert" / "model.safetensors"
old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
renamed = {}
for name, tensor in load_file(path).items():
    for new, first in old.items():
        name = name.replace(new, first)
    renamed[name] = tensor
save_file(renamed, path, {"format": "pt"})
again = encoder_says(AutoModelForSequenceClassification.from_pretrained(folder / "bert"))
check("transformers reads norms by gamma and beta", torch.equal(again, torch.from_file(str(folder / "bert" / "said.bin"), size=again.numel())))

bpe = ByteLevelBPETokenizer()
words = "the film is a very story and of good fine great warm bad dull cold poor".split()
bpe.train_from_iterator([" ".join(words)] * 4, vocab_size=300, min_frequency=1, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
check("the tokenizer fits the model", bpe.get_vocab_size() <= 300, f"{bpe.get_vocab_size()}")
RobertaTokenizerFast(tokenizer_object=bpe._tokenizer).save_pretrained(folder / "roberta-base")
