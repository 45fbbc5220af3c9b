"""What the report says of labels, also where there is nothing to say."""

from understudy.evals.label_figures import LabelCounts
from understudy.labels import Labels

LABELS = Labels(task="Which?", text="a text", values={"a": 0.8, "b": 0.2}, base_rate={"a": 1.0})


def row(status: str, reason: str | None = None, votes: float | None = None) -> dict[str, object]:
    said = [] if votes is None else [{"by": "round-trip/label", "passed": votes > 0.5, "score": votes}]
    return {"status": status, "reason": reason, "verdicts": said}


def test_without_drafts_there_are_no_shares() -> None:
    told = LabelCounts(LABELS.values, LABELS.base_rate).figures(["w"], ["s"], 3, True)
    assert [one["share_before"] for one in told["values"]] == [None, None]
    assert told["round_trip"] == {"asked": 0, "found_again": 0, "rate": None, "votes": None}


def test_drafts_are_counted_by_label_and_the_weight_is_the_true_share_over_the_quota() -> None:
    counts = LabelCounts(LABELS.values, LABELS.base_rate)
    counts.add("a", row("accepted", votes=1.0))
    counts.add("a", row("rejected", "quota", votes=1.0))
    counts.add("a", row("rejected", "rule/label-leak"))
    counts.add("b", row("rejected", "round-trip/label", votes=0.25))
    counts.add(None, row("failed", "engine"))
    told = counts.figures(["w"], ["s"], 3, False)
    first, second = told["values"]
    assert (first["drafts"], first["accepted"], first["leaks"], first["surplus"]) == (3, 1, 1, 1)
    assert (first["share_before"], first["share_after"], first["rate"], first["weight"]) == (0.75, 1.0, 1.0, 1.25)
    assert (second["asked"], second["found_again"], second["share_after"], second["weight"]) == (1, 0, 0.0, 0.0)
    assert told["round_trip"] == {"asked": 3, "found_again": 2, "rate": 2 / 3, "votes": 0.75}
    assert told["independent"] is False
