"""Writes metrics.json beside this file: what the official scorers make of generated cases.

Run with Python 3.11, scikit-learn 1.9.1, scipy 1.17.1, rouge-score 0.1.2, nltk 3.10.4, numpy 2.4.6:

    python make.py

The rules of SQuAD's script (squad_v1_evaluation.py, which evaluate's metric "squad" calls) are written anew here.
All texts are this script's own.
"""

import collections
import json
import pathlib
import random
import re
import string

import nltk
import numpy as np
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer
from scipy import stats
from sklearn import metrics

HERE = pathlib.Path(__file__).parent


def jackknife(n, statistic):
    """The jackknife's standard error; None where a value left out leaves nothing to compute it from."""
    found = np.array([statistic(np.delete(np.arange(n), i)) for i in range(n)])
    if not np.isfinite(found).all():
        return None
    return float(np.sqrt((n - 1) / n * np.sum((found - found.mean()) ** 2)))


# --- classes -----------------------------------------------------------------------------------------------------


def f1(labels, found):
    return float(metrics.f1_score(labels, found, zero_division=0))


def classes():
    rng = np.random.default_rng(0)
    for case in range(120):
        k = 2 if case % 3 else int(rng.integers(3, 6))
        n = int(rng.integers(1, 60))
        labels = rng.integers(0, k, n)
        found = np.where(rng.random(n) < rng.random(), labels, rng.integers(0, k, n))
        if case % 10 == 1:
            found[:] = case % 2
        if case % 20 == 2:
            labels[:] = 1
        yield {
            "labels": labels.tolist(),
            "found": found.tolist(),
            "classes": k,
            "accuracy": float(metrics.accuracy_score(labels, found)),
            "matthews": float(metrics.matthews_corrcoef(labels, found)),
            "matthewsError": None
            if n < 2
            else jackknife(n, lambda i: metrics.matthews_corrcoef(labels[i], found[i])),
            "f1": f1(labels, found) if k == 2 else None,
            "f1Error": jackknife(n, lambda i: f1(labels[i], found[i])) if k == 2 and n > 1 else None,
        }


# --- numbers -----------------------------------------------------------------------------------------------------


def pearson(x, y):
    return float(stats.pearsonr(x, y).statistic)


def spearman(x, y):
    return float(stats.spearmanr(x, y).statistic)


def numbers():
    rng = np.random.default_rng(1)
    for case in range(100):
        n = int(rng.integers(3, 50))
        x = rng.normal(size=n)
        y = rng.normal() * x + rng.normal(size=n) * rng.random() * 3
        if case % 2:  # ties
            x, y = np.round(x), np.round(y * 2) / 2
        if case % 5 == 0:
            x, y = 1e4 + x, -3 + 1e-3 * y
        if case % 7 == 0:
            y = np.float64(np.float32(y))
        if len(set(x)) < 2 or len(set(y)) < 2:
            continue
        with np.errstate(all="ignore"):
            errors = [jackknife(n, lambda i: f(x[i], y[i])) for f in (pearson, spearman)]
        yield {
            "x": x.tolist(), "y": y.tolist(), "pearson": pearson(x, y), "spearman": spearman(x, y),
            "pearsonError": errors[0], "spearmanError": errors[1],
        }  # fmt: skip


# --- SQuAD -------------------------------------------------------------------------------------------------------


def normalize_answer(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(found, wanted):
    found, wanted = normalize_answer(found).split(), normalize_answer(wanted).split()
    same = sum((collections.Counter(found) & collections.Counter(wanted)).values())
    if same == 0:
        return 0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


ANSWER_PIECES = [
    "a", "an", "the", "The", "A.", "(the)", "Theà", "àthe", "the_x", "the-x", "1990", "1,990", "$4.5", "St. Mary's",
    "Mary’s", "É", "é", "e\u0301the", "the\u0301", "Saint", "bernadette", "Bernadette", "—the—", "the\u00a0end", "end",
    "\u2028", "\x1c", "\x85", "\ufeff", "\u200bthe", "ΑΣ", "ας", "İstanbul", "istanbul", "ß", "SS", "中the", "the中",
    "½the", "x²", "the²", "_", "_the_", "#", "%", "\t", "\n", "٣", "a1", "1a", "Ⅻ", "ⅻ", "the①", "", " ", "🙂", "a🙂",
]  # fmt: skip


def squad():
    rng = random.Random(2)
    pick = lambda most: rng.choice([" ", " ", " ", ""]).join(rng.choices(ANSWER_PIECES, k=rng.randint(0, most)))
    for _ in range(400):
        answers = [pick(6) for _ in range(rng.randint(1, 4))]
        found = rng.choice([pick(6), rng.choice(answers), rng.choice(answers).upper(), "the " + rng.choice(answers) + "."])
        yield {
            "found": found,
            "answers": answers,
            "normalized": normalize_answer(found),
            "exact": float(max(normalize_answer(found) == normalize_answer(a) for a in answers)),
            "f1": max(squad_f1(found, a) for a in answers),
        }


# --- ROUGE -------------------------------------------------------------------------------------------------------

ROOTS = (
    "run runner running argue argued arguing relate relational relative conditional condition rational valence value "
    "hesitant hesitance digitize digitizer conform conformably radical differ different vile analog analogous "
    "vietnam vietnamization predict predication operate operator feudal feudalism decisive decisiveness hope hopeful "
    "hopefulness callous callousness formal formality sensitive sensitivity sensible sensibility triplicate formative "
    "formalize electric electricity electrical good goodness revive revival allow allowance infer inference airline "
    "airliner gyroscope gyroscopic adjust adjustable defense defensible irritant replace replacement adjustment "
    "depend dependent adopt adoption homologou communism activate angular homologous effective bowdlerize probate "
    "rate cease control roll caress caresses pony ponies tie ties cat cats feed agreed plastered bled motor sing "
    "conflat troubled sized hop hopping tan tanned fall falling hiss hissing fizz fizzed fail filing file happy sky "
    "skies dying die lying lie tying news innings inning outings outing cannings canning howe proceed exceed succeed "
    "enjoy enjoys enjoyed say says said fly flies flying spy spied employ employment geology geologist philology "
    "archaeology possibly nobly fully carefully successfully skilfully easily early really usefulness biology "
    "oed ceed eed ies ied aed abies bies cries cry dry shyness by boy they yes yyy syzygy rhythm aa eau 1990s 3rd"
).split()  # fmt: skip

ENDINGS = (
    " s es ed ing ied ies eed ly y e er est able ible ment ments ness ational tional enci anci izer bli alli entli eli "
    "ousli ization ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical "
    "ful al ance ence ant ement ent ion sion tion ou ism ate iti ous ive ize ll le at bl iz tt ss zz"
).split(" ")


def stems():
    rng = random.Random(3)
    stemmer = PorterStemmer()
    words = set(ROOTS)
    while len(words) < 3000:
        root = rng.choice(ROOTS) if rng.random() < 0.5 else "".join(rng.choices("aeiouybcdlnrstwxz", k=rng.randint(1, 6)))
        words.add(root + rng.choice(ENDINGS) + (rng.choice(ENDINGS) if rng.random() < 0.4 else ""))
    return [[word, stemmer.stem(word)] for word in sorted(words)]


def summaries():
    rng = random.Random(4)
    names = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorers = [rouge_scorer.RougeScorer(names, use_stemmer=stem) for stem in (False, True)]
    extra = ["£5m", "U.S.", "İzmir", "naïve", "co-op", "don't", "K", "…", "ﬁne", "2,000", "_", "\u2028", "\x85", "École"]

    def text(words):
        out = []
        for word in words:
            word = rng.choice([word, word, word.capitalize(), word.upper()])
            out.append(word + rng.choice(["", "", "", "", ",", ".", ".\n", "\n", "\n\n", " -"]))
        return " ".join(out)

    for case in range(400):
        pool = rng.sample(ROOTS, rng.randint(3, 25)) + rng.sample(extra, 3)
        target = rng.choices(pool, k=rng.randint(0 if case % 20 == 0 else 1, 40))
        found = [w for w in target if rng.random() < 0.7] + rng.choices(pool, k=rng.randint(0, 8))
        if case % 3 == 0:
            rng.shuffle(found)
        target, found = text(target), text(found)
        if case % 50 == 7:
            found = rng.choice(["", "\n", "...", " — "])
        yield {
            "target": target,
            "found": found,
            "scores": [
                {name: list(score) for name, score in scorer.score(target, found).items()} for scorer in scorers
            ],
        }


# --- edits -------------------------------------------------------------------------------------------------------


def edits():
    rng = random.Random(5)
    for _ in range(200):
        letters = rng.choice(["ab", "abc", "ˈɛɹəkmA", "😀😁e\u0301é"])
        one = rng.choices(letters, k=rng.randint(0, 12))
        two = [c for c in one if rng.random() < 0.8] if rng.random() < 0.6 else rng.choices(letters, k=rng.randint(0, 12))
        yield ["".join(one), "".join(two), nltk.edit_distance(one, two)]


if __name__ == "__main__":
    import warnings

    warnings.filterwarnings("ignore")
    data = {
        "classes": list(classes()), "numbers": list(numbers()), "squad": list(squad()), "stems": stems(),
        "summaries": list(summaries()), "edits": list(edits()),
    }  # fmt: skip
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    (HERE / "metrics.json").write_text(text.replace('},{', '},\n{') + "\n")
