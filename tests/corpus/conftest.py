"""What the tests of the run folder share: a recipe over plain text files, and examples of its seeds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder
from understudy.nouns import Call, Example, Persona, Seed, Verdict
from understudy.recipe import Recipe

Make = Callable[..., Any]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    for source, count in (("one", 10), ("two", 5)):
        (tmp_path / source).mkdir()
        for number in range(count):
            (tmp_path / source / f"{number}.txt").write_text(f"Fact {number} of source {source}.")
    return Recipe.model_validate(
        {"name": "x", "accept": 1, "seeds": [{"path": "one"}, {"path": "two"}],
         "sm": {"backend": "scripted", "price_in": 2, "price_out": 10}}
    ).at(tmp_path)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, recipe: Recipe):
    with RunFolder.start(tmp_path / "corpus", recipe, "plan") as folder:
        yield folder


@pytest.fixture
def call() -> Make:
    def make(key: str = "k", prompt: int = 100, completion: int = 20, **changes: Any) -> Call:
        messages = ({"role": "system", "content": "S"}, {"role": "user", "content": f"Ask {key}."})
        usage = {"prompt": prompt, "cached": 0, "completion": completion}
        made = Call(
            key, "instruct/ask", "scripted", messages, {"temperature": 0.7, "seed": 5}, f"Reply {key}.", usage, 0.25
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def example() -> Make:
    def make(seed: Seed, draw: int = 0, **changes: Any) -> Example:
        payload = {"messages": [{"role": "user", "content": f"Ask {draw}"}, {"role": "assistant", "content": "Said."}]}
        made = Example(
            id=Example.address("chat", payload, seed.id, draw), kind="chat", payload=payload, seed=seed.id, draw=draw,
            persona=Persona.of("A baker."), parents=(), path=("instruct/ask", "answer/answer"), calls=(),
            scores={"rule/length": 1.0, "rule/grounding": 0.5},
            verdicts=(Verdict("rule/length", True, 1.0, "5 words"), Verdict("judge/clear", True, None, None)),
            status="accepted", reason=None,
        )  # fmt: skip
        return replace(made, **changes)

    return make


@pytest.fixture
def commit() -> Make:
    def enter(folder: RunFolder, *examples: Example, turn: int = 0, index: list[dict[str, Any]] | None = None) -> None:
        placed = [folder.seeds[position] for position in range(len(folder.seeds))]
        seeds = {seed.id: (seed, split) for seed, split in placed}
        folder.commit(list(enumerate(examples, start=turn)), seeds, index or [])

    return enter
