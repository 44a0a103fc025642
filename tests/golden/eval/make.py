"""Writes train.json and eval.json beside this file: what the peers make of training data and of evaluations.

Run with Python 3.11, transformers 5.23.0, torch 2.13, numpy 2.4.6:

    python make.py

Schedules and step counts come from transformers itself. Prompts, masks and the reading of answers follow the
published rules, written anew here:

- masks: tatsu-lab/stanford_alpaca train.py, yxli2123/LoftQ train_gsm8k.py
- GSM8K: yxli2123/LoftQ test_gsm8k.py, openai/grade-school-math dataset.py
- MMLU: hendrycks/test evaluate_hf.py, categories.py
- choices: EleutherAI/lm-evaluation-harness, tasks/{super_glue/boolq,piqa,siqa,hellaswag,winogrande,arc,openbookqa}
  and TemplateLM._encode_pair
- windows: transformers, docs/source/en/perplexity.md

All texts are this script's own. The toy tokenizer is that of tests/unit/data/codec.ts.
"""

import csv
import io
import json
import math
import pathlib
import random
import re

import numpy as np
import torch
from transformers import Trainer, TrainingArguments, get_scheduler

HERE = pathlib.Path(__file__).parent
BOS, EOS, IGNORED = 1, 2, -100


# --- the toy tokenizer -------------------------------------------------------------------------------------------


def encode(text, special=True):
    ids = [BOS] if special else []
    for piece in re.findall(r" ?[A-Za-z]+| ?[0-9]|.", text, re.DOTALL):
        state = 0x811C9DC5
        for byte in piece.encode():
            state = (state ^ byte) * 0x01000193 & 0xFFFFFFFF
        ids.append(state % 50000 + 10)
    return ids


# --- training ----------------------------------------------------------------------------------------------------


def schedules():
    for name in ["constant", "linear", "cosine"]:
        for steps, warmup in [(120, 10), (7, 0), (50, 50), (5, 8), (1, 0), (33, 1)]:
            peer = "constant_with_warmup" if name == "constant" else name
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            scheduler = get_scheduler(peer, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
            factors = []
            for _ in range(steps + 3):
                factors.append(scheduler.get_last_lr()[0])
                optimizer.step()
                scheduler.step()
            yield {"name": name, "steps": steps, "warmup": warmup, "factors": factors}


def warmups():
    for steps, ratio in [(120, 0.03), (7, 0.5), (1000, 0.06), (3, 0.0), (10, 0.25)]:
        arguments = TrainingArguments(output_dir="/tmp/unused", warmup_steps=ratio, use_cpu=True)
        yield {"steps": steps, "ratio": ratio, "warmup": arguments.get_warmup_steps(steps)}


def step_counts():
    for examples, batch, accumulation, steps, epochs in [
        (100, 8, 1, None, 3), (100, 8, 4, None, 3), (7, 8, 2, None, 1), (7473, 16, 4, None, 6),
        (65, 4, 3, None, 0.5), (65, 4, 3, 40, None), (10, 3, 1, 4, None), (10, 3, 2, 5, None), (64, 4, 4, None, 2.25),
    ]:  # fmt: skip
        arguments = TrainingArguments(
            output_dir="/tmp/unused", use_cpu=True, per_device_train_batch_size=batch, report_to=[],
            gradient_accumulation_steps=accumulation, max_steps=steps or -1, num_train_epochs=epochs or 3,
        )  # fmt: skip
        data = torch.utils.data.TensorDataset(torch.zeros(examples))
        trainer = Trainer(model=torch.nn.Linear(1, 1), args=arguments, train_dataset=data)
        loader = torch.utils.data.DataLoader(data, batch_size=batch)
        found = trainer.set_initial_training_values(arguments, loader)
        yield {
            "examples": examples, "batch": batch, "accumulation": accumulation, "steps": steps, "epochs": epochs,
            "plan": {"epochs": found[0], "stepsPerEpoch": found[1], "batchesPerEpoch": found[5], "steps": found[6]},
        }  # fmt: skip


ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
ALPACA_PLAIN = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
QUESTION_PROMPT = "\nAnswer the above question. First think step by step and then answer the final number.\n"
ANSWER_PROMPT = "The final answer is: "


def masks():
    records = [
        {"instruction": "Name a colour.", "input": "", "output": "Red"},
        {"instruction": "Name a colour.", "output": " Blue, or red"},
        {"instruction": "Add the numbers.", "input": "3 and 4", "output": "\n7"},
        {"instruction": "Grüße übersetzen: {input}", "input": "Grüße 😀", "output": "Greetings {instruction}"},
        {"question": "Ann has 3 pears and eats 1. How many are left?", "answer": "3-1=<<3-1=2>>2 pears\n#### 2"},
        {"question": "A farm sells 1,200 eggs twice.", "answer": "1,200*2=<<1200*2=2400>>2,400\n#### 2,400"},
        {"prompt": "Q: two\nA:", "completion": " 2"},
        {"prompt": "", "completion": "a text of its own"},
    ]
    for record in records:
        if "instruction" in record:
            source = (ALPACA_INPUT if record.get("input") else ALPACA_PLAIN).format_map(record)
            target = record["output"]
        elif "question" in record:
            source = record["question"] + QUESTION_PROMPT
            target = record["answer"].replace("####", ANSWER_PROMPT)
        else:
            source, target = record["prompt"], record["completion"]
        ids = encode(source + target) + [EOS]
        labels = list(ids)
        n = len(encode(source))
        labels[:n] = [IGNORED] * n
        yield {"record": record, "tokens": ids, "labels": labels}


# --- GSM8K -------------------------------------------------------------------------------------------------------


def loftq_rule(text):
    text = text.replace(",", "")
    numbers = re.findall(r"-?\d+\.?\d*", text)
    if not numbers:
        return None
    parts = text.split(ANSWER_PROMPT)
    if len(parts) > 1:
        behind = re.findall(r"-?\d+\.?\d*", parts[1])
        if behind:
            return float(behind[0])
    return float(numbers[-1])


def strict_rule(text):
    match = re.search(r"#### (\-?[0-9\.\,]+)", text)
    return match.group(1).strip().replace(",", "") if match else None


def extractions():
    rng = random.Random(0)
    pieces = [
        "The final answer is: ", "The final answer is:", "#### ", "####", "12", "-7", "3.5", "1,234,567", "$40.", "5.",
        "-", " ", "\n", "so ", "x", "0", "%", ".", ",", "<<2*3=6>>", "007", "2-1", "The answer is 9.",
    ]  # fmt: skip
    texts = ["", "no number", "#### 5\n#### 6", "The final answer is:  18", "1. first\nThe final answer is: x 3 4"]
    texts += ["".join(rng.choices(pieces, k=rng.randint(1, 8))) for _ in range(300)]
    return [{"text": text, "loftq": loftq_rule(text), "strict": strict_rule(text)} for text in texts]


# --- MMLU --------------------------------------------------------------------------------------------------------

SUBCATEGORIES = {
    "math": "abstract_algebra college_mathematics elementary_mathematics high_school_mathematics high_school_statistics",
    "health": "anatomy clinical_knowledge college_medicine human_aging medical_genetics nutrition "
    "professional_medicine virology",
    "physics": "astronomy college_physics conceptual_physics high_school_physics",
    "business": "business_ethics management marketing",
    "biology": "college_biology high_school_biology",
    "chemistry": "college_chemistry high_school_chemistry",
    "computer science": "college_computer_science computer_security high_school_computer_science machine_learning",
    "economics": "econometrics high_school_macroeconomics high_school_microeconomics",
    "engineering": "electrical_engineering",
    "philosophy": "formal_logic logical_fallacies moral_disputes moral_scenarios philosophy world_religions",
    "other": "global_facts miscellaneous professional_accounting",
    "history": "high_school_european_history high_school_us_history high_school_world_history prehistory",
    "geography": "high_school_geography",
    "politics": "high_school_government_and_politics public_relations security_studies us_foreign_policy",
    "psychology": "high_school_psychology professional_psychology",
    "culture": "human_sexuality sociology",
    "law": "international_law jurisprudence professional_law",
}
CATEGORIES = {
    "STEM": ["physics", "chemistry", "biology", "computer science", "math", "engineering"],
    "humanities": ["history", "philosophy", "law"],
    "social sciences": ["politics", "culture", "economics", "geography", "psychology"],
    "other (business, health, misc.)": ["other", "business", "health"],
}


CONTEXT = 345


def mmlu():
    rng = random.Random(1)
    words = "alpha beta gamma, \"delta\" H2O x^2+1 3.50 \n naïve True,False None".split(" ")
    pick = lambda k: " ".join(rng.choices(words, k=k)).strip() or "alpha"
    place = {s: f for f, names in SUBCATEGORIES.items() for s in names.split()}
    asked, prompts, hits, files = [], [], {}, {}
    for subject in ["abstract_algebra", "astronomy", "professional_law", "virology"]:
        rows = {
            split: [[pick(rng.randint(3, 12)), *(pick(2) for _ in range(4)), rng.choice("ABCD")] for _ in range(count)]
            for split, count in [("dev", 5), ("test", rng.randint(4, 9))]
        }
        for split, table in rows.items():
            text = io.StringIO()
            csv.writer(text).writerows(table)
            numbered = io.StringIO()
            csv.writer(numbered).writerows(
                [["question", "choice0", "choice1", "choice2", "choice3", "answer"]]
                + [[*row[:5], "ABCD".index(row[5])] for row in table]
            )
            files[f"{subject}_{split}"] = {"plain": text.getvalue(), "header": numbered.getvalue()}

        def shown(row, answer):
            text = row[0] + "".join(f"\n{letter}. {row[j + 1]}" for j, letter in enumerate("ABCD")) + "\nAnswer:"
            return text + (f" {row[5]}\n\n" if answer else "")

        head = "The following are multiple choice questions (with answers) about {}.\n\n"
        for row in rows["test"]:
            shots = 5
            while True:
                prompt = head.format("".join(" " + w for w in subject.split("_")))
                prompt += "".join(shown(r, True) for r in rows["dev"][:shots]) + shown(row, False)
                if len(encode(prompt)) <= CONTEXT or shots == 0:
                    break
                shots -= 1
            scores = [round(rng.uniform(-5, 0), 3) for _ in range(4)]
            prompts.append({"prompt": prompt, "shots": shots, "scores": scores})
            hits.setdefault(subject, []).append(float("ABCD"[int(np.argmax(scores))] == row[5]))
        asked.append(subject)
    groups = {"subjects": hits, "fields": {}, "categories": {}}
    for subject, values in hits.items():
        field = place[subject]
        category = next(c for c, fields in CATEGORIES.items() if field in fields)
        groups["fields"].setdefault(field, []).extend(values)
        groups["categories"].setdefault(category, []).extend(values)
    return {
        "contextLength": CONTEXT, "subjects": asked, "files": files, "prompts": prompts,
        "accuracy": np.mean(np.concatenate(list(hits.values()))),
        "macro": np.mean([np.mean(v) for v in hits.values()]),
        "groups": {g: {k: np.mean(v) for k, v in d.items()} for g, d in groups.items()},
        "places": {s: [f, next(c for c, fs in CATEGORIES.items() if f in fs)] for s, f in sorted(place.items())},
    }  # fmt: skip


# --- choices -----------------------------------------------------------------------------------------------------


def pair(context, continuation):
    spaces = len(context) - len(context.rstrip())
    if spaces:
        continuation = context[-spaces:] + continuation
        context = context[:-spaces]
    whole = encode(context + continuation)
    return whole[: len(encode(context))], whole[len(encode(context)) :]


def preprocess(text):
    text = text.strip().replace(" [title]", ". ")
    return re.sub("\\[.*?\\]", "", text).replace("  ", " ")


def commonsense():
    """Documents as lm-evaluation-harness has them, their prompts, and the same in LLM-Adapters' words."""
    choose = "Please choose the correct "
    listed = lambda label, choices, gap: gap.join(f"{label}{i + 1}: {c}" for i, c in enumerate(choices))
    form = lambda label, n: "Answer format: " + "/".join(f"{label}{i + 1}" for i in range(n))
    docs = [
        ("boolq", {"q": "is the sea salt", "gold": 0}),
        ("boolq", {"q": "do cows fly", "gold": 1}),
        ("piqa", {"q": "dry a wet shoe", "c": ["Stuff it with paper.", "Put it in a lake: twice."], "gold": 0}),
        ("social_i_qa", {"q": "Kim left early. How would you describe Kim?", "c": ["late", "in a hurry", "wet"], "gold": 1}),
        ("hellaswag", {"q": "Cooking: A man stirs [step] a pot. he [title] Then",
                       "c": ["adds  salt.", "[header] sings", "runs off, quickly", "is a pot"], "gold": 2}),
        ("winogrande", {"q": "Ann called Bea because _ was lost.", "c": ["Ann", "Bea"], "gold": 0}),
        ("ARC-Easy", {"q": "What is hot? Answer: think", "c": ["ice", "fire", "fog", "milk", "H2O"], "gold": 1}),
        ("ARC-Challenge", {"q": "Which grows?", "c": ["a stone", "a tree", "ein Grüßle"], "gold": 2}),
        ("openbookqa", {"q": "Birds\nhave", "c": ["wings", "wheels", "gills 😀", "a"], "gold": 0}),
    ]  # fmt: skip
    rng = random.Random(2)
    for name, doc in docs:
        q, c = doc["q"], doc.get("c")
        if name == "boolq":
            pairs = [(f"Question: {q}?\nAnswer:", " yes"), (f"Question: {q}?\nAnswer:", " no")]
            texts, answer = ["yes", "no"], ["true", "false"][doc["gold"]]
            text = f"Please answer the following question with true or false, question: {q}?\n\nAnswer format: true/false"
        else:
            label = {"piqa": "Solution", "hellaswag": "Ending", "winogrande": "Option"}.get(name, "Answer")
            what = {
                "piqa": "solution to the question", "hellaswag": "ending to complete the given sentence",
                "winogrande": "answer to fill in the blank to complete the given sentence",
            }.get(name, "answer to the question")  # fmt: skip
            gap = "\n\n" if name == "piqa" else " "
            end = " " if name == "winogrande" else "\n\n"
            text = f"{choose}{what}: {q}\n\n{listed(label, c, gap)}{end}{form(label.lower(), len(c))}"
            answer = f"{label.lower()}{doc['gold'] + 1}"
            texts = c
            if name == "winogrande":
                at = q.index("_")
                pairs = [(q[:at] + option, " " + q[at + 1 :].strip()) for option in c]
            else:
                if name == "hellaswag":
                    q, texts = preprocess(q), [preprocess(choice) for choice in c]
                context = {
                    "piqa": f"Question: {q}\nAnswer:", "social_i_qa": f"Q: {q}\nA:", "hellaswag": q, "openbookqa": q,
                }.get(name, f"Question: {q}\nAnswer:")  # fmt: skip
                pairs = [(context, f" {choice}") for choice in texts]
        for _ in range(4):
            scores = [round(rng.uniform(-30, -1), 2) for _ in pairs]
            lengths = [np.array([float(len(t)) for t in texts]), np.array([float(len(t.encode())) for t in texts])]
            yield {
                "name": name,
                "record": {"instruction": text, "input": "", "output": f"the correct answer is {answer}", "answer": answer},
                "gold": doc["gold"],
                "rows": [pair(*p) for p in pairs],
                "scores": scores,
                "picks": [int(np.argmax(s)) for s in [scores, *(np.array(scores) / n for n in lengths)]],
            }


# --- perplexity and statistics -----------------------------------------------------------------------------------


def windows():
    for count, block, stride in [(100, 16, 8), (100, 16, 16), (97, 10, 3), (5, 16, 4), (64, 16, 1), (33, 16, 16)]:
        found, previous = [], 0
        for begin in range(0, count, stride):
            end = min(begin + block, count)
            # The loss shifts labels by one, so a window's own first token is never scored.
            first = max(previous, begin + 1)
            if first < end:
                found.append([begin, first, end])
            previous = end
            if end == count:
                break
        yield {"count": count, "block": block, "stride": stride, "windows": found}


def statistics():
    rng = np.random.default_rng(3)
    values = rng.normal(2, 1, 40)
    counts = np.full(40, 511)
    hits = rng.integers(0, 2, 37).astype(float)
    parts = [rng.integers(0, 2, n).astype(float) for n in (20, 30, 50)]
    error = lambda v: v.std(ddof=1) / math.sqrt(len(v))
    # The ratio's error by the jackknife, another way to the same limit.
    uneven = rng.integers(5, 60, 400).astype(float)
    sums = uneven * 2.5 + rng.normal(0, 1, 400) * np.sqrt(uneven)
    left = (sums.sum() - sums) / (uneven.sum() - uneven)
    return {
        "values": values.tolist(), "mean": values.mean(), "error": error(values),
        "hits": hits.tolist(), "proportion": hits.mean(), "proportionError": error(hits),
        "parts": [p.tolist() for p in parts], "macro": np.mean([p.mean() for p in parts]),
        "macroError": math.sqrt(sum(error(p) ** 2 for p in parts)) / 3,
        "sums": (values * counts).tolist(), "counts": counts.tolist(),
        "perplexity": math.exp(values.mean()), "perplexityError": math.exp(values.mean()) * error(values),
        "unevenSums": sums.tolist(), "unevenCounts": uneven.tolist(), "ratio": sums.sum() / uneven.sum(),
        "jackknife": math.sqrt(399 / 400 * ((left - left.mean()) ** 2).sum()),
    }  # fmt: skip


def write(name, data):
    text = json.dumps(data, indent=1, ensure_ascii=False, default=float)
    # Lists of numbers on one line.
    text = re.sub(r"\[[\s\d.,eE+-]*\]", lambda m: re.sub(r"\s+", "", m.group()), text)
    (HERE / name).write_text(text + "\n")


write(
    "train.json",
    {
        "schedules": list(schedules()),
        "warmups": list(warmups()),
        "steps": list(step_counts()),
        "masks": list(masks()),
    },
)
write(
    "eval.json",
    {
        "gsm8k": extractions(),
        "mmlu": mmlu(),
        "commonsense": list(commonsense()),
        "windows": list(windows()),
        "statistics": statistics(),
    },
)
