"""Writes text of two small made-up worlds, owned by this project: stories, facts, sums and questions.

    python text.py --characters 60000 --seed 2 [--variant sea] > heldout.txt

The same seed gives the same text. Documents are separated by an empty line. What there is to learn:
a vocabulary, a grammar, a table of facts (which holds in every text of a variant), small sums, and, inside a
document, who did what with which thing, which questions at its end ask for.

Variants: `valley` (animals of a valley; the model in ../model is trained on it) and `sea` (sailors; other names,
places, facts and turns of phrase, the same kinds of document), for fine-tuning.
"""

import argparse
import functools
import random
import sys
from dataclasses import dataclass

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen"
).split()

LANDS = 240
STARTS = "b br c d dr f fl g gr h j k kl l m n p qu r s st t tr v w y z".split()
MIDDLES = "al an ar el em er il in ir ol on or ul un ast ell and orn ith eld ock ump ay ee oo".split()


@dataclass(frozen=True)
class World:
    """Words of a variant. `facts` are drawn once, from a seed of the world's own."""

    people: dict[str, tuple[str, str]]  # name -> (kind, pronoun)
    places: list[str]
    things: list[str]
    colours: list[str]
    weathers: list[str]
    foods: list[str]
    goods: list[str]
    rulers: list[str]
    openings: list[str]
    endings: list[str]
    land_ends: list[str]
    town_ends: list[str]
    facts_seed: int

    @functools.cached_property
    def facts(self) -> dict[str, tuple[str, str, str, str]]:
        """land -> (town, what grows or is caught there, ruler, colour of its flag), LANDS of them."""
        pick, table, used = random.Random(self.facts_seed), {}, set()

        def name(ends: list[str]) -> str:
            while True:
                made = (pick.choice(STARTS) + pick.choice(MIDDLES) + pick.choice(ends)).capitalize()
                if made not in used:
                    used.add(made)
                    return made

        while len(table) < LANDS:
            table[name(self.land_ends)] = (
                name(self.town_ends), pick.choice(self.goods), pick.choice(self.rulers), pick.choice(self.colours),
            )
        return table


VALLEY = World(
    people={
        "Mira": ("fox", "she"), "Tobin": ("badger", "he"), "Lena": ("hare", "she"), "Odo": ("mole", "he"),
        "Pip": ("mouse", "he"), "Runa": ("owl", "she"), "Bram": ("bear", "he"), "Silka": ("otter", "she"),
        "Fenn": ("hedgehog", "he"), "Willa": ("duck", "she"), "Garo": ("crow", "he"), "Nell": ("squirrel", "she"),
        "Jory": ("frog", "he"), "Isla": ("swan", "she"), "Kob": ("goat", "he"), "Tansy": ("cat", "she"),
    },
    places=[
        "the old mill", "the stone bridge", "the apple orchard", "the quiet pond", "the tall pine", "the barley field",
        "the empty barn", "the village well", "the north hill", "the garden wall",
    ],
    things=[
        "kite", "lamp", "basket", "bell", "drum", "blanket", "whistle", "boat", "ladder", "book", "scarf", "wheel",
    ],
    colours=["red", "blue", "green", "yellow", "white", "black", "golden", "grey"],
    weathers=["sunny", "rainy", "windy", "foggy", "snowy", "cold"],
    foods=["bread", "soup", "berries", "honey cake", "roasted nuts", "warm milk"],
    goods=["barley", "apples", "wool", "clay pots", "silver", "pears", "cheese", "timber"],
    rulers=["a queen", "a council", "an old king", "a judge", "two sisters", "a mayor"],
    openings=["One morning", "Yesterday", "Late in the evening", "On market day", "Before breakfast", "After the harvest"],
    endings=[
        "And so they went home together.", "From that day on they were good friends.", "Everyone in the valley heard of it.",
        "That night they slept very well.", "It was a day to remember.",
    ],
    land_ends=["ia", "or", "mark", "land", "en", "is"],
    town_ends=["ton", "ford", "bury", "wick", "by", "gate"],
    facts_seed=11,
)

SEA = World(
    people={
        "Captain Brea": ("pilot", "she"), "Old Sten": ("cook", "he"), "Marlo": ("diver", "he"), "Jessa": ("carpenter", "she"),
        "Dov": ("fisher", "he"), "Anouk": ("singer", "she"), "Rusk": ("smith", "he"), "Thea": ("doctor", "she"),
        "Corin": ("sailor", "he"), "Ylva": ("painter", "she"), "Hale": ("keeper", "he"), "Mina": ("trader", "she"),
    },
    places=[
        "the long pier", "the lighthouse", "the salt market", "the sandy cove", "the harbour gate", "the wreck",
        "the coral reef", "the upper deck", "the rope yard", "the chart room",
    ],
    things=["compass", "lantern", "net", "anchor", "flute", "map", "barrel", "flag", "oar", "shell", "rope", "spyglass"],
    colours=["red", "blue", "green", "silver", "white", "black", "copper", "grey"],
    weathers=["stormy", "calm", "misty", "windy", "hot", "cold"],
    foods=["fish stew", "ship biscuits", "dried figs", "rice", "lemon tea", "smoked eel"],
    goods=["herring", "pearls", "salt", "whale oil", "sponges", "crabs", "amber", "sailcloth"],
    rulers=["an admiral", "a guild", "a young prince", "a harbour master", "three captains", "nobody"],
    openings=["At first light", "On the third day", "When the tide was low", "After the storm", "In the dog watch", "At noon"],
    endings=[
        "Then they set sail again.", "The crew sang about it for a week.", "It was written down in the log.",
        "And the sea was quiet that night.", "Nobody on board forgot it.",
    ],
    land_ends=["ay", "holm", "ness", "isle", "os"],
    town_ends=["port", "mouth", "quay", "haven", "cliff"],
    facts_seed=23,
)

WORLDS = {"valley": VALLEY, "sea": SEA}


def story(world: World, pick: random.Random) -> str:
    """A search with a helper; the questions at its end copy from it."""
    (who, (kind, pronoun)), (friend, (friend_kind, friend_pronoun)) = pick.sample(sorted(world.people.items()), 2)
    home, first, found = pick.sample(world.places, 3)
    colour, thing, food = pick.choice(world.colours), pick.choice(world.things), pick.choice(world.foods)
    she, her = pronoun.capitalize(), "her" if pronoun == "she" else "his"
    lines = [
        f"{who} the {kind} lived near {home}.",
        f"{pick.choice(world.openings)} {who} could not find {her} {colour} {thing}.",
        f"It was a {pick.choice(world.weathers)} day.",
        f"{she} asked {friend} the {friend_kind} for help.",
        f'"Have you seen my {colour} {thing}?" said {who}.',
        pick.choice([
            f'"No," said {friend}, "but let us look for it."',
            f'"I will help you," said {friend}.',
            f'"Not today," said {friend}, "but I know where to look."',
        ]),
        f"First they went to {first}, but the {thing} was not there.",
        f"Then they went to {found}.",
        pick.choice([
            f"There was the {colour} {thing}!",
            f"And there {pronoun} saw the {colour} {thing}.",
            f"{friend} found the {colour} {thing} there.",
        ]),
        f"{who} was so glad that {pronoun} gave {friend} some {food}.",
        pick.choice(world.endings),
    ]
    questions = [
        (f"Who had lost the {thing}?", f"{who} the {kind}."),
        (f"Which colour was the {thing}?", f"It was {colour}."),
        (f"Where was the {thing}?", f"It was at {found}."),
        (f"Where did {who} live?", f"{she} lived near {home}."),
        (f"What did {friend} get?", f"{friend_pronoun.capitalize()} got some {food}."),
    ]
    for question, answer in pick.sample(questions, pick.choice([1, 2, 2, 3])):
        lines.append(f"\nQuestion: {question} Answer: {answer}")
    return " ".join(lines).replace(" \n", "\n")


def geography(world: World, pick: random.Random) -> str:
    """Two lands of the world's table, in one of three wordings."""
    texts = []
    for land, (town, goods, ruler, colour) in pick.sample(list(world.facts.items()), 2):
        texts.append(pick.choice([
            f"The capital of {land} is {town}. {land} is ruled by {ruler}. It is known for {goods}. Its flag is {colour}.",
            f"{town} is the capital of {land}. The flag of {land} is {colour}, and the land is known for {goods}. "
            f"It is ruled by {ruler}.",
            f"Travellers come to {land} for its {goods}. The flag over {town}, the capital, is {colour}. "
            f"{land} is ruled by {ruler}.",
        ]))
    return " ".join(texts)


def sums(world: World, pick: random.Random) -> str:
    """Three or four sums in words, of things of the world."""
    lines = []
    for _ in range(pick.choice([3, 4])):
        a, b = pick.randint(1, 9), pick.randint(1, 9)
        who, thing = pick.choice(sorted(world.people)), pick.choice(world.things)
        s = lambda n: thing if n == 1 else thing + ("es" if thing.endswith(("s", "x", "ch")) else "s")
        if pick.random() < 0.5:
            lines.append(
                f"{who} had {NUMBERS[a]} {s(a)} and bought {NUMBERS[b]} more. Now there were {NUMBERS[a + b]}."
            )
        else:
            lines.append(
                f"{who} had {NUMBERS[a + b]} {s(a + b)} and gave away {NUMBERS[b]}. Now there "
                f"{'was' if a == 1 else 'were'} {NUMBERS[a]}."
            )
    return " ".join(lines)


def documents(variant: str, seed: int):
    """An endless stream of documents."""
    world, pick = WORLDS[variant], random.Random(f"{variant} {seed}")
    while True:
        kind = pick.choices([story, geography, sums], [5, 5, 2])[0]
        yield kind(world, pick)


def text(variant: str, seed: int, characters: int) -> str:
    """Whole documents, separated by empty lines, of at least `characters` in all."""
    parts, size = [], 0
    for document in documents(variant, seed):
        parts.append(document)
        size += len(document) + 2
        if size >= characters:
            return "\n\n".join(parts) + "\n"
    raise AssertionError("documents() is endless")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=sorted(WORLDS), default="valley")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--characters", type=int, default=60_000)
    options = parser.parse_args()
    sys.stdout.write(text(options.variant, options.seed, options.characters))
