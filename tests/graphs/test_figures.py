"""The figures of a corpus: what is counted is what the ledger has."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.corpus import RunFolder, card
from understudy.corpus.benchmarks import Item
from understudy.evals.contamination import Contamination
from understudy.graphs import generate
from understudy.graphs.figures import VERSION, Figures, figures
from understudy.nouns import Persona, Verdict, Version
from understudy.recipe_file import load_recipe

Written = Callable[..., Path]
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


def found(corpus: Path, **more: Any) -> Figures:
    with RunFolder.read(corpus) as folder:
        return figures(folder, folder.accounting(), **more)


def draft(status: str = "accepted", reason: str | None = None, skill: str = "rag", **more: Any) -> dict[str, Any]:
    path = (f"plan/{skill}/ask", "instruct/ask", "refine/x:suggest", "refine/x:edit")
    said = (Verdict("rule/echo", status == "accepted"), Verdict("rule/length", True))
    return {"status": status, "reason": reason, "path": path, "verdicts": said} | more


@pytest.fixture
def corpus(written: Written) -> Path:
    baker = Persona.of("A baker.", attributes={"role": "baker", "age": "30-39"})
    return written(
        {"a.md": "Bread rises.", "b.md": "Locks lift boats."},
        [
            draft(asked="What is the age of bread?", said="Two words, she said.", persona=baker, vector=[1, 0]),
            draft(asked="What is the height?", said=f"{LONG}", persona=Persona.of("A cook."), vector=[0, 1], seed=1),
            draft("rejected", "rule/echo", persona=baker),
            draft("rejected", "rule/echo", "qa", versions=(Version("a", 0, "q", "x", "kept"), Version("a", 0, "q", "y", "tied"))),
            draft("duplicate", "same words", verdicts=(Verdict("dedup/minhash", False, 0.95),)),
            draft("failed", "parse: instruct/ask", "qa"),
        ],
    )  # fmt: skip


def test_figures_can_be_checked_by_hand(corpus: Path) -> None:
    told = found(corpus).told
    assert (told["version"], told["drafts"], told["accepted"]) == (VERSION, 6, 2)
    skills = {one["name"]: one for one in told["shares"]["skill"]}
    assert (skills["rag"]["drafts"], skills["rag"]["accepted"], skills["rag"]["duplicate"]) == (4, 2, 1)
    assert skills["rag"]["rate"] == 0.5 and skills["rag"]["low"] < 0.5 < skills["rag"]["high"]
    assert skills["qa"]["failed"] == 1
    agents = {one["name"]: one for one in told["shares"]["agent"]}
    assert set(agents) == {"instruct/ask", "refine/x"} and agents["refine/x"]["drafts"] == 6
    assert {one["name"]: one["drafts"] for one in told["shares"]["persona"]} == {
        "(no persona)": 3, "A baker.": 2, "A cook.": 1,
    }  # fmt: skip
    assert told["lengths"]["answer-words"]["quantiles"]["1"] == 13
    assert told["lengths"]["instruction-words"]["mean"] == 5.0
    assert told["embeddings"]["vendi"] == pytest.approx(2) and told["embeddings"]["embedder"] == "hashing"
    assert told["templates"]["openings"][0] == {"text": "what is the", "count": 2, "share": 1.0}
    assert told["near-duplicates"]["n"] == 5 and told["near-duplicates"]["share"] == 0.2
    assert told["agreement"]["orders"] == {"n": 1, "decided": 0, "tied": 1, "unread": 0}
    assert {one["name"]: one["no"] for one in told["agreement"]["verifiers"]} == {"rule/echo": 3, "rule/length": 0}
    assert told["bias"]["role"]["n"] == 2 and told["bias"]["place"] is None
    assert {one["value"] for one in told["bias"]["source"]["values"]} == {"a.md", "b.md"}
    assert told["bias"]["gendered-words"]["feminine"] == 1
    assert "contamination" not in told


def test_journeys_add_up_to_the_ledger(corpus: Path) -> None:
    told = found(corpus).told
    with RunFolder.read(corpus) as folder:
        drafts = folder.ledger.drafts_by_status()
    for status, count in drafts.items():
        ended = [one["drafts"] for one in told["journeys"] if one["outcome"].split(":")[0] == status]
        assert sum(ended) == count
    for of in ("skill", "persona"):
        assert sum(one["drafts"] for one in told["shares"][of]) == told["drafts"]


def test_rows_that_stand_in_a_benchmark_are_named(corpus: Path) -> None:
    told = found(corpus, against=Contamination([Item("b:1", (LONG,))])).told["contamination"]
    assert (told["n"], told["contaminated"], told["share"]) == (2, 1, 0.5)
    assert told["rows"][0]["role"] == "assistant"


def test_the_examples_on_the_map_are_known_by_kind_and_skill(corpus: Path) -> None:
    assert set(found(corpus).groups.values()) == {("text", "rag")}


def test_a_corpus_without_a_draft_has_figures_too(written: Written) -> None:
    told = found(written({"a.md": "Bread rises."}, [])).told
    assert told["drafts"] == 0 == told["accepted"] and told["journeys"] == []
    assert told["diversity"] is None is told["embeddings"] is told["templates"]
    json.dumps(told, allow_nan=False)


def test_a_corpus_where_nothing_was_accepted_has_figures_too(written: Written) -> None:
    told = found(written({"a.md": "Bread rises."}, [draft("rejected", "rule/echo")])).told
    assert told["cost"]["tokens_per_accepted"] is None and told["bias"]["skill"]["values"][0]["share_accepted"] is None
    json.dumps(told, allow_nan=False)


async def test_a_run_writes_the_figures_that_the_report_shows(project: Path) -> None:
    outcome = await generate(load_recipe(project / "recipe.yaml"), project / "out")
    report = json.loads((project / "out" / "report.json").read_text())
    shown = found(project / "out")
    assert report["figures"] == json.loads(json.dumps(shown.told))
    assert report["measures"] == outcome.measures == shown.measures
    assert sum(one["drafts"] for one in report["figures"]["journeys"]) == sum(outcome.books.drafts.values())
    tokens = sum(one["tokens"] for one in report["figures"]["shares"]["agent"])
    assert tokens == outcome.books.tokens
    card = (project / "out" / "README.md").read_text()
    assert "## By skill" in card and "Vendi score" in card and "commonest opening, share" in card


def test_memory_does_not_grow_with_drafts(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("corpus.rows._BATCH", "corpus.folder._INDEX_ROWS", "evals.diversity.SAMPLE", "evals.space.SAMPLE"):
        monkeypatch.setattr(f"understudy.{name}", 100)
    peaks = []
    for number in (500, 2000):
        corpus = written(
            {"a.md": "Bread rises."},
            [draft(asked=f"What of {n}? " * 9, said=f"The {n}. " * 9, vector=[n % 5, 1]) for n in range(number)],
        )
        tracemalloc.start()
        found(corpus)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        corpus.rename(corpus.with_name(f"of-{number}"))
    assert peaks[1] < 1.3 * peaks[0]


async def test_a_run_in_two_sittings_has_the_figures_of_one(project: Path) -> None:
    await generate(load_recipe(project / "recipe.yaml"), project / "whole")
    for accept in (3, 8):
        await generate(load_recipe(project / "recipe.yaml", (f"accept={accept}",)), project / "twice")
    one, other = (json.loads((project / name / "report.json").read_text())["figures"] for name in ("whole", "twice"))
    for told in (one, other):  # drafts under way when the first sitting ended are paid for, and in no figure but these
        del told["cost"], told["shares"]["agent"]
    assert one == other


def test_the_card_names_what_acceptance_favours(written: Written) -> None:
    drafts = [draft("accepted" if n % 2 else "rejected", None if n % 2 else "rule/echo", "rag" if n % 2 else "qa|<b>")
              for n in range(40)]  # fmt: skip
    corpus = written({"a.md": "Bread rises."}, drafts)
    with RunFolder.read(corpus) as folder:
        books = folder.accounting()
        found = figures(folder, books)
        text = card.text(folder, books, "scripted", found.measures, found.told)
    assert "differs from that among all drafts" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| skill | qa")]
    # All 20 accepted are of the other skill: none of these, of a half among the drafts.
    assert line.startswith("| skill | qa\\|&lt;b&gt; | -50.0 |")
