import json
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.corpus.reviews import FILE, Review, Reviews, Word
from understudy.errors import RunFolderError


def said(example: str, reviewer: str, label: str, at: float, **more: str) -> Review:
    return Review(example, reviewer, label, at, **more)  # type: ignore[arg-type]


def test_the_last_word_of_each_reviewer_stands(tmp_path: Path) -> None:
    reviews = Reviews(tmp_path)
    assert list(reviews) == [] and reviews.standing() == {}
    for one in [
        said("x", "ann", "accept", 1.0), said("x", "ben", "reject", 2.0, note="wrong"), said("y", "ann", "edit", 3.0, answer="Better."),
        said("x", "ann", "reject", 4.0), said("y", "ben", "accept", 5.0), said("y", "ben", "none", 6.0),
    ]:  # fmt: skip
        reviews.add(one)
    assert [(one.example, one.reviewer, one.label) for one in reviews] == [
        ("x", "ben", "reject"), ("y", "ann", "edit"), ("x", "ann", "reject"),
    ]  # fmt: skip
    assert {key: (one.reviewer, one.answer) for key, one in reviews.standing().items()} == {
        "x": ("ann", None),
        "y": ("ann", "Better."),
    }


def test_a_line_that_a_crash_tore_is_as_if_it_had_not_been_written(tmp_path: Path) -> None:
    reviews = Reviews(tmp_path)
    reviews.add(said("x", "ann", "accept", 1.0))
    with open(tmp_path / FILE, "a") as file:
        file.write('{"example": "y", "revi')
    assert [one.example for one in reviews] == ["x"]
    reviews.add(said("z", "ann", "accept", 2.0))
    assert [one.example for one in reviews] == ["x", "z"]


@pytest.mark.parametrize(
    "line", ["nonsense", "{}", "[]", json.dumps({"example": "x", "reviewer": "a", "label": "maybe", "at": 1})]
)
def test_a_line_that_is_no_review_is_named(tmp_path: Path, line: str) -> None:
    reviews = Reviews(tmp_path)
    reviews.add(said("x", "ann", "accept", 1.0))
    with open(tmp_path / FILE, "a") as file:
        file.write(line + "\n")
    with pytest.raises(RunFolderError, match="line 2 is no review"):
        list(reviews)


ADDS = """
import sys; from pathlib import Path; from understudy.corpus.reviews import Review, Reviews
for number in range(40):
    Reviews(Path(sys.argv[1])).add(Review(f"{sys.argv[2]}-{number}", sys.argv[2], "accept", number, "n" * 5000))
"""


def test_reviewers_who_write_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", ADDS, str(tmp_path), who]) for who in ("ann", "ben")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(list(Reviews(tmp_path))) == 80


@pytest.mark.parametrize(("share", "due"), [(0.0, 0), (0.25, 256), (1.0, 1024)])
def test_the_share_that_is_to_be_reviewed_is_drawn_by_id(share: float, due: int) -> None:
    ids = [f"{number * 2**22:08x}{'0' * 24}" for number in range(1024)]  # evenly over all ids
    word = Word({}, share)
    assert sum(word.due(id) for id in ids) == due == 1024 - sum(word.keeps(id) for id in ids)


def test_peoples_word_decides_what_may_be_used() -> None:
    low, high = "0" * 32, "f" * 32
    reviews = {
        "a" * 32: said("a", "ann", "reject", 1.0),
        "b" * 32: said("b", "ann", "edit", 1.0, answer="Better."),
        low: said(low, "ann", "accept", 1.0),
    }
    word = Word(reviews, 0.5)
    assert (word.keeps("a" * 32), word.keeps("b" * 32), word.keeps(low), word.keeps(high), word.keeps("1" * 32)) == (
        False,
        True,
        True,
        True,
        False,
    )
    rows = [
        {"id": id, "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
        for id in ("a" * 32, "b" * 32, high)
    ]
    assert [(row["id"][0], row["messages"][-1]) for row in word.rows(rows)] == [
        ("b", {"role": "assistant", "content": "Better."}), ("f", {"role": "assistant", "content": "A"}),
    ]  # fmt: skip
