"""What people said of examples: `reviews.jsonl` in the run folder, to which lines are only added.

A review is no part of what a run made: the ledger does not list the file, and no run changes it. What it is read for:
training and export leave out what people rejected and apply their edits, and a run whose recipe asks for `review` makes
up for what they rejected.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from understudy.corpus.storage import storage_errors
from understudy.errors import RunFolderError

FILE = "reviews.jsonl"
Label = Literal["accept", "reject", "edit", "none"]
"""`none` takes back what the same reviewer said before."""
LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True, slots=True)
class Review:
    """What one person said of one example."""

    example: str
    reviewer: str
    label: Label
    at: float
    """Unix seconds."""
    note: str = ""
    answer: str | None = None
    """Of an edit: the last answer as it should be."""


class Reviews:
    """The reviews of a corpus; several processes may add to them at once."""

    def __init__(self, corpus: Path) -> None:
        self._path = corpus / FILE

    def add(self, review: Review) -> None:
        """Add a review; it is durable when this returns.

        Raises:
            StorageError: when the disk is full or fails.
        """
        line = json.dumps(asdict(review), ensure_ascii=False) + "\n"
        with storage_errors(self._path), open(self._path, "ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            _without_torn_line(file)
            file.write(line.encode("utf-8", "surrogatepass"))
            file.flush()
            os.fsync(file.fileno())

    def __iter__(self) -> Iterator[Review]:
        """Every review that stands, in the order in which they were given: of each reviewer the last of an example.

        Raises:
            RunFolderError: when a line is no review.
        """
        last: dict[tuple[str, str], Review] = {}
        for review in self._lines():
            last.pop((review.example, review.reviewer), None)
            if review.label != "none":
                last[review.example, review.reviewer] = review
        return iter(last.values())

    def _lines(self) -> Iterator[Review]:
        if not self._path.exists():
            return
        with open(self._path, encoding="utf-8", errors="surrogatepass") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith("\n"):
                    return  # it is being written, or a crash came: nobody was told that it stands
                try:
                    review = Review(**json.loads(line))
                    if review.label not in LABELS or not isinstance(review.at, int | float):
                        raise ValueError(review.label)
                except (TypeError, ValueError) as error:
                    raise RunFolderError(
                        f"line {number} is no review: {error}",
                        where=str(self._path),
                        expected="example, reviewer, label, at, note and answer, as the viewer writes them",
                        remedy="put the line right, or take it out",
                    ) from error
                yield review

    def standing(self) -> dict[str, Review]:
        """Of each example the review that counts: the last, whoever gave it."""
        return {review.example: review for review in sorted(self, key=lambda review: review.at)}


@dataclass(frozen=True, slots=True)
class Word:
    """What people's word makes of the accepted examples."""

    standing: dict[str, Review]
    """The review that counts, by example."""
    share: float
    """Of the accepted examples, those that must be reviewed."""

    def due(self, example: str) -> bool:
        """Whether an accepted example is to be reviewed and is not yet. Ids are hashes, so the draw is an even one."""
        return example not in self.standing and int(example[:8], 16) < self.share * 2**32

    def keeps(self, example: str) -> bool:
        """Whether an accepted example may be used: people have not rejected it, and need not look at it first."""
        review = self.standing.get(example)
        return review.label != "reject" if review else not self.due(example)

    def rows(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Of accepted rows those that may be used, with people's edits."""
        for row in rows:
            if self.keeps(row["id"]):
                yield row | {"messages": edited(row["messages"], self.standing.get(row["id"]))}


def edited(messages: list[dict[str, Any]], review: Review | None) -> list[dict[str, Any]]:
    """The messages of an example, the last as somebody edited it."""
    if review is None or review.answer is None:
        return messages
    return [*messages[:-1], messages[-1] | {"content": review.answer}]


def _without_torn_line(file: BinaryIO) -> None:
    """Cut off a last line that a crash left without its end."""
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
