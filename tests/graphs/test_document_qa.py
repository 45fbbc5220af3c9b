"""Questions on documents: what is unfaithful, points at the text, repeats or is malformed goes; the rest has evidence."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from understudy.corpus import RunFolder
from understudy.corpus.export import export
from understudy.graphs import generate
from understudy.models import Scripted
from understudy.recipe import Recipe

PLACES = ("Aldburgh", "Brenmoor", "Calder", "Dunholm", "Eskfield")
WORKS = ("mill", "ferry", "tannery", "foundry", "bakery", "quarry", "brewery", "pottery", "sawmill", "chapel", "harbour",
         "school")  # fmt: skip
OWNERS = ("Ames", "Birch", "Cole", "Drake", "Ellis", "Frost", "Grant", "Hale", "Irons", "Joyce", "Kemp", "Lane")
UNFAITHFUL, POINTING, TWIN, MALFORMED = "unfaithful", "pointing", "twin", "malformed"


def fate(place: int, draw: int) -> str:
    """10 unfaithful, 5 that point at the text, 5 duplicates and 3 malformed among 60."""
    if draw in (2, 7):
        return UNFAITHFUL
    if draw == 4:
        return POINTING
    if draw == 9:
        return TWIN
    return MALFORMED if draw == 11 and place < 3 else "good"


def page(town: str) -> str:
    facts = [f"The {work} of {town} was built by {owner} {town}son near the {work} bridge." for work, owner in
             zip(WORKS, OWNERS, strict=True)]  # fmt: skip
    return f"# {town}\n\n{' '.join(facts)}\n"


def question(town: str, draw: int) -> str:
    return f"Who built the {WORKS[draw]} of {town} near the {WORKS[draw]} bridge?"


class Writer(Scripted):
    """Writes pairs page by page; `asked` counts the questions of each page."""

    count: Any = None

    def _next(self, messages: Any, seed: int, constraint: Any) -> str:
        prompt = messages[1]["content"]
        town = next(town for town in PLACES if f"of {town} was built" in prompt)
        if "quiz question" in prompt:
            if len(messages) == 2:
                self.count[town] += 1
            draw = self.count[town] - 1
            kind = fate(PLACES.index(town), draw)
            if kind == MALFORMED:
                return "Hm."
            if kind == POINTING:
                return f"Who built, according to the text, the {WORKS[draw]} of {town}?"
            return question(town, 0 if kind == TWIN else draw)
        asked = prompt.rpartition("\n\n")[2]
        draw = next(place for place, work in enumerate(WORKS) if f"the {work} of" in asked)
        if fate(PLACES.index(town), draw) == UNFAITHFUL:
            return f"Visitors from overseas admire {WORKS[draw]} engines, steam trumpets and painted dragons."
        return f"The {WORKS[draw]} of {town} was built by {OWNERS[draw]} {town}son."


def recipe(folder: Path) -> Recipe:
    (folder / "docs").mkdir()
    for town in PLACES:
        (folder / "docs" / f"{town}.md").write_text(page(town))
    return Recipe.model_validate(
        {
            "name": "qa", "seeds": [{"path": "docs", "chunk_tokens": 800}], "accept": 60, "draws_per_seed": 12,
            "sm": {"backend": "scripted"}, "personas": {"set": None}, "test_share": 0.0, "in_flight": 1,
            "agents": {"persona": [], "transform": [], "instruct": ["literal-question"], "refine": [], "judge": []},
            "dedup": {"embedder": "hashing", "embedding": 0.99}, "verify": {"min_evidence": 0.6, "min_grounding": 0.1},
        }
    ).at(folder)  # fmt: skip


async def test_of_sixty_pairs_exactly_the_twenty_three_bad_ones_go_each_for_its_reason(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    outcome = await generate(made, tmp_path / "out", sm=Writer(count=Counter()))
    assert outcome.books.drafts == {"accepted": 37, "rejected": 15, "duplicate": 5, "failed": 3}
    reasons = Counter()
    for reason, count in outcome.books.reasons.items():
        reasons[reason.partition(": ")[2]] += count
    assert reasons["rule/self-contained"] == 5
    assert sum(reasons[name] for name in ("rule/evidence", "rule/grounding")) == 10
    assert reasons["parse: instruct/literal-question"] == 3
    with RunFolder.read(tmp_path / "out") as folder:
        for example in folder.examples():
            (evidence,) = [verdict.evidence for verdict in example.verdicts if verdict.by == "rule/evidence"]
            assert evidence and evidence in " ".join(folder.seed_of(example).content.split())
            answer = example.payload["messages"][1]["content"]
            assert re.search(r"was built by \w+", answer).group() in evidence  # type: ignore[union-attr]
        assert export(folder, tmp_path / "one.jsonl", seed=1) == export(folder, tmp_path / "two.jsonl", seed=2) == 37
    one, two = ((tmp_path / name).read_text().splitlines() for name in ("one.jsonl", "two.jsonl"))
    assert one != two and sorted(one) == sorted(two)


async def test_the_same_run_again_asks_nothing(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    await generate(made, tmp_path / "out", sm=Writer(count=Counter()))
    assert (await generate(made, tmp_path / "out", sm=Writer(count=Counter()))).calls_made == 0
