"""The whole way with the embedded SM, small: at most 12,000 SM tokens."""

from pathlib import Path

import pytest

from understudy.corpus import RunFolder
from understudy.graphs import run
from understudy.recipe_file import load_recipe

pytestmark = pytest.mark.slow


def test_the_embedded_sm_fills_a_corpus_that_load_dataset_opens(project: Path) -> None:
    from datasets import load_dataset

    sets = (
        "sm={backend: embedded}", "accept=4", "budget.tokens=12000", "in_flight=8", "dedup.embedder=embedded",
        "agents={transform: [], instruct: [why-question, code-usage, table-lookup], refine: [clearer-answer], judge: [relevant]}", "personas.inferred=0.25",
        "test_share=0.34",
    )  # fmt: skip
    outcome = run(load_recipe(project / "recipe.yaml", sets), project / "out")
    books = outcome.books
    assert outcome.ended in {"goal", "budget"}
    assert 0 < books.tokens <= 12000
    assert books.drafts["accepted"] > 0
    loaded = load_dataset(str(project / "out"))
    rows = [row for split in loaded.values() for row in split]
    assert len(rows) == books.drafts["accepted"]
    with RunFolder.read(project / "out") as folder:
        seeds = {folder.seeds[position][0].id for position in range(len(folder.seeds))}
        for row in rows:
            assert row["seed_id"] in seeds
            assert row["path"] and row["verdicts"]
            assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
    again = run(load_recipe(project / "recipe.yaml", sets), project / "out")
    assert again.calls_made == 0 or outcome.ended == "budget"
