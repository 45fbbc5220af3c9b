"""Labels first against texts first, both written by the embedded SM: which of them teaches a classifier more."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from understudy.agents import catalog_of
from understudy.corpus import RunFolder
from understudy.graphs import run
from understudy.graphs.quotas import label_of
from understudy.models import Constraint, Embedder, Request, close_sms, open_embedder, open_sms
from understudy.nouns import Seed
from understudy.recipe import Recipe

pytestmark = pytest.mark.slow

SIZE = 64
TOOLS = (
    "A vegetable peeler takes the skin off carrots and potatoes. It has a steel blade and a soft handle.",
    "An electric kettle boils a litre of water in three minutes and switches itself off.",
    "A frying pan with a non-stick coating lets eggs slide. Its handle stays cool.",
    "A kitchen scale weighs flour to the gram and runs on two batteries.",
    "A toaster browns two slices of bread and has a tray for crumbs.",
    "A chef's knife cuts onions and meat. It is sharpened once a month.",
    "A blender mixes soup and smoothies in a glass jug with a lid.",
    "A box grater has four sides for cheese, lemon peel and ginger.",
)
# Written by hand for this test, before anything was measured.
TEST = {
    "satisfied": """I use it every morning and it has never let me down.
Best money I have spent on my kitchen in years.
It cuts like a dream and sits well in the hand.
My mother borrowed it and now wants one too.
Works perfectly, easy to clean, lovely to look at.
I would buy it again without a second thought.
Quick, quiet and sturdy: exactly what I hoped for.
After two years it still looks and works like new.
A great little helper that makes cooking fun.
The soup came out smooth and delicious.
It arrived early and does everything the seller promised.
Fantastic quality for such a small price.
I recommend it to all my friends.
Finally a tool that does its job beautifully.
The handle is comfortable and the blade stays sharp.
We love it and use it for everything.
It heats fast and evenly, I am delighted.
Simple, solid, and a joy to use.
Wonderful gift, she was so pleased.
It saves me half an hour every evening.""",
    "dissatisfied": """It broke after three days and nobody answers my letters.
Waste of money, the lid leaks all over the table.
The blade was blunt from the start.
I want my money back.
Mine stopped working within a week.
It smells of burning plastic and I am afraid to use it.
The handle came off in my hand and I got burnt.
Terrible quality, do not buy this.
It is far too loud and wakes the whole house.
Half of the parts were missing from the box.
Everything sticks to it and cleaning is a nightmare.
The numbers it shows are always wrong.
I had to throw it away after one month.
Cheap rubbish that fell apart in the sink.
It never gets hot, so the bread stays pale.
Very disappointed, it scratched at once.
The cord is too short and the switch jams.
I regret buying it and went back to my old one.
It cut my finger because the guard is loose.
The worst thing I have ever ordered.""",
}
WHAT = "what a customer says about this tool, in two sentences"
LABELS = {
    "task": "Is the customer satisfied?",
    "text": WHAT,
    "values": {"satisfied": 0.5, "dissatisfied": 0.5},
    "meaning": {
        "satisfied": "the customer is delighted, praises it and recommends it",
        "dissatisfied": "the customer is angry, says that it broke and wants the money back",
    },
    "votes": 0,
}
FREE = f"""---
name: free
family: instruct
skill: text-classification
summary: Writes a text for no label.
kinds: [text]
reply: Text
grounded: false
request: Write {WHAT}.
sampling: {{temperature: 0.8, top_p: 0.95, max_tokens: 45}}
---
Write {WHAT}. Reply with the text alone.
"""


def recipe(folder: Path, **more: object) -> Recipe:
    (folder / "docs").mkdir(exist_ok=True)
    for number, text in enumerate(TOOLS):
        (folder / "docs" / f"{number}.md").write_text(text + "\n")
    home = folder / "agents" / "instruct" / "text-classification"
    home.mkdir(parents=True, exist_ok=True)
    (home / "free.md").write_text(FREE)
    shared: dict[str, object] = {
        "name": "tools", "seeds": [{"path": "docs"}], "accept": SIZE, "draws_per_seed": 20, "in_flight": 32,
        "personas": {"set": None}, "dedup": {"embedding": None}, "refine_rounds": 0, "test_share": 0,
        "verify": {"min_grounding": None}, "voices": {"instruct": {"temperature": 0.8, "max_tokens": 45}},
    }  # fmt: skip
    return Recipe.model_validate(shared | more).at(folder)


def said(labelled: Recipe, texts: list[str]) -> list[str]:
    """What the embedded SM says of texts, by the shipped solver: the majority of three votes, in both orders."""
    (solver,) = catalog_of(labelled).solvers
    values = list(LABELS["meaning"].items())  # type: ignore[attr-defined]

    async def ask() -> list[str]:
        sms = await open_sms(labelled)

        async def vote(place: int, text: str) -> str:
            shown = dict(values[:: 1 if place % 2 else -1])
            messages = solver.messages(Seed.of("text", text, "a"), None, task=LABELS["task"], values=shown)
            form = Constraint("regex", f"(?:{'|'.join(shown)})")
            asked = Request(messages=messages, sampling=solver.prompt.sampling, seed=place, constraint=form, n=1)
            return (await sms["sm"].complete(asked))[0].text.strip()

        found = await asyncio.gather(*(vote(place, texts[place // 3]) for place in range(3 * len(texts))))
        await close_sms(sms)
        return [max(LABELS["values"], key=found[start : start + 3].count) for start in range(0, len(found), 3)]  # type: ignore[call-overload]

    return asyncio.run(ask())


def learned(embedder: Embedder, texts: list[str], labels: list[str], test: list[str]) -> list[str]:
    """What a linear classifier that learned from texts says of others; of one label alone, it can say but that.

    Labels weigh the same however many texts they have, which favours the texts that came out on one side.
    """
    from sklearn.linear_model import LogisticRegression

    if len(set(labels)) == 1:
        return labels[:1] * len(test)
    linear = LogisticRegression(max_iter=1000, class_weight="balanced").fit(embedder.embed(texts), labels)
    return [str(one) for one in linear.predict(embedder.embed(test))]


def test_a_classifier_learns_more_from_texts_that_were_written_for_labels(tmp_path: Path) -> None:
    from sklearn.metrics import f1_score

    inverted = recipe(tmp_path, labels=LABELS)
    assert run(inverted, tmp_path / "inverted").ended == "goal"
    with RunFolder.read(tmp_path / "inverted") as folder:
        rows = [
            (one.payload["messages"][0]["content"].partition("Text: ")[2], str(label_of(one.path)))
            for one in folder.examples("accepted")
        ]
    cast = {"folder": "agents", "persona": (), "transform": (), "instruct": ("free",), "refine": (), "judge": ()}
    assert run(recipe(tmp_path, agents=cast), tmp_path / "free").ended == "goal"
    with RunFolder.read(tmp_path / "free") as folder:
        free = [str(one.payload["messages"][1]["content"]) for one in folder.examples("accepted")]
    assert len(rows) == len(free) == SIZE
    assert [label for _, label in rows].count("satisfied") == SIZE // 2

    judged = said(recipe(tmp_path, labels=LABELS | {"votes": 3, "same_solver": True}), free)
    test = [(text, label) for label, texts in TEST.items() for text in texts.splitlines()]
    embedder = open_embedder("embedded", tmp_path)
    true = np.array([label for _, label in test])
    texts = [text for text, _ in test]
    one = np.array(learned(embedder, [text for text, _ in rows], [label for _, label in rows], texts))
    other = np.array(learned(embedder, free, judged, texts))
    rng = np.random.default_rng(0)
    by_label = [np.flatnonzero(true == label) for label in TEST]
    gains = []
    for _ in range(2000):
        drawn = np.concatenate([rng.choice(places, len(places)) for places in by_label])
        scores = [f1_score(true[drawn], found[drawn], average="macro", zero_division=0.0) for found in (one, other)]
        gains.append(scores[0] - scores[1])
    low, high = np.percentile(gains, [2.5, 97.5])
    first, second = (f1_score(true, found, average="macro", zero_division=0.0) for found in (one, other))
    shares = {label: judged.count(label) / SIZE for label in TEST}
    print(f"macro-F1 {first:.3f} labels first, {second:.3f} texts first, gain {low:.3f} to {high:.3f}, judged {shares}")
    assert max(shares.values()) > 0.75  # texts first come out on one side
    assert low > 0, f"{first:.3f} against {second:.3f}, gain {low:.3f} to {high:.3f}, judged {shares}"
