from typing import Any

import pytest

from understudy.traces.charts import node_values
from understudy.traces.journeys import Journeys, last_step, outcome
from understudy.traces.report import links


def draft(status: str, reason: str | None, *path: str, kind: str = "text") -> dict[str, Any]:
    return {"status": status, "reason": reason, "path": list(path), "seed_kind": kind}


@pytest.mark.parametrize(
    ("row", "step", "end"),
    [
        (draft("accepted", None, "plan/rag/ask", "answer/a", "judge/relevant"), "judgement", "accepted"),
        (draft("rejected", "rule/echo", "plan/rag/ask", "refine/x:edit"), "refinement", "rejected: rule/echo"),
        (draft("failed", "loop: instruct/ask", "instruct/ask"), "instruction", "failed: loop"),
        (draft("failed", "engine: HTTP 400", "persona-set/x"), "persona", "failed: engine"),
        (draft("duplicate", "same words", "instruct/ask"), "gate", "duplicate: same words"),
        (
            draft("duplicate", "same as another after refinement", "judge/relevant"),
            "judgement",
            "duplicate: same as another after refinement",
        ),
        (draft("failed", "parse: x"), "none", "failed: parse"),
        (draft("rejected", "x", "own/agent"), "own", "rejected: x"),
    ],
)
def test_how_far_a_draft_came_and_how_it_ended(row: dict[str, Any], step: str, end: str):
    assert (last_step(row), outcome(row)) == (step, end)


def test_journeys_are_counted_the_commonest_first():
    found = Journeys()
    for row in (
        draft("accepted", None, "plan/rag/ask", "answer/a"),
        draft("rejected", "r", "plan/any/ask", "answer/a", kind="code"),
        draft("accepted", None, "plan/rag/other", "answer/b"),
    ):
        found.add(row)
    assert found.figures() == [
        {"seeds": "text", "skill": "rag", "last step": "answer", "outcome": "accepted", "drafts": 2},
        {"seeds": "code", "skill": "(no skill)", "last step": "answer", "outcome": "rejected: r", "drafts": 1},
    ]


def test_what_flows_into_a_stop_flows_out_of_it_also_where_the_rare_are_put_together():
    found = Journeys()
    for number in range(40):
        for _ in range(1 + number % 5):
            ended = draft("rejected", f"r{number % 23}") if number % 3 else draft("failed", f"f{number % 4}: x")
            found.add(
                {**ended, "path": [f"plan/skill{number}/a", "answer/a"], "seed_kind": ("text", "code")[number % 2]}
            )
    told = found.figures()
    drawn = links(told)
    total = sum(one["drafts"] for one in told)
    assert total == sum(1 + number % 5 for number in range(40))
    for column in range(3):
        assert sum(link.value for link in drawn if link.column == column) == total
    flows_in = node_values(drawn)
    for (column, name), value in flows_in.items():
        if 0 < column < 3:
            assert sum(link.value for link in drawn if link.column == column and link.source == name) == value
    assert len({name for column, name in flows_in if column == 1}) == 16
    ends = {name for column, name in flows_in if column == 3}
    assert len(ends) <= 11 and "rejected: other reasons" in ends


def test_a_status_whose_reasons_are_all_rare_keeps_its_name():
    found = Journeys()
    for number in range(12):
        for _ in range(5):
            found.add(draft("rejected", f"r{number}", "answer/a"))
    found.add(draft("duplicate", "same words", "instruct/a"))
    assert {link.target for link in links(found.figures())} >= {"duplicate", "rejected: other reasons"}
