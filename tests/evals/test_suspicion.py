"""Ranked lists: order, true shares, reasons that are the fields that matter, and probabilities held against truth."""

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest

from understudy.evals.answering import Prompt
from understudy.evals.suspicion import calibration, suspects


class Knowing:
    """A speaker whose log-odds of `yes` are a sum over the fields that it is shown."""

    def scores(self, prompts: Sequence[Prompt], choices: Sequence[str], *, watch: Any = None) -> list[list[float]]:
        assert list(choices) == ["no", "yes"]
        out = []
        for prompt in prompts:
            fields = dict(part.split("=") for part in prompt.messages[0]["content"].split(",") if part)
            odds = sum({"flow": 2.0, "age": 0.5, "size": -1.0}[name] * float(value) for name, value in fields.items())
            out.append([-math.log1p(math.exp(odds)), odds - math.log1p(math.exp(odds))])
        return out


def asked(fields: Mapping[str, str]) -> Prompt:
    return Prompt(({"role": "user", "content": ",".join(f"{name}={value}" for name, value in fields.items())},))


def listed(rows: list[dict[str, str]], learned: float = 0.5, true: float = 0.02, top: int = 2) -> list[Any]:
    return suspects(rows, asked, Knowing(), ["no", "yes"], "yes", learned=learned, true=true, top=top)  # type: ignore[arg-type]


ROWS = [
    {"flow": "0", "age": "1", "size": "1"},
    {"flow": "2", "age": "1", "size": "1"},
    {"flow": "1", "age": "0", "size": "0"},
]


def test_the_most_suspicious_stand_first_with_the_fields_that_speak_for_it() -> None:
    found = listed(ROWS)
    assert [one.place for one in found] == [1, 2, 0]
    assert found[0].reasons == (("flow", pytest.approx(4.0)), ("age", pytest.approx(0.5)))
    assert found[2].reasons == ()


def test_log_odds_move_from_the_learned_share_to_the_true_one() -> None:
    (one,) = listed(ROWS[2:], learned=0.5, true=0.02)
    assert one.odds == pytest.approx(2.0 + math.log(0.02 / 0.98))
    assert listed(ROWS[2:], learned=0.3, true=0.3)[0].odds == pytest.approx(2.0)


def test_probabilities_at_the_true_share_are_calibrated_and_those_at_the_learned_one_are_not() -> None:
    rng = Random(3)
    rows, truth = [], []
    while len(rows) < 4000:  # of a population in which two in a hundred are so
        yes = rng.random() < 0.02
        rows.append({"flow": f"{rng.gauss(1.0 if yes else 0.0, 0.7071):.3f}"})  # the log-odds are 2 flow - 1
        truth.append(yes)

    class Balanced(Knowing):
        def scores(self, prompts: Sequence[Prompt], choices: Sequence[str], *, watch: Any = None) -> list[list[float]]:
            odds = [2 * float(one.messages[0]["content"].split("=")[1] or 0) - 1 for one in prompts]
            return [[0.0, one] for one in odds]

    def held(true: float) -> Any:
        found = suspects(rows, asked, Balanced(), ["no", "yes"], "yes", learned=0.5, true=true, top=0, reasons=0)  # type: ignore[arg-type]
        by_row = sorted(found, key=lambda one: one.place)
        return calibration([one.probability for one in by_row], truth)

    right, wrong = held(0.02), held(0.5)
    assert right.error.high < 0.02 < wrong.error.low
    assert right.brier.high < wrong.brier.low and right.brier.mean < right.of_base_rate
    assert sum(rows_ for *_, rows_ in right.bins) == 4000 and len(right.bins) == 10


def test_nothing_to_hold_against_is_told() -> None:
    with pytest.raises(ValueError, match="no rows"):
        calibration([], [])
