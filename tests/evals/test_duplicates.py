from typing import Any

from understudy.evals.duplicates import Duplicates


def draft(status: str, reason: str | None = None, by: str = "dedup/minhash", score: float = 0.95) -> dict[str, Any]:
    verdicts = [{"by": "rule/echo", "passed": True, "score": 1.0}]
    if status == "duplicate":
        verdicts.append({"by": by, "passed": False, "score": score})
    return {"status": status, "reason": reason, "verdicts": verdicts}


def test_the_share_is_of_all_that_were_compared():
    found = Duplicates()
    for row in (
        draft("accepted"), draft("rejected", "rule/echo"), draft("duplicate", "same words"),
        draft("duplicate", "same meaning", "dedup/embedding", 0.91),
        draft("duplicate", "same as another after refinement", "dedup/embedding", 0.92),
    ):  # fmt: skip
        found.add(row)
    # Three passed the gate: the accepted one, the rejected one, and the one that refinement made alike; two did not.
    told = found.figures(admitted=3)
    assert told["n"] == 5 and told["duplicates"] == 3 and told["share"] == 0.6
    assert told["reasons"] == {"same as another after refinement": 1, "same meaning": 1, "same words": 1}


def test_similarities_are_counted_by_pass_from_the_lowest_up_to_one():
    found = Duplicates()
    for score in (0.97, 0.97, 1.0, 0.999999):
        found.add(draft("duplicate", "same words", score=score))
    (name, bins), *rest = found.figures(0)["similarity"].items()
    assert name == "minhash" and not rest
    assert [(one["from"], one["count"]) for one in bins] == [(0.97, 2), (0.98, 0), (0.99, 2)]


def test_every_hundredth_falls_into_the_bin_that_begins_there():
    for hundredth in range(100):
        found = Duplicates()
        found.add(draft("duplicate", "same words", score=round(hundredth / 100, 6)))
        assert found.figures(0)["similarity"]["minhash"][0]["from"] == hundredth / 100


def test_nothing_compared_has_no_share():
    assert Duplicates().figures(0)["share"] is None
