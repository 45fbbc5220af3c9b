from collections.abc import Callable
from contextlib import closing
from math import dist
from pathlib import Path

from understudy.corpus import RunFolder
from understudy.nouns import Persona
from understudy.traces.summary import Summary
from understudy.traces.viewer import people, tables

ANN, BEN, CAT = (Persona.of(f"{name}, who asks") for name in ("Ann", "Ben", "Cat"))


def drafts(*whose: tuple[Persona | None, list[float]]) -> list[dict[str, object]]:
    return [{"persona": persona, "vector": vector, "asked": f"Ask {n}?"} for n, (persona, vector) in enumerate(whose)]


def mapped(corpus: Path, home: Path) -> tuple[dict[str, tuple[float, float]], int]:
    with closing(Summary(corpus, home)) as summary, RunFolder.read(corpus) as folder:
        summary.catch_up()
        points, count = people.mapped(folder, summary, tables.personas(summary))
        return {point.title.split(",")[0]: (point.x, point.y) for point in points}, count


def test_personas_who_ask_much_the_same_are_near_one_another(written: Callable[..., Path], tmp_path: Path) -> None:
    corpus = written(
        {"a.md": "text"},
        drafts((ANN, [1, 0, 0]), (BEN, [0.9, 0.1, 0]), (ANN, [0.9, 0, 0.1]), (CAT, [0, 0, 1]), (None, [0, 1, 0])),
    )
    places, count = mapped(corpus, tmp_path / "home")
    assert count == 5 and places.keys() == {"Ann", "Ben", "Cat"}
    assert dist(places["Ann"], places["Ben"]) < dist(places["Ann"], places["Cat"])
    assert all(0 <= value <= 1 for place in places.values() for value in place)
    assert mapped(corpus, tmp_path / "again")[0] == places


def test_there_is_no_map_of_two_or_without_embeddings(written: Callable[..., Path], tmp_path: Path) -> None:
    corpus = written({"a.md": "text"}, [*drafts((ANN, [1, 0]), (BEN, [0, 1])), {"persona": CAT, "asked": "Last?"}])
    assert mapped(corpus, tmp_path / "home") == ({}, 2)
