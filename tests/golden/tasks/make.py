"""Writes tasks.json beside this file: how Hugging Face's libraries cut pairs of texts, which characters their tokens
stand for, and what the processor of run_squad.py makes of questions and of scores.

Run with Python 3.11, transformers 4.46.3 (5 has that processor no more), tokenizers 0.20.3, numpy 1.26.4:

    python make.py

The tokenizers are those of tests/golden/tokenizer. All texts are this script's own, of words of
examples/model/train-sample.txt.
"""

import json
import pathlib
import random
import tempfile

from transformers import BartTokenizerFast, BertTokenizer, BertTokenizerFast, PreTrainedTokenizerFast
from transformers.data.metrics import squad_metrics
from transformers.data.processors import squad

HERE = pathlib.Path(__file__).resolve().parent
TOKENIZERS = HERE.parent / "tokenizer"
WORDS = (HERE.parents[2] / "examples/model/train-sample.txt").read_text().split()
ODD = [
    "Béyoncé", "(1990–1995)", "$4.5", "don't", "co-op", "naïve", "St.", "“quoted”", "e\u0301t", "中文", "Zürich,", "(John",
    "U.S.", "...", "x²", "½", "ﬁne", "ＡＢ", "İzmir", "🙂", "a🙂b", "\u200b", "END.", "WWII", "[1]", "\u00a0",
]  # fmt: skip

FAST = {
    "wordpiece": BertTokenizerFast(str(TOKENIZERS / "wordpiece/vocab.txt")),
    "bart": BartTokenizerFast(str(TOKENIZERS / "bart/vocab.json"), str(TOKENIZERS / "bart/merges.txt")),
    "unigram-json": PreTrainedTokenizerFast.from_pretrained(TOKENIZERS / "unigram-json"),
}


def text(rng, count, odd=0.15):
    words = [rng.choice(ODD) if rng.random() < odd else rng.choice(WORDS) for _ in range(count)]
    return " ".join(words)


def cuts():
    rng = random.Random(0)
    for name, tokenizer in FAST.items():
        for case in range(40):
            first = text(rng, rng.randint(1, 12))
            second = text(rng, rng.randint(1, 12)) if case % 4 else None
            length = len(tokenizer(first, second)["input_ids"])
            context = rng.randint(5, max(6, length + 2))
            made = tokenizer(
                first, second, truncation="longest_first", max_length=context, return_token_type_ids=True
            )
            yield {
                "tokenizer": name, "first": first, "second": second, "context": context,
                "length": length, "ids": made["input_ids"], "typeIds": made["token_type_ids"],
            }  # fmt: skip


def offsets():
    rng = random.Random(1)
    for name, tokenizer in FAST.items():
        for case in range(30):
            document = text(rng, rng.randint(1, 15), odd=0 if case % 3 == 0 else 0.3)
            made = tokenizer(document, add_special_tokens=False, return_offsets_mapping=True)
            yield {
                "tokenizer": name, "text": document, "ids": made["input_ids"],
                "offsets": [list(pair) for pair in made["offset_mapping"]],
            }  # fmt: skip


SLOW = BertTokenizer(str(TOKENIZERS / "wordpiece/vocab.txt"))


def questions():
    """
    Questions, their windows, and answers from random scores. No stride is longer than the room for the text: there
    the processor skips tokens, which BERT's own run_squad.py does not.
    """
    rng = random.Random(2)
    fast = FAST["wordpiece"]
    for case in range(60):
        words = [rng.choice(ODD[:12]) if rng.random() < 0.1 else rng.choice(WORDS) for _ in range(rng.randint(3, 70))]
        context = ("" if case % 3 else "  ") + "".join(w + rng.choice([" ", " ", " ", "  ", "\n", " \u202f"]) for w in words)
        question = text(rng, rng.randint(1, 12), odd=0.05)
        most, stride, query = rng.choice([(32, 8, 8), (40, 16, 12), (64, 32, 16), (384, 128, 64), (60, 40, 10)])
        at = rng.randrange(len(words))
        span = words[at : at + rng.randint(1, 4)]
        position = len(context) - len(context.lstrip())
        for word in words[:at]:
            position = context.index(word, position) + len(word)
        start = context.index(span[0], position)
        end = start
        for word in span:
            end = context.index(word, end) + len(word)
        answer = context[start:end]
        example = squad.SquadExample(f"q{case}", question, context, answer, start, "", answers=[{"text": answer, "answer_start": start}])
        squad.squad_convert_example_to_features_init(SLOW)
        features = squad.squad_convert_example_to_features(example, most, stride, query, "max_length", True)
        made = fast(context, add_special_tokens=False, return_offsets_mapping=True)
        spans, results, windows = {}, [], []
        for number, feature in enumerate(features):
            length = sum(feature.attention_mask)
            scores = [[rng.uniform(-3, 3) for _ in range(length)] for _ in range(2)]
            if case % 2:  # a likely answer somewhere
                i = rng.randrange(length)
                scores[0][i] += 6
                scores[1][min(length - 1, i + rng.randint(0, 5))] += 6
            scores = [[round(v, 4) for v in row] for row in scores]
            feature.example_index, feature.unique_id = 0, number
            padded = [row + [-1e4] * (most - length) for row in scores]
            results.append(squad.SquadResult(number, *padded))
            windows.append({
                "ids": feature.input_ids[:length], "typeIds": feature.token_type_ids[:length],
                "start": feature.start_position, "end": feature.end_position, "scores": scores,
            })  # fmt: skip
            first = min(feature.token_to_orig_map)
            for i in feature.token_to_orig_map:
                spans[number, i] = number * stride + i - first
        best, longest = rng.choice([(20, 30), (5, 30), (20, 3), (3, 2)])
        with tempfile.NamedTemporaryFile("r") as file:
            [prediction] = squad_metrics.compute_predictions_logits(
                [example], features, results, best, longest, True, None, file.name, None, False, False, 0.0, SLOW
            ).values()
            [[chosen, *_]] = json.load(file).values()
        cut = ""
        if prediction != "empty":
            # The scores tell the tokens; the fast tokenizer's offsets the characters.
            places = [
                (spans[n, i], spans[n, j])
                for n, window in enumerate(windows)
                for i, a in enumerate(window["scores"][0]) if a == chosen["start_logit"] and (n, i) in spans
                for j, b in enumerate(window["scores"][1]) if b == chosen["end_logit"] and (n, j) in spans
            ]  # fmt: skip
            texts = {context[made["offset_mapping"][i][0] : made["offset_mapping"][j][1]] for i, j in places}
            assert len(texts) == 1, (places, texts)
            [cut] = texts
        yield {
            "question": question, "context": context, "answer": answer, "start": start, "most": most, "stride": stride,
            "maxQuestion": query, "windows": windows, "best": best, "maxAnswer": longest, "cut": cut,
            "official": "" if prediction == "empty" else prediction,
        }  # fmt: skip


if __name__ == "__main__":
    data = {"cuts": list(cuts()), "offsets": list(offsets()), "questions": list(questions())}
    encoded = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    (HERE / "tasks.json").write_text(encoded.replace("},{", "},\n{") + "\n")
    same = sum(q["cut"] == q["official"] for q in data["questions"])
    print(len(data["cuts"]), len(data["offsets"]), len(data["questions"]), "same text:", same)
